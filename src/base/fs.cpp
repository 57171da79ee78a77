// SPDX-License-Identifier: Apache-2.0
#include "base/fs.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <new>
#include <system_error>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/error.h"
#include "base/kill_point.h"
#include "base/text.h"

namespace dlt {

namespace {

constexpr std::size_t kWritePiece_bytes = 8 << 20;

std::string errno_text(int code) { return std::system_category().message(code); }

/// "runs/a/x: fsync() failed: No space left on device"
[[noreturn]] void fail(const std::string& path, const char* call, int code) {
  throw Error(Exit::io, cat(printable(path, 4096), ": ", call, "() failed: ", errno_text(code)));
}

/// Calls again as long as a signal interrupts.
template <typename Call>
auto uninterrupted(Call call) {
  decltype(call()) result;
  do {
    result = call();
  } while (result < 0 && errno == EINTR);
  return result;
}

class Descriptor {
 public:
  Descriptor(const std::string& path, int flags, mode_t mode = 0)
      : fd_(uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); })) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int fd() const { return fd_; }
  /// Some file systems report a failed write only here.
  void close(const std::string& path) {
    const int fd = fd_;
    fd_ = -1;  // closed whatever close() says
    if (::close(fd) != 0 && errno != EINTR) fail(path, "close", errno);
  }

 private:
  int fd_;
};

void write_all(int fd, const std::string& path, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t written = uninterrupted([&] { return ::write(fd, bytes.data(), bytes.size()); });
    if (written < 0) fail(path, "write", errno);
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void write_at(int fd, const std::string& path, FileRange range) {
  while (!range.bytes.empty()) {
    const std::size_t part = std::min(range.bytes.size(), kWritePiece_bytes);
    const ssize_t written =
        uninterrupted([&] { return ::pwrite(fd, range.bytes.data(), part, range.offset); });
    if (written < 0) fail(path, "write", errno);
    range.bytes = range.bytes.subspan(static_cast<std::size_t>(written));
    range.offset += written;
  }
}

void sync(int fd, const std::string& path) {
  DLT_KILL_POINT(fs_before_sync);
  if (uninterrupted([&] { return ::fsync(fd); }) != 0) fail(path, "fsync", errno);
  DLT_KILL_POINT(fs_after_sync);
}

std::string parent_of(const std::string& path) {
  const std::string parent = std::filesystem::path(path).parent_path().string();
  return parent.empty() ? "." : parent;
}

void write_and_rename(Fs& fs, const std::string& temporary, const std::string& path,
                      std::span<const std::span<const std::byte>> pieces) {
  try {
    fs.write_synced(temporary, pieces);
    fs.rename(temporary, path);
    fs.sync_directory(parent_of(path));
  } catch (const Error&) {
    ::unlink(temporary.c_str());  // should that fail as well: the first failure says more
    throw;
  }
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

[[noreturn]] void fail_open(const std::string& path, int code) {
  const std::string where = printable(path, 4096);
  if (code == ELOOP) throw Error(Exit::data, cat(where, ": not a regular file but a link"));
  if (code == ENOENT || code == ENOTDIR) throw Error(Exit::missing, cat(where, ": no such file"));
  if (code == ENXIO) throw Error(Exit::data, cat(where, ": not a regular file"));
  throw Error(Exit::missing, cat(where, ": open() failed: ", errno_text(code)));
}

[[noreturn]] void fail_too_large(const std::string& path, std::uint64_t max_bytes) {
  throw Error(Exit::data,
              cat(printable(path, 4096), ": larger than the ", max_bytes, " bytes allowed here"));
}

}  // namespace

void SystemFs::write_synced(const std::string& path,
                            std::span<const std::span<const std::byte>> pieces) {
  Descriptor file(path, O_WRONLY | O_CREAT | O_TRUNC, 0666);
  if (file.fd() < 0) fail(path, "open", errno);
  DLT_KILL_POINT(fs_before_write);
  for (const auto& piece : pieces) write_all(file.fd(), path, piece);
  DLT_KILL_POINT(fs_after_write);
  sync(file.fd(), path);
  file.close(path);
  DLT_KILL_POINT(fs_after_close);
}

void SystemFs::write_ranges_synced(const std::string& path, std::span<const FileRange> ranges) {
  Descriptor file(path, O_WRONLY | O_CREAT | O_NOFOLLOW, 0666);
  if (file.fd() < 0) fail(path, "open", errno);
  DLT_KILL_POINT(fs_before_range_write);
  for (const FileRange& range : ranges) write_at(file.fd(), path, range);
  DLT_KILL_POINT(fs_after_range_write);
  sync(file.fd(), path);
  file.close(path);
}

void SystemFs::sync_directory(const std::string& path) {
  Descriptor directory(path, O_RDONLY | O_DIRECTORY);
  if (directory.fd() < 0) fail(path, "open", errno);
  DLT_KILL_POINT(fs_before_directory_sync);
  sync(directory.fd(), path);
  DLT_KILL_POINT(fs_after_directory_sync);
  directory.close(path);
}

void SystemFs::rename(const std::string& from, const std::string& to) {
  DLT_KILL_POINT(fs_before_rename);
  if (::rename(from.c_str(), to.c_str()) != 0) fail(cat(from, " -> ", to), "rename", errno);
  DLT_KILL_POINT(fs_after_rename);
}

void SystemFs::create_directories(const std::string& path) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string part = path.substr(0, end);
    if (::mkdir(part.c_str(), 0777) == 0) continue;
    const int code = errno;  // EEXIST, or on a read-only file system EROFS though it is there
    if (!is_directory(part)) fail(part, "mkdir", code);
  }
}

