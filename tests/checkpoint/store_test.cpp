// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/store.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "checkpoint/samples.h"
#include "support/faulty_fs.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using dlt::test::error_of;
using dlt::test::FaultyFs;
using dlt::test::write_file;
using testing::ElementsAre;
using testing::HasSubstr;

using Steps = std::vector<std::int64_t>;

class StoreTest : public testing::Test {
 protected:
  [[nodiscard]] std::string name(std::string_view below) const {
    return directory_ + "/" + std::string(below);
  }
  Store store(int keep) { return {fs_, directory_, keep}; }
  void damage(std::int64_t step) {
    write_file(store(1).path_of(step) + "/optimizer.safetensors", "x");
  }
  /// Without changing a size.
  void rot(std::int64_t step) {
    const std::string path = store(1).path_of(step) + "/optimizer.safetensors";
    std::string bytes = read_file(path);
    bytes.back() = static_cast<char>(bytes.back() ^ 4);
    write_file(path, bytes);
  }

  dlt::test::TempFolder folder_;
  std::string directory_ = folder_ / "run/checkpoints";
  FaultyFs fs_;
};

TEST_F(StoreTest, IsEmptyBeforeTheFirstCommit) {
  std::vector<std::string> problems;
  EXPECT_EQ(store(1).steps(), Steps{});
  EXPECT_FALSE(store(1).load_newest(problems).has_value());
  store(1).clear();
  EXPECT_FALSE(exists(directory_));
}

TEST_F(StoreTest, WritesInTheOrderThatIsSafe) {
  store(1).commit(sample_checkpoint(1));
  const std::size_t first = fs_.calls().size();
  const CommitResult result = store(1).commit(sample_checkpoint(2));
  EXPECT_THAT(
      std::vector<std::string>(fs_.calls().begin() + static_cast<std::ptrdiff_t>(first),
                               fs_.calls().end()),
      ElementsAre("mkdir checkpoints", "free checkpoints", "mkdir .tmp-step-000000002",
                  "write model.safetensors", "write optimizer.safetensors", "write manifest.json",
                  "sync .tmp-step-000000002", "rename .tmp-step-000000002 step-000000002",
                  "sync checkpoints", "rename step-000000001 .trash-step-000000001",
                  "remove .trash-step-000000001"));
  EXPECT_EQ(result.path, name("step-000000002"));
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000002"));
  std::int64_t num_bytes = 0;
  for (const std::string& file : list_directory(result.path)) {
    num_bytes += static_cast<std::int64_t>(std::filesystem::file_size(result.path + "/" + file));
  }
  EXPECT_EQ(result.num_bytes, num_bytes);
}

TEST_F(StoreTest, KeepsAsManyAsAsked) {
  for (const std::int64_t step : {5, 10, 15, 20, 25}) store(3).commit(sample_checkpoint(step));
  EXPECT_EQ(store(3).steps(), (Steps{15, 20, 25}));
  store(1).commit(sample_checkpoint(30));
  EXPECT_EQ(store(1).steps(), Steps{30});
}

TEST_F(StoreTest, CountsOnlyNamesOfItsForm) {
  store(9).commit(sample_checkpoint(1'234'567'890'123));
  for (const char* other : {"step-1", "step-0000000001", "step-00000000x", "xstep-000000001",
                            "step--00000001", "step-99999999999999999999", "best"}) {
    std::filesystem::create_directories(name(other));
  }
  EXPECT_EQ(store(9).steps(), Steps{1'234'567'890'123});
  store(1).commit(sample_checkpoint(1'234'567'890'124));
  EXPECT_EQ(list_directory(directory_).size(), 8u);
}

TEST_F(StoreTest, LoadsTheNewestThatVerifies) {
  for (const std::int64_t step : {1, 2, 3}) store(9).commit(sample_checkpoint(step));
  damage(3);
  rot(2);
  std::vector<std::string> problems;
  EXPECT_EQ(difference(*store(9).load_newest(problems), sample_checkpoint(1)), "");
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_THAT(problems[0], HasSubstr("step-000000003/optimizer.safetensors: 1 bytes"));
  EXPECT_THAT(problems[1], HasSubstr("step-000000002/optimizer.safetensors: changed"));
}

TEST_F(StoreTest, NeverStartsAfreshIfAllAreBad) {
  for (const std::int64_t step : {1, 2}) store(9).commit(sample_checkpoint(step));
  damage(1);
  std::filesystem::remove(name("step-000000002/manifest.json"));
  std::vector<std::string> problems;
  EXPECT_THAT(error_of([&] { (void)store(9).load_newest(problems); }),
              testing::AllOf(testing::StartsWith("65: "), HasSubstr("step-000000002/manifest.json"),
                             HasSubstr("step-000000001/optimizer.safetensors")));
  EXPECT_EQ(problems.size(), 2u);
}

