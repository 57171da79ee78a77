// SPDX-License-Identifier: Apache-2.0
// Leaves that move between ranks: other ranks do the work, the bits stay.
#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

constexpr const char* kBalance = "comm.balance=true";

/// Rank `slow` seems to take three times as long as the others for whatever it does.
JobRun with_slow_rank(int ranks, int slow, std::vector<std::string> overrides) {
  overrides.emplace_back(kBalance);
  return {.ranks = ranks,
          .overrides = std::move(overrides),
          .resume = {.overwrite = true},
          .clock = [slow](int rank) { return make_ticking_clock(rank == slow ? 3e-3 : 1e-3); }};
}

/// The lines of the events "balance".
std::vector<std::string> moves(const JobFiles& files) {
  std::vector<std::string> lines;
  std::string text = read_file(files.run_dir + "/events.jsonl");
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    if (line.find("\"leaves_before\"") != std::string::npos) lines.push_back(line);
    at = end + 1;
  }
  return lines;
}

TEST(Balance, MovesLeavesAwayFromASlowRankWithTheSameBits) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const std::string reference = run_job(files, {}).weights_hash;
  for (const int slow : {0, 1}) {
    EXPECT_EQ(run_job(files, with_slow_rank(2, slow, {})).weights_hash, reference);
    const std::vector<std::string> lines = moves(files);
    ASSERT_FALSE(lines.empty());
    EXPECT_NE(lines[0].find("3, 3"), std::string::npos) << lines[0];
    EXPECT_NE(lines[0].find(slow == 0 ? "2, 4" : "4, 2"), std::string::npos) << lines[0];
  }
  EXPECT_EQ(run_job(files, with_slow_rank(3, 1, {})).weights_hash, reference);
  EXPECT_FALSE(moves(files).empty());
}

TEST(Balance, MovesNothingBetweenEqualRanks) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  (void)run_job(files, with_slow_rank(2, -1, {}));
  EXPECT_TRUE(moves(files).empty());
}

TEST(Balance, MovesLeavesOfEveryKindOfModelAndShard) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const std::vector<std::vector<std::string>> cases{
      {"model.layers=[{dense: {units: 9}}, {batch_norm: {sync: true}}, {dense: {units: 3}}]"},
      {"model.layers=[{dense: {units: 9}}, batch_norm, {dense: {units: 3}}]", "data.workers=2"},
      {"train.shard=optimizer", "train.ema={decay: 0.9}"},
      {"comm.overlap=false", "train.leaves=10", "comm.bucket_mb=0.0001"}};
  for (const auto& overrides : cases) {
    const std::string reference =
        run_job(files, {.overrides = overrides, .resume = {.overwrite = true}}).weights_hash;
    EXPECT_EQ(run_job(files, with_slow_rank(2, 1, overrides)).weights_hash, reference)
        << overrides[0];
    EXPECT_FALSE(moves(files).empty()) << overrides[0];
  }
}

TEST(Balance, ResumesFromAnyDivision) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 300);
  const std::string reference = run_job(files, {.overrides = {kBalance}}).weights_hash;
  JobRun part = with_slow_rank(2, 0, {});
  part.interrupt_at_step = 41;
  (void)run_job(files, part);
  EXPECT_FALSE(moves(files).empty());
  EXPECT_EQ(run_job(files, {.ranks = 3, .overrides = {kBalance}}).weights_hash, reference);
}

}  // namespace
}  // namespace dlt::train_test
