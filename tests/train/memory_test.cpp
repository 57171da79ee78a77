// SPDX-License-Identifier: Apache-2.0
// Snapshots in memory: a run that loses its processes and its checkpoints goes on from them.
#include <filesystem>
#include <limits>
#include <random>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "checkpoint/memory_part.h"
#include "train/memory_snapshots.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using testing::HasSubstr;
using testing::Not;

std::vector<std::string> every_step(std::vector<std::string> more = {}) {
  more.push_back("checkpoint.ram_every_steps=1");
  return more;
}

class Memory : public testing::Test {
 protected:
  Memory() : files_(write_small_job(folder_, 47)) {}

  std::string dir(int host) { return cat(folder_ / "memory", host); }
  JobRun job(const std::vector<int>& host_of, const std::vector<std::string>& overrides,
             std::int64_t stop_at = -1) {
    JobRun run{.ranks = static_cast<int>(host_of.size()),
               .overrides = every_step(overrides),
               .interrupt_at_step = stop_at,
               .host_of = host_of,
               .generation = ++generation_};
    run.memory_dir = [this, host_of](int rank) {
      return dir(host_of[static_cast<std::size_t>(rank)]);
    };
    return run;
  }
  /// Runs to a step and loses all but the memory.
  void run_and_lose(const JobRun& run) {
    JobRun first = run;
    first.resume.overwrite = true;
    (void)run_job(files_, first);
    lose_disk();
  }
  void lose_disk() {
    std::filesystem::remove_all(files_.run_dir + "/checkpoints");
    std::filesystem::remove(files_.run_dir + "/summary.json");
  }
  std::string reference(const std::vector<std::string>& overrides) {
    const std::string hash =
        run_job(files_, {.overrides = every_step(overrides), .resume = {.overwrite = true}})
            .weights_hash;
    return hash;
  }
  /// {"step": 7, "from": "memory", ...} of the last start.
  std::string last_start() {
    const std::string text = read_file(files_.run_dir + "/events.jsonl");
    const std::size_t at = text.rfind("\"run_start\"");
    return text.substr(at, text.find('\n', at) - at);
  }
  std::string newest_part(int host, int rank, std::int64_t step) {
    for (int slot = 0; slot < train::kNum_slots; ++slot) {
      std::string path = train::slot_path(dir(host), slot) + "/" + train::part_name(rank);
      if (exists(path) && checkpoint::read_part(path).facts.step == step) return path;
    }
    return "";
  }

  TempFolder folder_;
  JobFiles files_;
  std::int64_t generation_ = 0;
};

TEST_F(Memory, ARunGoesOnFromItOnAnyRanks) {
  const std::string whole = reference({});
  for (const auto& [first, second] :
       std::vector<std::pair<int, int>>{{1, 1}, {2, 3}, {4, 1}, {3, 2}}) {
    run_and_lose(job(std::vector<int>(static_cast<std::size_t>(first), 0), {}, 7));
    const auto rest =
        run_job(files_, job(std::vector<int>(static_cast<std::size_t>(second), 0), {}));
    EXPECT_EQ(rest.weights_hash, whole) << first << " ranks, then " << second;
    EXPECT_THAT(last_start(), HasSubstr("\"step\": 7, \"from\": \"memory\"")) << first;
  }
}

TEST_F(Memory, HoldsAllThatACheckpointHolds) {
  const std::vector<std::vector<std::string>> cases{
      {"schedule={name: reduce_on_plateau, patience: 0, threshold: 0.9}", "train.ema={decay: 0.7}"},
      {"train.shard=optimizer", "train.swa={start_step: 3, every_steps: 2}",
       "comm.bucket_mb=0.0001"},
      {"train.shard=gradients", "comm.bucket_mb=0.0001"},
      {"comm.compression={name: powersgd, rank: 1}"},
      {"comm.compression={name: topk, share: 0.2}"},
      {"comm.sync_every=2"}};
  for (const auto& overrides : cases) {
    // Local steps depend on the number of ranks, and local or not all are equal at step 8.
    const std::vector<int> hosts{0, 0};
    JobRun all = job(hosts, overrides);
    all.resume.overwrite = true;
    const std::string whole = run_job(files_, all).weights_hash;
    run_and_lose(job(hosts, overrides, 8));
    EXPECT_EQ(run_job(files_, job(hosts, overrides)).weights_hash, whole) << overrides[0];
    EXPECT_THAT(last_start(), HasSubstr("\"step\": 8, \"from\": \"memory\"")) << overrides[0];
  }
}

