// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/hash.h"
#include "checkpoint/files.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"
#include "checkpoint/samples.h"
#include "checkpoint/store.h"
#include "support/faulty_fs.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using dlt::test::error_of;
using dlt::test::write_file;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class Load : public testing::Test {
 protected:
  Load() {
    Store store(fs_, folder_ / "checkpoints", 3);
    for (const std::int64_t step : {10, 20}) path_ = store.commit(sample_checkpoint(step)).path;
  }
  [[nodiscard]] std::string error() const {
    return error_of([this] { (void)load(path_); });
  }
  void move_away(const std::string& name) const {
    std::filesystem::rename(path_ + "/" + name, folder_ / name);
  }
  /// A manifest whose own hash is right, with another content.
  template <typename Change>
  void rewrite_manifest(Change change) const {
    const std::string file = path_ + "/" + kManifestFile;
    Manifest manifest = decode_manifest(file, read_file(file));
    change(manifest);
    write_file(file, encode_manifest(manifest));
  }

  dlt::test::TempFolder folder_;
  dlt::test::FaultyFs fs_;
  std::string path_;
};

TEST_F(Load, GivesBackEveryFieldAndTensor) {
  EXPECT_EQ(difference(load(path_), sample_checkpoint(20)), "");
}

TEST_F(Load, SaysThatThereIsNone) {
  EXPECT_THAT(error_of([&] { (void)load(folder_ / "nothing"); }), StartsWith("66: "));
  EXPECT_THAT(error_of([&] { (void)load(path_ + "/model.safetensors"); }),
              AllOf(StartsWith("65: "), HasSubstr("not a folder")));
}

TEST_F(Load, RefusesASymbolicLinkForEachFile) {
  for (const char* name : {kModelFile, kOptimizerFile, kManifestFile}) {
    move_away(name);
    ASSERT_EQ(::symlink((folder_ / name).c_str(), (path_ + "/" + name).c_str()), 0);
    EXPECT_THAT(error(), AllOf(StartsWith("65: " + path_ + "/" + name), HasSubstr("link")));
    std::filesystem::rename(folder_ / name, path_ + "/" + name);
  }
  EXPECT_EQ(error(), "no error");
}

TEST_F(Load, DoesNotWaitForAPipeOrReadAFolder) {
  move_away(kModelFile);
  ASSERT_EQ(::mkfifo((path_ + "/" + kModelFile).c_str(), 0600), 0);
  EXPECT_THAT(error(), HasSubstr("not a regular file"));
  move_away(kManifestFile);
  std::filesystem::create_directory(path_ + "/" + kManifestFile);
  EXPECT_THAT(error(), HasSubstr("manifest.json: not a regular file"));
}

TEST_F(Load, IgnoresFilesItDoesNotKnow) {
  write_file(path_ + "/notes.txt", "mine");
  ASSERT_EQ(::symlink("/nowhere", (path_ + "/link").c_str()), 0);
  EXPECT_EQ(error(), "no error");
}

TEST_F(Load, SaysWhichHashWasExpectedAndFound) {
  std::string bytes = read_file(path_ + "/" + kModelFile);
  const std::string before = sha256_hex(std::as_bytes(std::span(bytes))).substr(0, 12);
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  const std::string after = sha256_hex(std::as_bytes(std::span(bytes))).substr(0, 12);
  write_file(path_ + "/" + kModelFile, bytes);
  EXPECT_EQ(error(), "65: " + path_ +
                         "/model.safetensors: changed since it was written: SHA-256 is " + after +
                         "..., the manifest says " + before + "...");
}

TEST_F(Load, FindsAFolderUnderAnotherStepsName) {
  const std::string other = folder_ / "checkpoints/step-000000010";
  std::filesystem::rename(path_, folder_ / "x");
  std::filesystem::rename(other, path_);
  EXPECT_THAT(error(), HasSubstr("holds the checkpoint of step 10, its name says 20"));
}

TEST_F(Load, TakesACopyUnderANameOfItsOwn) {
  std::filesystem::copy(path_, folder_ / "best");
  EXPECT_EQ(difference(load(folder_ / "best"), sample_checkpoint(20)), "");
  EXPECT_EQ(difference(load_any((folder_ / "best") + "/"), sample_checkpoint(20)), "");
}

TEST_F(Load, RefusesAHugeSparseFile) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 42;
  rewrite_manifest([](Manifest& m) { m.files[kModelFile].num_bytes = kHuge; });
  EXPECT_THAT(error(), HasSubstr("the manifest says 4398046511104"));
  if (::truncate((path_ + "/" + kModelFile).c_str(), kHuge) != 0) GTEST_SKIP() << "no sparse files";
  EXPECT_THAT(error(), HasSubstr("more than the memory of this machine"));
}

TEST_F(Load, ComparesTheWeightsHashWithTheTensors) {
  rewrite_manifest([](Manifest& m) { m.weights_hash = std::string(64, '0'); });
  EXPECT_THAT(error(), HasSubstr("weights hash is "));
}

TEST_F(Load, ChecksTensorsEvenIfEveryHashFits) {
  const std::string bytes = std::string("\2\0\0\0\0\0\0\0", 8) + "{}extra";
  write_file(path_ + "/" + kOptimizerFile, bytes);
  rewrite_manifest([&bytes](Manifest& m) {
    m.files[kOptimizerFile] = {.num_bytes = static_cast<std::int64_t>(bytes.size()),
                               .sha256 = sha256_hex(std::as_bytes(std::span(bytes)))};
  });
  EXPECT_THAT(error(), HasSubstr("optimizer.safetensors: 5 bytes behind the last tensor"));
}

TEST_F(Load, TakesTheNewestOfARunOrOfItsCheckpointsFolder) {
  write_file(folder_ / "manifest.json", "{}");  // that of the run, not of a checkpoint
  for (const std::string& path : {path_, folder_ / "checkpoints", folder_.path(), folder_ / "."}) {
    EXPECT_EQ(difference(load_any(path), sample_checkpoint(20)), "") << path;
  }
}

TEST_F(Load, SaysThatAFolderHoldsNoCheckpoint) {
  const std::string empty = folder_ / "empty";
  std::filesystem::create_directories(empty + "/checkpoints");
  for (const std::string& path : {empty, empty + "/checkpoints", folder_ / "nothing"}) {
    EXPECT_THAT(error_of([&] { (void)load_any(path); }), StartsWith("66: ")) << path;
  }
}

TEST_F(Load, ListsGoodAndBadOnes) {
  write_file(folder_ / "checkpoints/step-000000010/manifest.json", "{}");
  for (const std::string& path : {folder_.path(), folder_ / "checkpoints"}) {
    const std::vector<Summary> got = list(path);
    ASSERT_EQ(got.size(), 2u);
    EXPECT_EQ(got[0].step, 10);
    EXPECT_THAT(got[0].problem, HasSubstr("step-000000010/manifest.json: does not end with its"));
    EXPECT_EQ(got[0].weights_hash, "");
    EXPECT_EQ(got[1].step, 20);
    EXPECT_EQ(got[1].problem, "");
    EXPECT_EQ(got[1].weights_hash, weights_hash(sample_checkpoint(20).model));
    std::int64_t num_bytes = 0;
    for (const std::string& name : list_directory(path_)) {
      num_bytes += static_cast<std::int64_t>(std::filesystem::file_size(path_ + "/" + name));
    }
    EXPECT_EQ(got[1].num_bytes, num_bytes);
  }
  EXPECT_EQ(list(path_).size(), 1u);
}

}  // namespace
}  // namespace dlt::checkpoint::test
