// SPDX-License-Identifier: Apache-2.0
#include "ddp/balance.h"

#include <functional>
#include <random>

#include <gtest/gtest.h>

namespace dlt::ddp {
namespace {

constexpr std::int64_t kMany_steps = 100000;

/// Steps of ranks whose leaves take leaf_s(rank, step) seconds each; the divisions they went
/// through.
std::vector<LeafDivision> run_balancer(Balancer& balancer, int num_steps,
                                       const std::function<double(int, int)>& leaf_s) {
  std::vector<LeafDivision> moves;
  for (int step = 0; step < num_steps; ++step) {
    std::vector<double> times;
    for (int r = 0; r < balancer.division().world_size(); ++r) {
      times.push_back(leaf_s(r, step) * balancer.division().of(r).size());
    }
    if (const auto moved = balancer.note(times, kMany_steps)) moves.push_back(*moved);
  }
  return moves;
}

Balancer equal_ranks(int leaves, int ranks) {
  return Balancer({.division = LeafDivision(leaves, ranks),
                   .workers = std::vector<int>(static_cast<std::size_t>(ranks), 1)});
}

TEST(Balance, BestLeavesMakeTheSlowestRankFast) {
  EXPECT_EQ(best_leaves(std::vector<RankSpeed>{{1, 1}, {2, 1}}, 12), (std::vector<int>{8, 4}));
  EXPECT_EQ(best_leaves(std::vector<RankSpeed>{{1, 1}, {1, 1}, {1, 1}}, 7),
            (std::vector<int>{3, 2, 2}));
  EXPECT_EQ(best_leaves(std::vector<RankSpeed>{{1, 1}, {1000, 1}}, 8), (std::vector<int>{7, 1}))
      << "at least one leaf a rank";
  // A rank with two threads takes two leaves in the time of one.
  EXPECT_EQ(best_leaves(std::vector<RankSpeed>{{1, 2}, {1, 1}}, 9), (std::vector<int>{6, 3}));
}

TEST(Balance, ARankTwiceAsFastGetsTwiceAsMuchBySteps) {
  Balancer balancer = equal_ranks(24, 2);
  const auto moves =
      run_balancer(balancer, 300, [](int rank, int) { return rank == 0 ? 1e-3 : 2e-3; });
  ASSERT_GE(moves.size(), 2U);
  EXPECT_EQ(moves[0].of(0).size(), 14) << "half of the way";
  EXPECT_GE(balancer.division().of(0).size(), 15);
  EXPECT_LE(balancer.division().of(0).size(), 16);
}

TEST(Balance, EqualRanksKeepTheirLeavesWhateverTheNoise) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  std::exponential_distribution<double> noise(10);
  for (const int ranks : {2, 3, 8}) {
    Balancer balancer = equal_ranks(48, ranks);
    const auto moves =
        run_balancer(balancer, 2000, [&](int, int) { return 1e-3 * (1 + noise(random)); });
    EXPECT_LE(moves.size(), 3U) << ranks << " ranks, seed " << seed;
  }
}

TEST(Balance, NoiseDoesNotHideASlowRank) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  std::exponential_distribution<double> noise(5);
  Balancer balancer = equal_ranks(32, 4);
  (void)run_balancer(balancer, 1500, [&](int rank, int) {
    return 1e-3 * (rank == 2 ? 2 : 1) * (1 + noise(random));
  });
  // 32 leaves over speeds 1, 1, 1/2, 1: about 9, 9, 5, 9.
  EXPECT_LE(balancer.division().of(2).size(), 6) << "seed " << seed;
  EXPECT_GE(balancer.division().of(2).size(), 4) << "seed " << seed;
}

TEST(Balance, MovesBecomeRareWhereSpeedsChange) {
  Balancer balancer = equal_ranks(16, 2);
  const auto moves = run_balancer(balancer, 4000, [](int rank, int step) {
    return (step / 60 % 2 == 0) == (rank == 0) ? 1e-3 : 2e-3;
  });
  EXPECT_LE(moves.size(), 16U);
}

TEST(Balance, NothingMovesThatDoesNotPay) {
  // One leaf less cannot help: 4 of 1 ms beside 5 of 1 ms.
  Balancer small = equal_ranks(9, 2);
  EXPECT_TRUE(run_balancer(small, 200, [](int, int) { return 1e-3; }).empty());
  // Moving costs more than the steps that are left win.
  Balancer late = equal_ranks(24, 2);
  late.set_move_cost(0.5);
  for (int step = 0; step < 100; ++step) {
    const std::vector<double> times{12e-3, 24e-3};
    EXPECT_FALSE(late.note(times, 100).has_value());
  }
  bool moved = false;
  for (int step = 0; step < 100; ++step) {
    const std::vector<double> times{12e-3, 24e-3};
    moved = moved || late.note(times, 1000).has_value();
  }
  EXPECT_TRUE(moved);
}

TEST(Balance, DecisionsFollowFromWhatWasNotedAlone) {
  std::vector<std::vector<LeafDivision>> moves;
  for (int rank = 0; rank < 2; ++rank) {
    std::mt19937 random(7);
    std::exponential_distribution<double> noise(3);
    Balancer balancer = equal_ranks(20, 3);
    moves.push_back(
        run_balancer(balancer, 500, [&](int r, int) { return (r + 1) * (1 + noise(random)); }));
  }
  EXPECT_FALSE(moves[0].empty());
  EXPECT_EQ(moves[0], moves[1]);
}

TEST(Balance, ThreadsThatRunLeavesAtOnceCount) {
  Balancer balancer({.division = LeafDivision(12, 2), .workers = {2, 1}});
  // Both take 6 leaves: rank 0 in 3 rounds, rank 1 in 6.
  for (int step = 0; step < 200; ++step) {
    std::vector<double> times;
    for (const int r : {0, 1}) {
      const int leaves = balancer.division().of(r).size();
      times.push_back(1e-3 * (r == 0 ? (leaves + 1) / 2 : leaves));
    }
    (void)balancer.note(times, kMany_steps);
  }
  EXPECT_EQ(balancer.division().of(0).size(), 8);
}

}  // namespace
}  // namespace dlt::ddp