TEST_F(Memory, EveryHostHasAWholeCopy) {
  const std::string whole = reference({});
  run_and_lose(job({0, 0, 1, 1}, {}, 6));
  std::filesystem::remove_all(dir(0));  // the host is lost
  EXPECT_EQ(run_job(files_, job({1, 1}, {})).weights_hash, whole);
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 6, \"from\": \"memory\""));
  // And a host that has none gets what it lacks.
  run_and_lose(job({0, 0}, {}, 6));
  std::filesystem::remove_all(dir(1));
  EXPECT_EQ(run_job(files_, job({1, 0, 1}, {})).weights_hash, whole);
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 6, \"from\": \"memory\""));
}

TEST_F(Memory, ShardsOfALostHostCostTheSnapshot) {
  const std::vector<std::string> shard{"train.shard=optimizer", "comm.bucket_mb=0.0001"};
  const std::string whole = reference(shard);
  JobRun first = job({0, 1}, shard, 6);  // a checkpoint at 4 and 6
  first.resume.overwrite = true;
  (void)run_job(files_, first);
  std::filesystem::remove_all(files_.run_dir + "/checkpoints/step-000000006");
  std::filesystem::remove_all(dir(1));
  EXPECT_EQ(run_job(files_, job({0, 0}, shard)).weights_hash, whole);
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 4, \"from\": \"disk\""));
}

TEST_F(Memory, WhatDoesNotVerifyIsPassedOver) {
  const std::string whole = reference({});
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int i = 0; i < 30; ++i) {
    run_and_lose(job({0, 0}, {}, 7));
    const std::string path = newest_part(0, 0, 7);
    ASSERT_NE(path, "");
    std::string bytes = read_file(path);
    const std::size_t at = random() % (i < 20 ? 3000 : 200);
    if (i % 3 == 2) {
      bytes.resize(at);
    } else {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << (random() % 8)));
    }
    test::write_file(path, bytes);
    EXPECT_EQ(run_job(files_, job({0, 0}, {})).weights_hash, whole) << "seed " << seed << " " << i;
    EXPECT_THAT(last_start(), testing::AnyOf(HasSubstr("\"step\": 6, \"from\": \"memory\""),
                                             HasSubstr("\"step\": 7, \"from\": \"memory\"")));
  }
}

TEST_F(Memory, PartsOfDifferentStepsAreNoSnapshot) {
  run_and_lose(job({0, 0},
                   {"model.layers=[{dense: {units: 50000}}, {dense: {units: 3}}]", "train.epochs=1",
                    "train.eval_every_epochs=0"},
                   3));
  // The part of rank 1 never came to step 3: only the step before is whole.
  std::filesystem::remove(newest_part(0, 1, 3));
  (void)run_job(files_, job({0, 0}, {"model.layers=[{dense: {units: 50000}}, {dense: {units: 3}}]",
                                     "train.epochs=1", "train.eval_every_epochs=0"}));
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 2, \"from\": \"memory\""));
}

TEST_F(Memory, IsNotForAnotherConfigurationNorForANewStart) {
  run_and_lose(job({0}, {}, 7));
  (void)run_job(files_, job({0}, {"optimizer.learning_rate=0.5"}, 3));
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 0, \"from\": \"start\""));
  lose_disk();
  JobRun anew = job({0}, {"optimizer.learning_rate=0.5"}, 2);
  anew.resume.mode = train::ResumeMode::never;
  (void)run_job(files_, anew);
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 0, \"from\": \"start\""));
  EXPECT_EQ(newest_part(0, 0, 3), "");  // what the run before left is gone
}

TEST_F(Memory, ACheckpointThatIsAsNewIsPreferred) {
  JobRun first = job({0}, {}, 7);
  first.resume.overwrite = true;
  (void)run_job(files_, first);
  (void)run_job(files_, job({0}, {}, 9));
  EXPECT_THAT(last_start(), HasSubstr("\"step\": 7, \"from\": \"disk\""));
}

TEST_F(Memory, WithoutRoomTheRunGoesOn) {
  JobRun run = job({0, 0}, {});
  run.resume.overwrite = true;
  test::write_file(folder_ / "memory0", "a file where the folder should be");
  EXPECT_EQ(run_job(files_, run).status, "finished");
}

TEST(MemorySnapshots, AreTakenAsOftenAsTheyCostLessThanAHundredthOfTheSteps) {
  EXPECT_EQ(train::MemorySnapshots::affordable_interval(0.0005, 0.1), 1);
  EXPECT_EQ(train::MemorySnapshots::affordable_interval(0.001, 0.1), 1);
  EXPECT_EQ(train::MemorySnapshots::affordable_interval(0.004, 0.1), 4);
  EXPECT_EQ(train::MemorySnapshots::affordable_interval(0.01, 0.0003), 3334);
  EXPECT_EQ(train::MemorySnapshots::affordable_interval(0, 0), 1);
}

