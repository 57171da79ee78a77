// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"

#include <cstring>
#include <filesystem>

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/error.h"

namespace dlt {
namespace {

class FsTest : public testing::Test {
 protected:
  FsTest() {
    std::string pattern = testing::TempDir() + "dltrain_fs_XXXXXX";
    folder_ = ::mkdtemp(pattern.data());
  }
  ~FsTest() override { std::filesystem::remove_all(folder_); }

  [[nodiscard]] std::string path(const std::string& name) const { return folder_ + "/" + name; }

  void write(const std::string& name, std::string_view text) {
    const auto piece = std::as_bytes(std::span(text));
    fs_.write_synced(path(name), {&piece, 1});
  }

  SystemFs fs_;
  std::string folder_;
};

/// What action throws: "exit: message".
template <typename Action>
std::string error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.exit())) + ": " + error.what();
  }
  return "no error";
}

TEST_F(FsTest, WritesAllPiecesInOrderOverWhatWasThere) {
  write("x", std::string(100, 'o'));
  const std::string_view parts[] = {"one, ", "", "two, ", "three"};
  std::vector<std::span<const std::byte>> pieces;
  for (const auto part : parts) pieces.push_back(std::as_bytes(std::span(part)));
  fs_.write_synced(path("x"), pieces);
  EXPECT_EQ(read_file(path("x")), "one, two, three");
}

TEST_F(FsTest, WritesFilesLargerThanAPipeOrPage) {
  std::string text(3 << 20, 'x');
  for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(i * 2654435761u >> 13);
  write("large", text);
  EXPECT_TRUE(read_file(path("large")) == text);
}

TEST_F(FsTest, PartialAndFailedWritesEndInAnErrorThatNamesPathCallAndReason) {
  // A file-size limit makes write() first come back short, then fail. In a child: it is for good.
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1000, 1000};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    const std::string said = error_of([&] { write("x", std::string(3000, 'x')); });
    ::_exit(said == "74: " + path("x") + ": write() failed: File too large" ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(read_file(path("x")), std::string(1000, 'x'));
}

TEST_F(FsTest, ErrorsNamePathCallAndReason) {
  const auto says = [&](auto action) { return error_of(action); };
  EXPECT_EQ(says([&] { write("no/x", "t"); }),
            "74: " + path("no/x") + ": open() failed: No such file or directory");
  EXPECT_EQ(says([&] { fs_.sync_directory(path("no")); }),
            "74: " + path("no") + ": open() failed: No such file or directory");
  EXPECT_EQ(
      says([&] { fs_.rename(path("a"), path("b")); }),
      "74: " + path("a") + " -> " + path("b") + ": rename() failed: No such file or directory");
  write("file", "");
  EXPECT_EQ(says([&] { fs_.create_directories(path("file/sub")); }),
            "74: " + path("file") + ": mkdir() failed: File exists");
  EXPECT_EQ(says([&] { (void)fs_.free_bytes(path("no")); }),
            "74: " + path("no") + ": statvfs() failed: No such file or directory");
  EXPECT_EQ(says([&] { (void)list_directory(path("file")); }),
            "74: " + path("file") + ": opendir() failed: Not a directory");
}

TEST_F(FsTest, AFullDeviceIsAnError) {
  if (::access("/dev/full", W_OK) != 0) GTEST_SKIP() << "no /dev/full";
  const std::string_view text = "x";
  const auto piece = std::as_bytes(std::span(text));
  EXPECT_EQ(error_of([&] {
              fs_.write_synced("/dev/full", {&piece, 1});
            }),
            "74: /dev/full: write() failed: No space left on device");
}

TEST_F(FsTest, CreatesAndRemovesTrees) {
  fs_.create_directories(path("a/b//c/"));
  fs_.create_directories(path("a/b/c"));
  EXPECT_TRUE(exists(path("a/b/c")));
  write("a/b/x", "t");
  write("kept", "t");
  ASSERT_EQ(::symlink(path("kept").c_str(), path("a/link").c_str()), 0);
  fs_.sync_directory(path("a"));
  fs_.remove_tree(path("a"));
  EXPECT_FALSE(exists(path("a")));
  EXPECT_EQ(read_file(path("kept")), "t");
  EXPECT_NO_THROW(fs_.remove_tree(path("a")));
}

TEST_F(FsTest, ListsNamesSortedAndNothingForAMissingFolder) {
  for (const char* name : {"b", "a", "C", ".hidden"}) write(name, "");
  EXPECT_THAT(list_directory(folder_), testing::ElementsAre(".hidden", "C", "a", "b"));
  EXPECT_TRUE(list_directory(path("no")).empty());
}

TEST_F(FsTest, KnowsTheFreeSpace) { EXPECT_GT(fs_.free_bytes(folder_), 0u); }

