// SPDX-License-Identifier: Apache-2.0
// When checkpoints are written, by whom, which stay, and what a disk that fails costs.
#include "train/saver.h"

#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/generation.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "support/faulty_fs.h"
#include "train/save_clock.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

/// Breaks as a FaultyFs does, but counts only what is done to checkpoints.
class BadDisk final : public Fs {
 public:
  /// Every write of a range to a checkpoint fails from the `first`-th on, `times` times.
  BadDisk(std::string text, int first, int times)
      : text_(std::move(text)), first_(first), last_(first + times) {}
  void write_synced(const std::string& path,
                    std::span<const std::span<const std::byte>> pieces) override {
    system_.write_synced(path, pieces);
  }
  void write_ranges_synced(const std::string& path, std::span<const FileRange> ranges) override {
    const int number = writes_++;
    if (number >= first_ && number < last_)
      throw Error(Exit::io, path + ": fsync() failed: " + text_);
    system_.write_ranges_synced(path, ranges);
  }
  void sync_directory(const std::string& path) override { system_.sync_directory(path); }
  void rename(const std::string& from, const std::string& to) override { system_.rename(from, to); }
  void create_directories(const std::string& path) override { system_.create_directories(path); }
  void remove_tree(const std::string& path) override { system_.remove_tree(path); }
  std::uint64_t free_bytes(const std::string& path) override { return system_.free_bytes(path); }

 private:
  SystemFs system_;
  std::string text_;
  int first_, last_;
  int writes_ = 0;
};

class SaverTest : public testing::Test {
 protected:
  SaverTest() : files_(write_small_job(folder_, 47)) {}
  [[nodiscard]] std::vector<std::int64_t> steps() const {
    SystemFs fs;
    return checkpoint::Store(fs, files_.run_dir + "/checkpoints", 1).steps();
  }
  [[nodiscard]] std::string events() const { return read_file(files_.run_dir + "/events.jsonl"); }
  TempFolder folder_;
  JobFiles files_;
};

TEST_F(SaverTest, ManyRanksWriteTheFilesOfOne) {
  // Layers of several blocks of a file, so that every rank has a share.
  const std::vector<std::string> wide{"model.layers=[{dense: {units: 50000}}, {dense: {units: 3}}]",
                                      "train.epochs=1", "train.eval_every_epochs=0",
                                      "checkpoint.every_steps=0"};
  const auto tensors = [&](int ranks) {
    (void)run_job(files_, {.ranks = ranks, .overrides = wide, .resume = {.overwrite = true}});
    const std::string path = files_.run_dir + "/checkpoints/step-000000005/";
    return read_file(path + "model.safetensors") + read_file(path + "optimizer.safetensors");
  };
  const std::string one = tensors(1);
  EXPECT_GT(one.size(), 4U << 20);
  for (const int ranks : {2, 3}) EXPECT_TRUE(tensors(ranks) == one) << ranks;
}

TEST_F(SaverTest, ADiskThatFailsOnAnyRankCostsThatCheckpointOnly) {
  const std::vector<std::string> wide{"model.layers=[{dense: {units: 50000}}, {dense: {units: 3}}]",
                                      "train.epochs=2", "train.eval_every_epochs=0",
                                      "checkpoint.keep=9"};  // saves at 4, 8 and 10
  for (const int bad_rank : {0, 1}) {
    const auto run =
        run_job(files_, {.ranks = 2,
                         .overrides = wide,
                         .resume = {.overwrite = true},
                         .fs = [&](int rank) -> std::unique_ptr<Fs> {
                           if (rank != bad_rank) return std::make_unique<SystemFs>();
                           return std::make_unique<BadDisk>("Input/output error", 0, 1);
                         }});
    EXPECT_EQ(run.status, "finished");
    EXPECT_THAT(steps(), ElementsAre(8, 10)) << bad_rank;
    EXPECT_THAT(events(), testing::AllOf(HasSubstr("\"kind\": \"io\""),
                                         HasSubstr(cat("\"rank\": ", bad_rank))));
    EXPECT_EQ(list_directory(files_.run_dir + "/checkpoints").size(), 2U);
  }
}

TEST_F(SaverTest, AFullDiskEndsWith74OnlyIfTheLastOneFailed) {
  const auto full_from = [&](int first, int times) {
    return JobRun{.overrides = {"checkpoint.keep=9"},
                  .resume = {.overwrite = true},
                  .fs = [=](int) -> std::unique_ptr<Fs> {
                    return std::make_unique<BadDisk>("No space left on device", first, times);
                  }};
  };
  EXPECT_EQ(run_job(files_, full_from(2, 1)).status, "finished");  // 4, 8, 12, 15: two writes each
  EXPECT_THAT(steps(), ElementsAre(4, 12, 15));
  EXPECT_THAT(events(), HasSubstr("\"kind\": \"disk_full\""));
  try {
    (void)run_job(files_, full_from(5, 1000));
    ADD_FAILURE() << "no failure";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::io);
    EXPECT_THAT(error.what(), HasSubstr("the final checkpoint could not be written"));
  }
  EXPECT_THAT(steps(), ElementsAre(4, 8));
}