/// A state of one parameter, and snapshots of it by one rank.
class SlotTest : public testing::Test {
 protected:
  SlotTest() {
    files_.headers = {std::string(64, ' '), std::string(64, ' ')};
    files_.num_bytes = {64 + 4, 64};
    files_.pieces = {{.at = {.file = 0, .offset = 0, .num_bytes = 64},
                      .data = reinterpret_cast<const std::byte*>(files_.headers[0].data())},
                     {.at = {.file = 0, .offset = 64, .num_bytes = 4},
                      .data = reinterpret_cast<const std::byte*>(&param_)},
                     {.at = {.file = 1, .offset = 0, .num_bytes = 64},
                      .data = reinterpret_cast<const std::byte*>(files_.headers[1].data())}};
  }
  bool take(std::int64_t step) {
    return snapshots_.take(files_, {.step = step, .num_bytes = files_.num_bytes}, 0);
  }
  /// The others say of the last one that they have it, or not.
  void hear(bool all_have_it) {
    snapshots_.note({.snapshot_every = 1, .snapshot_failed = all_have_it ? 0 : 1}, 0.1);
  }
  /// Of the two slots; -1: nothing whole.
  std::vector<std::int64_t> steps() {
    std::vector<std::int64_t> out;
    for (int slot = 0; slot < train::kNum_slots; ++slot) {
      try {
        out.push_back(checkpoint::read_part(train::slot_path(dir_, slot) + "/part-0").facts.step);
      } catch (const Error&) {
        out.push_back(-1);
      }
    }
    return out;
  }

  TempFolder folder_;
  std::string dir_ = folder_ / "memory";
  float param_ = 1;
  train::StateFiles files_;
  SystemClock clock_;
  train::MemorySnapshots snapshots_{{.memory_dir = dir_, .host_ranks = {0}}, clock_};
};

TEST_F(SlotTest, TheNewestWholeSnapshotIsNeverWrittenOver) {
  hear(true);
  ASSERT_TRUE(take(1));
  hear(true);
  ASSERT_TRUE(take(2));
  EXPECT_EQ(steps(), (std::vector<std::int64_t>{1, 2}));
  hear(false);  // a rank has no part of 2: 1 is still the newest whole one
  ASSERT_TRUE(take(3));
  EXPECT_EQ(steps(), (std::vector<std::int64_t>{1, 3}));
  hear(true);
  ASSERT_TRUE(take(4));
  EXPECT_EQ(steps(), (std::vector<std::int64_t>{4, 3}));
}

TEST_F(SlotTest, AStateThatIsNotFiniteIsNotTaken) {
  hear(true);
  ASSERT_TRUE(take(1));
  hear(true);
  for (const float bad :
       {std::numeric_limits<float>::quiet_NaN(), -std::numeric_limits<float>::infinity()}) {
    param_ = bad;
    EXPECT_FALSE(take(2));
    ddp::SaveWord word;
    snapshots_.say(word);
    EXPECT_EQ(word.snapshot_failed, 1);
    hear(false);
    EXPECT_EQ(steps(), (std::vector<std::int64_t>{1, -1}));
  }
}

TEST(MemoryPart, EveryFlippedBitIsFound) {
  const TempFolder folder;
  const std::string path = folder / "part-0", text = "0123456789abcdef";
  checkpoint::PartWriter writer(path);
  const checkpoint::PartFacts facts{.generation = 2,
                                    .sequence = 3,
                                    .rank = 1,
                                    .world_size = 4,
                                    .step = 12,
                                    .leaves = 2,
                                    .num_bytes = {16, 32},
                                    .config_fingerprint = "f",
                                    .config_yaml = "run: {}\n"};
  const auto* data = reinterpret_cast<const std::byte*>(text.data());
  writer.write(facts, std::vector<checkpoint::Stretch>{
                          {.at = {.file = 0, .offset = 0, .num_bytes = 4}, .data = data},
                          {.at = {.file = 0, .offset = 4, .num_bytes = 4}, .data = data + 4},
                          {.at = {.file = 1, .offset = 8, .num_bytes = 8}, .data = data + 8}});
  const checkpoint::MemoryPart part = checkpoint::read_part(path);
  EXPECT_EQ(part.facts, facts);
  EXPECT_EQ(part.extents,
            (std::vector<checkpoint::Extent>{{.file = 0, .offset = 0, .num_bytes = 8},
                                             {.file = 1, .offset = 8, .num_bytes = 8}}));
  EXPECT_EQ(part.bytes, text);
  const std::string good = read_file(path);
  const std::size_t used = good.find(text) + text.size();
  int found = 0, tried = 0;
  for (std::size_t at = 0; at < used; ++at) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ (1 << (at % 8)));
    test::write_file(folder / "bad", bad);
    ++tried;
    try {
      if (checkpoint::read_part(folder / "bad").bytes == text) --tried;  // padding
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::data);
      ++found;
    }
  }
  EXPECT_EQ(found, tried);
  EXPECT_GT(found, 200);
}

}  // namespace
}  // namespace dlt::train_test