void SystemFs::remove_tree(const std::string& path) {
  std::error_code code;
  DLT_KILL_POINT(fs_before_remove);
  std::filesystem::remove_all(path, code);
  DLT_KILL_POINT(fs_after_remove);
  if (code) fail(path, "remove", code.value());
}

std::uint64_t SystemFs::free_bytes(const std::string& path) {
  struct statvfs status {};
  if (uninterrupted([&] { return ::statvfs(path.c_str(), &status); }) != 0) {
    fail(path, "statvfs", errno);
  }
  return std::uint64_t{status.f_bavail} * status.f_frsize;
}

void write_atomically(Fs& fs, const std::string& path, std::string_view text) {
  const std::span<const std::byte> piece = std::as_bytes(std::span(text));
  write_and_rename(fs, path + ".tmp", path, {&piece, 1});
}

void write_atomically(Fs& fs, const std::string& path,
                      std::span<const std::span<const std::byte>> pieces) {
  write_and_rename(fs, cat(path, ".", ::getpid(), ".tmp"), path, pieces);
}

std::string read_file(const std::string& path, const ReadOptions& options) {
  // O_NONBLOCK: opening a FIFO that nobody writes must not wait. Regular files ignore it.
  const Descriptor file(path, O_RDONLY | O_NONBLOCK | (options.nofollow ? O_NOFOLLOW : 0));
  if (file.fd() < 0) fail_open(path, errno);
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) fail(path, "fstat", errno);
  if (!S_ISREG(status.st_mode)) {
    throw Error(Exit::data, cat(printable(path, 4096), ": not a regular file"));
  }
  const auto size = static_cast<std::uint64_t>(status.st_size);
  if (size > options.max_bytes) fail_too_large(path, options.max_bytes);
  std::string text;
  try {
    // One byte more than expected shows the end; a file that grows meanwhile is read to its end.
    text.resize(size + 1);
    std::size_t used = 0;
    for (;;) {
      if (used == text.size()) text.resize(2 * used);
      const ssize_t got =
          uninterrupted([&] { return ::read(file.fd(), text.data() + used, text.size() - used); });
      if (got < 0) fail(path, "read", errno);
      if (got == 0) break;
      used += static_cast<std::size_t>(got);
      if (used > options.max_bytes) fail_too_large(path, options.max_bytes);
    }
    text.resize(used);
  } catch (const std::bad_alloc&) {
    throw Error(Exit::data, cat(printable(path, 4096), ": ", size, " bytes do not fit in memory"));
  }
  return text;
}

void read_blocks(const std::string& path, const BlockOptions& options,
                 const std::function<void(std::int64_t, std::span<const std::byte>)>& use) {
  Descriptor file(path, O_RDONLY | O_NONBLOCK | O_NOFOLLOW);
  if (file.fd() < 0) fail(path, "open", errno);
  struct stat status {};
  if (::fstat(file.fd(), &status) != 0) fail(path, "fstat", errno);
  if (!S_ISREG(status.st_mode)) fail(path, "read", EINVAL);
  // Advice only: what cannot be dropped is read from memory.
  if (options.fresh_from_disk) (void)::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
  std::vector<std::byte> block(static_cast<std::size_t>(options.block_bytes));
  std::int64_t offset = 0;
  for (bool end = false; !end;) {
    std::size_t used = 0;
    while (used < block.size()) {
      const ssize_t got = uninterrupted(
          [&] { return ::read(file.fd(), block.data() + used, block.size() - used); });
      if (got < 0) fail(path, "read", errno);
      if (got == 0) end = true;
      if (end) break;
      used += static_cast<std::size_t>(got);
    }
    if (used > 0) use(offset, std::span(block).first(used));
    offset += static_cast<std::int64_t>(used);
  }
}

std::vector<std::string> list_directory(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::opendir(path.c_str()), &::closedir);
  if (!directory) {
    if (errno == ENOENT) return {};
    fail(path, "opendir", errno);
  }
  std::vector<std::string> names;
  for (;;) {
    errno = 0;
    const dirent* entry = ::readdir(directory.get());
    if (entry == nullptr) {
      if (errno != 0) fail(path, "readdir", errno);
      break;
    }
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

void remove_if_only(const std::string& path, std::span<const std::string_view> names) noexcept {
  try {
    for (const std::string& name : list_directory(path)) {
      if (std::find(names.begin(), names.end(), name) == names.end()) return;
    }
    for (const std::string_view name : names) ::unlink(cat(path, "/", name).c_str());
    ::rmdir(path.c_str());
  } catch (const std::exception&) {  // then it stays
  }
}

bool exists(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0;
}

}  // namespace dlt