TEST_F(SaverTest, KeepEveryAndTheBestStayBesideTheNewest) {
  (void)run_job(files_, {.ranks = 2,
                         .overrides = {"checkpoint.every_steps=2", "checkpoint.keep=1",
                                       "checkpoint.keep_every=6",
                                       "checkpoint.best={metric: loss, mode: max}"}});
  // The loss is the largest after the first epoch, step 5.
  EXPECT_THAT(steps(), ElementsAre(5, 6, 12, 15));
  const auto best = checkpoint::read_best(files_.run_dir + "/checkpoints");
  ASSERT_TRUE(best.has_value());
  EXPECT_EQ(best->step, 5);
  EXPECT_EQ(best->metric, "loss");
}

TEST_F(SaverTest, TheBestIsTheSameForARunThatWasStopped) {
  const std::vector<std::string> best{"checkpoint.every_steps=0", "checkpoint.keep=1",
                                      "checkpoint.best={metric: loss, mode: max}"};
  (void)run_job(files_, {.overrides = best, .interrupt_at_step = 7});
  EXPECT_THAT(steps(), ElementsAre(5, 7));
  const std::string whole = run_job(files_, {.ranks = 2, .overrides = best}).weights_hash;
  EXPECT_THAT(steps(), ElementsAre(5, 15));
  EXPECT_EQ(run_job(files_, {.resume = {.overwrite = true}}).weights_hash, whole);
}

TEST_F(SaverTest, SavesByTheClockAtTheSameStepsOnAllRanks) {
  (void)run_job(files_, {.ranks = 3,
                         .overrides = {"checkpoint.every_steps=0", "checkpoint.every_seconds=1",
                                       "checkpoint.keep=99"},
                         .clock = [](int rank) { return make_ticking_clock(0.01 * (1 + rank)); }});
  EXPECT_GT(steps().size(), 1U);
  EXPECT_EQ(steps().back(), 15);
}

TEST_F(SaverTest, ASecondJobInTheFolderIsRefused) {
  std::filesystem::create_directories(files_.run_dir);
  const RunLock other(files_.run_dir, 0);
  try {
    (void)run_job(files_, {.ranks = 2});
    ADD_FAILURE() << "no failure";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::unavailable);
    EXPECT_THAT(error.what(), HasSubstr("another job trains in this folder: process"));
  }
  EXPECT_FALSE(exists(files_.run_dir + "/events.jsonl"));
}

TEST_F(SaverTest, AnOldGenerationWritesNothing) {
  (void)run_job(files_, {.interrupt_at_step = 5, .generation = 1});
  SystemFs fs;
  write_generation(fs, files_.run_dir, 3);
  try {
    (void)run_job(files_, {.ranks = 2, .generation = 2});
    ADD_FAILURE() << "no failure";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::peer_lost);
    EXPECT_THAT(error.what(), HasSubstr("generation 3"));
  }
  EXPECT_THAT(steps(), ElementsAre(4, 5));
}

TEST(SaveClock, FollowsSecondsOrTheBestInterval) {
  train::SaveClock every({.every_s = 10}, 100);
  EXPECT_FALSE(every.due(109));
  EXPECT_TRUE(every.due(110));
  every.saved(110);
  EXPECT_FALSE(every.due(119));
  const train::SaveClock never({}, 0);
  EXPECT_FALSE(never.due(1e9));

  EXPECT_DOUBLE_EQ(train::best_interval_s(2, 100), 20);
  train::SaveClock automatic({.automatic = true, .mtbf_s = 5000}, 0);
  automatic.measured(0.9, 1);  // costs a second in all
  EXPECT_DOUBLE_EQ(automatic.interval_s(), 100);
  automatic.measured(0.001, 400);  // a disk so slow that saves must not pile up
  EXPECT_DOUBLE_EQ(automatic.interval_s(), 800);
}

TEST(SaveClock, TakesTheFailuresItHasSeen) {
  EXPECT_DOUBLE_EQ(train::observed_mtbf_s(7200, 0), 86400);
  EXPECT_DOUBLE_EQ(train::observed_mtbf_s(7200, 3), 2400);
}

}  // namespace
}  // namespace dlt::train_test