TEST_F(StoreTest, LeavesAnIdenticalCheckpointAlone) {
  const std::string manifest = store(2).commit(sample_checkpoint(4)).path + "/manifest.json";
  struct stat before {
  }, after{};
  ASSERT_EQ(::stat(manifest.c_str(), &before), 0);
  EXPECT_EQ(store(2).commit(sample_checkpoint(4)).path, name("step-000000004"));
  ASSERT_EQ(::stat(manifest.c_str(), &after), 0);
  EXPECT_EQ(before.st_ino, after.st_ino);
}

TEST_F(StoreTest, ReplacesADifferentOneOfTheSameStep) {
  store(1).commit(sample_checkpoint(4, 0));
  store(1).commit(sample_checkpoint(4, 1));
  EXPECT_EQ(difference(load(name("step-000000004")), sample_checkpoint(4, 1)), "");
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000004"));
}

TEST_F(StoreTest, ReplacesADamagedOneOfTheSameStep) {
  store(1).commit(sample_checkpoint(4));
  rot(4);
  store(1).commit(sample_checkpoint(4));
  EXPECT_EQ(difference(load(name("step-000000004")), sample_checkpoint(4)), "");
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000004"));
}

TEST_F(StoreTest, KeepsNewerGoodOnesAndRemovesNewerBadOnes) {
  for (const std::int64_t step : {10, 20, 30}) store(9).commit(sample_checkpoint(step));
  rot(30);
  const CommitResult result = store(2).commit(sample_checkpoint(15));
  EXPECT_EQ(store(2).steps(), (Steps{15, 20}));
  EXPECT_THAT(result.warnings, testing::IsEmpty());
}

TEST_F(StoreTest, GivesUpDamagedOlderOnesBeforeGoodOnes) {
  for (const std::int64_t step : {10, 20}) store(9).commit(sample_checkpoint(step));
  damage(20);
  store(2).commit(sample_checkpoint(30));
  EXPECT_EQ(store(2).steps(), (Steps{10, 30}));
}

TEST_F(StoreTest, CleansWhatInterruptedWritesLeft) {
  store(3).commit(sample_checkpoint(1));
  for (const char* left : {".tmp-step-000000002", ".trash-step-000000000", ".tmp-other"}) {
    std::filesystem::create_directories(name(left));
    write_file(name(left) + "/model.safetensors", "half");
  }
  EXPECT_EQ(store(3).steps(), Steps{1});
  store(3).commit(sample_checkpoint(2));
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000001", "step-000000002"));
}

TEST_F(StoreTest, FindsTheOldOneOfAnInterruptedReplacement) {
  store(1).commit(sample_checkpoint(4));
  std::filesystem::rename(name("step-000000004"), name(".old-step-000000004"));
  std::vector<std::string> problems;
  EXPECT_EQ(difference(*store(1).load_newest(problems), sample_checkpoint(4)), "");
  EXPECT_EQ(store(1).steps(), Steps{4});
  EXPECT_EQ(difference(load(store(1).path_of(4)), sample_checkpoint(4)), "");
  EXPECT_EQ(difference(load_any(directory_), sample_checkpoint(4)), "");
  store(2).commit(sample_checkpoint(5));
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000004", "step-000000005"));
}

TEST_F(StoreTest, NamesPathAndBytesIfThereIsNoRoom) {
  store(1).commit(sample_checkpoint(1));
  fs_.set_free_bytes(100);
  const std::string error = error_of([&] { store(1).commit(sample_checkpoint(2)); });
  EXPECT_THAT(error, testing::StartsWith("74: "));
  EXPECT_THAT(error, testing::ContainsRegex("step-000000002: not enough room: 100 bytes are free "
                                            ".*step-000000002 takes [0-9]+ bytes"));
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000001"));
}

TEST_F(StoreTest, ReportsOldOnesItCannotRemoveWithoutFailing) {
  store(1).commit(sample_checkpoint(1));
  FaultyFs broken(FaultyFs::Mode::fail_once, 10);  // the removal of step 1
  const CommitResult result = Store(broken, directory_, 1).commit(sample_checkpoint(2));
  EXPECT_THAT(result.warnings, ElementsAre(HasSubstr("remove .trash-step-000000001")));
  store(1).commit(sample_checkpoint(3));
  EXPECT_THAT(list_directory(directory_), ElementsAre("step-000000003"));
}

TEST_F(StoreTest, ClearsEverythingButWhatIsNotItsOwn) {
  for (const std::int64_t step : {1, 2}) store(3).commit(sample_checkpoint(step));
  for (const char* left : {".tmp-step-000000003", ".trash-x", ".old-step-000000001", "best"}) {
    std::filesystem::create_directories(name(left));
  }
  store(3).clear();
  EXPECT_THAT(list_directory(directory_), ElementsAre("best"));
}

}  // namespace
}  // namespace dlt::checkpoint::test