TEST_F(FsTest, MissingFilesAreMissing) {
  EXPECT_EQ(error_of([&] { (void)read_file(path("no")); }), "66: " + path("no") + ": no such file");
  write("file", "");
  EXPECT_EQ(error_of([&] { (void)read_file(path("file/x")); }),
            "66: " + path("file/x") + ": no such file");
}

TEST_F(FsTest, OnlyRegularFilesAreRead) {
  const std::string fifo = path("fifo");
  ASSERT_EQ(::mkfifo(fifo.c_str(), 0600), 0);
  const std::string socket_path = path("s");
  const int socket_fd = ::socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  ASSERT_LT(socket_path.size(), sizeof address.sun_path);
  std::memcpy(address.sun_path, socket_path.c_str(), socket_path.size());
  ASSERT_EQ(::bind(socket_fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
  for (const std::string& name : {fifo, socket_path, folder_, std::string("/dev/zero")}) {
    EXPECT_EQ(error_of([&] { (void)read_file(name); }), "65: " + name + ": not a regular file");
  }
  ::close(socket_fd);
}

TEST_F(FsTest, LinksAreFollowedUnlessToldNotTo) {
  write("file", "text");
  ASSERT_EQ(::symlink("file", path("link").c_str()), 0);
  EXPECT_EQ(read_file(path("link")), "text");
  EXPECT_EQ(error_of([&] { (void)read_file(path("link"), {.nofollow = true}); }),
            "65: " + path("link") + ": not a regular file but a link");
}

TEST_F(FsTest, ReadsUpToTheCapAndNotAByteMore) {
  write("x", "12345");
  EXPECT_EQ(read_file(path("x"), {.max_bytes = 5}), "12345");
  EXPECT_EQ(error_of([&] { (void)read_file(path("x"), {.max_bytes = 4}); }),
            "65: " + path("x") + ": larger than the 4 bytes allowed here");
  write("empty", "");
  EXPECT_EQ(read_file(path("empty"), {.max_bytes = 0}), "");
}

TEST_F(FsTest, ReadsFilesThatClaimToBeEmpty) {
  EXPECT_THAT(read_file("/proc/self/status"), testing::HasSubstr("VmHWM"));
  EXPECT_THROW((void)read_file("/proc/self/status", {.max_bytes = 10}), Error);
}

TEST_F(FsTest, AFileTooLargeForMemoryIsAnErrorNotACrash) {
  const int fd = ::open(path("sparse").c_str(), O_WRONLY | O_CREAT, 0600);
  ASSERT_GE(fd, 0);
  const bool sparse = ::ftruncate(fd, off_t{1} << 43) == 0;
  ::close(fd);
  if (!sparse) GTEST_SKIP() << "no sparse files here";
  EXPECT_EQ(error_of([&] { (void)read_file(path("sparse")); }),
            "65: " + path("sparse") + ": larger than the 1099511627776 bytes allowed here");
}

TEST_F(FsTest, AFolderGoesOnlyIfNothingElseIsInIt) {
  constexpr std::array<std::string_view, 2> names{"lock", "generation"};
  for (const bool other : {true, false}) {
    const std::string folder = path(other ? "used" : "unused");
    fs_.create_directories(folder);
    write_atomically(fs_, folder + "/lock", "");
    if (other) write_atomically(fs_, folder + "/data", "");
    remove_if_only(folder, names);
    EXPECT_EQ(exists(folder), other);
    EXPECT_EQ(exists(folder + "/lock"), other);
  }
  remove_if_only(path("none"), names);
}

TEST_F(FsTest, AtomicWritesReplaceTheWholeFile) {
  write_atomically(fs_, path("x"), "old");
  write_atomically(fs_, path("x"), "new text");
  EXPECT_EQ(read_file(path("x")), "new text");
  EXPECT_THAT(list_directory(folder_), testing::ElementsAre("x"));
}

TEST(WriteAtomically, SyncsTheFileBeforeTheRenameAndTheFolderAfter) {
  class Recorder final : public Fs {
   public:
    void write_synced(const std::string& path,
                      std::span<const std::span<const std::byte>>) override {
      calls += "write " + path + "; ";
    }
    void write_ranges_synced(const std::string&, std::span<const FileRange>) override {}
    void sync_directory(const std::string& path) override { calls += "sync " + path; }
    void rename(const std::string& from, const std::string& to) override {
      calls += "rename " + from + " " + to + "; ";
    }
    void create_directories(const std::string&) override {}
    void remove_tree(const std::string&) override {}
    std::uint64_t free_bytes(const std::string&) override { return 0; }
    std::string calls;
  };
  Recorder in_folder;
  write_atomically(in_folder, "runs/x", "t");
  EXPECT_EQ(in_folder.calls, "write runs/x.tmp; rename runs/x.tmp runs/x; sync runs");
  Recorder here;
  write_atomically(here, "x", "t");
  EXPECT_EQ(here.calls, "write x.tmp; rename x.tmp x; sync .");
}

}  // namespace
}  // namespace dlt
