// SPDX-License-Identifier: Apache-2.0
// Cases worked out by hand.
#include "ddp/scaling.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "ddp/scaled_job.h"

namespace dlt::ddp {
namespace {

TEST(Scaling, OneRankDoesNotCommunicate) {
  const Prediction p = predict_step(profile(), fabric(), job(1));
  EXPECT_DOUBLE_EQ(p.compute_s, 0.040);
  EXPECT_DOUBLE_EQ(p.exposed_s, 0);
  EXPECT_DOUBLE_EQ(p.wire_s, 0);
  EXPECT_DOUBLE_EQ(p.step_s, 0.049);
}

TEST(Scaling, BucketsFollowEachOtherOnceFinal) {
  // Two ranks send each bucket once: 10 ms. 20-30, 30-40, 40-50, 50-60 ms.
  const Prediction p = predict_step(profile(), fabric(), job(2));
  EXPECT_NEAR(p.wire_s, 0.040, 1e-5);
  EXPECT_NEAR(p.exposed_s, 0.020, 1e-5);
  EXPECT_NEAR(p.step_s, 0.069, 1e-5);
}

TEST(Scaling, NothingHidesWithoutOverlap) {
  ScaledJob two = job(2);
  two.reducer.overlap = false;
  const Prediction p = predict_step(profile(), fabric(), two);
  EXPECT_NEAR(p.exposed_s, 0.040, 1e-5);
}

TEST(Scaling, UpdatesHideBehindBucketsUnderWay) {
  // Landed at 30, 40, 50, 60; the step's thread is free at 40. Two updates of 2 ms to 44, waits to
  // 50, to 52, waits to 60, to 62.
  ScaledJob two = job(2);
  two.updates_early = true;
  const Prediction p = predict_step(profile(), fabric(), two);
  EXPECT_NEAR(p.exposed_s, 0.006 + 0.008, 1e-5);
  EXPECT_NEAR(p.step_s, 0.063, 1e-5);
}

TEST(Scaling, FourRanksSendThreeQuartersTwice) {
  const Prediction p = predict_step(profile(), fabric(), job(4));
  EXPECT_NEAR(p.wire_s, 0.060, 1e-4);
  EXPECT_NEAR(p.exposed_s, 0.020 + 0.060 - 0.040, 1e-4);
}

TEST(Scaling, ThreeRanksOfFiveLeavesSendMoreThanARing) {
  // Leaves 0 | 1 2 | 3 4: rank 1 and rank 2 hold two nodes each (1, 2 and 3, 4). First round: rank
  // 1 sends two nodes of two thirds and receives three of one third; second: two thirds.
  ScaledJob three = job(3);
  three.reducer.num_leaves = 5;
  const Prediction p = predict_step(profile(), fabric(), three);
  EXPECT_NEAR(p.compute_s, 0.080, 1e-12);
  EXPECT_NEAR(p.wire_s, 0.040 * (4.0 / 3 + 2.0 / 3), 1e-4);
}

TEST(Scaling, LatencyIsPaidInEachOfTwoRounds) {
  Fabric slow = fabric();
  slow.latency_s = 0.001;
  slow.message_s = 0.0001;
  const double without = predict_step(profile(), fabric(), job(4)).exposed_s;
  // Four buckets of two rounds, each with two messages behind the first; and the step's message to
  // four ranks by two doublings.
  EXPECT_NEAR(predict_step(profile(), slow, job(4)).exposed_s - without, 8 * 0.0012 + 0.002, 1e-9);
}

TEST(Scaling, RanksOfAHostShareItsLink) {
  // Four ranks on two hosts: each host sends each bucket once, as two ranks alone do, and reads its
  // 2 x 1 MB and writes 1 MB at 1 GB/s before: 13 ms a bucket. 20-33, 33-46, 46-59, 59-72.
  ScaledJob four = job(4);
  four.ranks_per_host = 2;
  const Prediction p = predict_step(profile(), fabric(), four);
  EXPECT_NEAR(p.wire_s, 0.040, 1e-4);
  EXPECT_NEAR(p.exposed_s, 0.032, 1e-4);
}

TEST(Scaling, OneHostUsesMemoryAloneBehindBackward) {
  // Four times 2 x 1 MB read and 1 MB written.
  ScaledJob two = job(2);
  two.ranks_per_host = 2;
  const Prediction p = predict_step(profile(), fabric(), two);
  EXPECT_DOUBLE_EQ(p.wire_s, 0);
  EXPECT_NEAR(p.exposed_s, 0.012, 1e-9);
}

TEST(Scaling, LeavesOfAThreadFollowEachOther) {
  // Three leaves on two threads: two rounds; gradients are final in the second.
  ScaledJob two = job(2);
  two.reducer.num_leaves = 6;
  two.reducer.num_workers = 2;
  const Prediction p = predict_step(profile(), fabric(), two);
  EXPECT_NEAR(p.compute_s, 0.080, 1e-12);
}

TEST(Scaling, SmallBucketsGoWholeInOneRound) {
  ScaledJob two = job(2);
  two.reducer.buckets = {{0, 1000}};
  StepProfile tiny = profile();
  Fabric slow = fabric();
  slow.latency_s = 0.001;
  const Prediction p = predict_step(tiny, slow, two);
  EXPECT_NEAR(p.wire_s, 4000 / 100e6, 1e-9);
  // Ready at 20 ms, long gone at 40; what is left is the step's message.
  EXPECT_NEAR(p.exposed_s, 0.001, 1e-9);
}

TEST(Scaling, FastIsTheLibrarysRingOrDoubling) {
  ScaledJob four = job(4);
  four.reducer.reduction = Reduction::fast;
  EXPECT_NEAR(predict_step(profile(), fabric(), four).wire_s, 0.060, 1e-9);
  Fabric far = fabric();
  far.latency_s = 0.1;
  EXPECT_NEAR(predict_step(profile(), far, four).wire_s, 0.080, 1e-9);
}

TEST(Scaling, SupposedLinkIsThatOfALargeBucket) {
  Fabric slow = fabric();
  slow.latency_s = 0.001;
  const Link link = supposed_link(slow, job(2));
  EXPECT_NEAR(link.seconds_per_byte, 1 / 100e6, 1e-10);
  EXPECT_NEAR(link.latency_s, 0.001, 1e-4);
}

TEST(Scaling, RanksWithoutLeavesAreABug) {
  ScaledJob four = job(4);
  four.reducer.num_leaves = 3;
  EXPECT_THROW((void)predict_step(profile(), fabric(), four), Error);
}

}  // namespace
}  // namespace dlt::ddp
