// SPDX-License-Identifier: Apache-2.0
// What comm.compression, train.shard, comm.sync_every and comm.shared_memory do to a predicted
// step, worked out by hand.
#include <gtest/gtest.h>

#include "ddp/scaled_job.h"
#include "ddp/scaling.h"

namespace dlt::ddp {
namespace {

// 4 MB in four buckets of 1 MB; 100 MB/s; a leaf of 40 ms whose gradients are final at 20, 25, 30
// and 40 ms.
constexpr double kStamp_bytes = 32;

ScaledJob compressed(int num_ranks, Compression kind) {
  ScaledJob out = job(num_ranks);
  out.reducer.compression = {.kind = kind, .rank = 4, .share = 0.01};
  return out;
}
/// What a round's latency of 1 ms adds to one bucket's way.
double latency_of_bucket_s(const ScaledJob& all) {
  ScaledJob one = all;
  one.reducer.buckets = {{0, kQuarter}};
  one.reducer.overlap = false;
  Fabric slow = fabric();
  slow.latency_s = 0.001;
  const double message_s = 0.001;
  return predict_step(profile(), slow, one).exposed_s -
         predict_step(profile(), fabric(), one).exposed_s - message_s;
}

TEST(ScalingSettings, Bf16SendsHalfInTwoRoundsAndComputesBeside) {
  // Two ranks: half a bucket of two bytes a number to the other, half back: 5 ms, and 2 of
  // encoding. 20-27, 27-34, 34-41, 41-48.
  StepProfile p = profile();
  p.coding.assign(4, {.two_ranks_s = 0.002});
  const ScaledJob two = compressed(2, Compression::bf16);
  const Prediction got = predict_step(p, fabric(), two);
  EXPECT_NEAR(got.wire_s, 0.020, 1e-9);
  EXPECT_NEAR(got.exposed_s, 0.008, 1e-9);
  EXPECT_NEAR(got.step_s, 0.057, 1e-9);
  EXPECT_NEAR(latency_of_bucket_s(two), 2 * 0.001, 1e-9);
}

TEST(ScalingSettings, WhatIsEncodedDelaysLeavesWithoutSpareCores) {
  // Encoding from 20, 27 and 34 keeps the leaf waiting for 2 ms each: it ends at 46, when the last
  // bucket begins: 20-27, 27-34, 34-41, 46-53.
  StepProfile p = profile();
  p.coding.assign(4, {.two_ranks_s = 0.002});
  ScaledJob two = compressed(2, Compression::bf16);
  two.spare_cores = false;
  const Prediction got = predict_step(p, fabric(), two);
  EXPECT_NEAR(got.compute_s, 0.040, 1e-12);
  EXPECT_NEAR(got.exposed_s, 0.013, 1e-9);
}

TEST(ScalingSettings, Int8HasAScaleForEachBlock) {
  // 977 blocks of 256, the last one short. Rank 0 sends slice 1 (125,072 numbers, 489 blocks), then
  // its own sum (124,928 numbers, 488 blocks).
  const ScaledJob two = compressed(2, Compression::int8);
  const double num_bytes = (125072 + 489 * 4) + (124928 + 488 * 4);
  EXPECT_NEAR(predict_step(profile(), fabric(), two).wire_s, 4 * num_bytes / 100e6, 1e-9);
  EXPECT_NEAR(latency_of_bucket_s(two), 2 * 0.001, 1e-9);
}

TEST(ScalingSettings, ExactRangesGoAsTheyAreInARoundOfTheirOwn) {
  // 1,600 numbers of each bucket as they are, 6,400 bytes at once; the compression sees zeros there
  // and sends them.
  ScaledJob two = compressed(2, Compression::bf16);
  for (std::int64_t b = 0; b < 4; ++b) {
    two.reducer.ranges.push_back(
        {.begin = b * kQuarter, .end = b * kQuarter + 1600, .exact = true});
    two.reducer.ranges.push_back({.begin = b * kQuarter + 1600, .end = (b + 1) * kQuarter});
  }
  const double num_bytes = 500000 + 6400 + kStamp_bytes;
  EXPECT_NEAR(predict_step(profile(), fabric(), two).wire_s, 4 * num_bytes / 100e6, 1e-9);
  EXPECT_NEAR(latency_of_bucket_s(two), 3 * 0.001, 1e-9);
}

TEST(ScalingSettings, WhatIsAllExactIsNotCompressed) {
  ScaledJob two = compressed(2, Compression::bf16);
  two.reducer.ranges = {{.begin = 0, .end = kQuarter, .exact = true},
                        {.begin = kQuarter, .end = 4 * kQuarter}};
  EXPECT_NEAR(predict_step(profile(), fabric(), two).wire_s, 0.010 + 3 * 0.005, 1e-6);
}

TEST(ScalingSettings, PowersgdSendsTwoThinFactors) {
  // 500 x 500 by 4 columns: 8,000 bytes of P, then of Q, each whole in one round.
  ScaledJob two = compressed(2, Compression::powersgd);
  for (std::int64_t b = 0; b < 4; ++b) {
    two.reducer.ranges.push_back(
        {.begin = b * kQuarter, .end = (b + 1) * kQuarter, .rows = 500, .cols = 500});
  }
  const double num_bytes = 2 * (8000 + kStamp_bytes);
  EXPECT_NEAR(predict_step(profile(), fabric(), two).wire_s, 4 * num_bytes / 100e6, 1e-9);
  EXPECT_NEAR(latency_of_bucket_s(two), 2 * 0.001, 1e-9);
}

TEST(ScalingSettings, TopkGrowsWithTheRanks) {
  // 2,500 entries of 8 bytes to each of three others: 0.6 ms; 1 ms for two ranks' entries and 0.5
  // for each further's. 20-22.6, 25-, 30-, 40-42.6.
  StepProfile p = profile();
  p.coding.assign(4, {.two_ranks_s = 0.001, .further_rank_s = 0.0005});
  const ScaledJob four = compressed(4, Compression::topk);
  const Prediction got = predict_step(p, fabric(), four);
  EXPECT_NEAR(got.wire_s, 4 * 0.0006, 1e-9);
  EXPECT_NEAR(got.exposed_s, 0.0026, 1e-9);
  EXPECT_NEAR(latency_of_bucket_s(four), 0.001 + 0.001, 1e-9);  // the message doubles twice
}

TEST(ScalingSettings, CompressedRanksOfAHostShareItsLinkAndNoMemory) {
  // Each of four ranks sends a bucket's 0.5 MB and its quarter twice more, two thirds of it to the
  // other host: 2 x 0.5 MB, 10 ms. The rest is copied at 1 GB/s: 2 x 0.25 MB read and written, 1
  // ms. 20-31, 31-42, 42-53, 53-64.
  ScaledJob four = compressed(4, Compression::bf16);
  four.ranks_per_host = 2;
  const Prediction got = predict_step(profile(), fabric(), four);
  EXPECT_NEAR(got.wire_s, 0.040, 1e-5);
  EXPECT_NEAR(got.exposed_s, 0.024, 1e-5);
}

TEST(ScalingSettings, WithoutSharedMemoryEveryRankSendsOverItsHostsLink) {
  // Each host sends both ranks' nodes of the other's half, then its half twice: 2 MB, 20 ms; its
  // ranks copy half a bucket of nodes and half a bucket of sums: 1 MB read and written, 2 ms.
  ScaledJob four = job(4);
  four.ranks_per_host = 2;
  four.reducer.shared_memory = false;
  const Prediction got = predict_step(profile(), fabric(), four);
  EXPECT_NEAR(got.wire_s, 0.080, 1e-4);
  EXPECT_NEAR(got.exposed_s, 0.020 + 4 * 0.022 - 0.040, 1e-4);
}

TEST(ScalingSettings, WithoutSharedMemoryAHostsRanksOverlap) {
  // Two ranks copy a bucket of nodes and a bucket of sums, 4 MB at 1 GB/s. 20-24, 25-29, 30-34,
  // 40-44.
  ScaledJob two = job(2);
  two.ranks_per_host = 2;
  two.reducer.shared_memory = false;
  const Prediction got = predict_step(profile(), fabric(), two);
  EXPECT_DOUBLE_EQ(got.wire_s, 0);
  EXPECT_NEAR(got.exposed_s, 0.004, 1e-5);
}

// With shards, buckets of eight blocks of one parameter each that take 10 ms.
constexpr std::int64_t kEight = 8 * tensor::kBlockElements;

ScaledJob sharded() {
  ScaledJob out = job(2, kEight);
  tensor::FlatLayout layout;
  for (const char* name : {"a", "b", "c", "d"}) layout.append(name, tensor::Shape{kEight});
  out.reducer.shards = ShardPlan(layout, out.reducer.buckets, 2);
  return out;
}
Fabric sharded_fabric(double bucket_s) {
  Fabric out = fabric();
  out.bytes_per_s = static_cast<double>(kEight) * 4 / bucket_s;
  return out;
}

TEST(ScalingSettings, ShardsAreUpdatedByTheirRanksAndGatheredBesideForward) {
  // Parameters arrive at 5, 10, 15 and 20 ms, last bucket first, and are read at 0, 2, 10 and 12:
  // the leaf is 8 ms late. Halves of gradients move at 28-33, 33-38, 38-43 and, behind the leaf,
  // 48-53; then a rank updates one half in 4 ms.
  StepProfile p = profile(kEight);
  p.needed = {{3 * kEight, 0}, {2 * kEight, 0.002}, {kEight, 0.010}, {0, 0.012}};
  const Prediction got = predict_step(p, sharded_fabric(0.010), sharded());
  EXPECT_NEAR(got.wire_s, 4 * 0.005 + 4 * 0.005, 1e-6);
  EXPECT_NEAR(got.exposed_s, 0.008 + 0.005, 1e-5);
  EXPECT_NEAR(got.step_s, 0.040 + 0.013 + 0.004 + 0.001, 1e-5);
}

TEST(ScalingSettings, ShardsAreUpdatedAsBucketsLand) {
  // Three updates of 1 ms from 48 to 51, waits to 53, one more.
  StepProfile p = profile(kEight);
  p.needed = {{3 * kEight, 0}, {2 * kEight, 0.002}, {kEight, 0.010}, {0, 0.012}};
  ScaledJob two = sharded();
  two.updates_early = true;
  const Prediction got = predict_step(p, sharded_fabric(0.010), two);
  EXPECT_NEAR(got.exposed_s, 0.008 + 0.002, 1e-5);
  EXPECT_NEAR(got.step_s, 0.040 + 0.010 + 0.004 + 0.001, 1e-5);
}

TEST(ScalingSettings, WorkersThatGiveMemoryBackWaitForTheLink) {
  // Gradients are final at 20, 25, 30 and 140 ms; a bucket's half takes 20 ms. Parameters make the
  // leaf 80 ms late; buckets move at 100-120, 120-140, 140-160 and from 220 to 240. Where memory is
  // given back, the third may be final once the first is reduced, 10 ms later.
  StepProfile p = profile(kEight);
  p.leaf_s = p.ready.back().time_s = 0.140;
  ScaledJob two = sharded();
  EXPECT_NEAR(predict_step(p, sharded_fabric(0.040), two).exposed_s, 0.080 + 0.020, 1e-5);
  two.reducer.release = true;
  EXPECT_NEAR(predict_step(p, sharded_fabric(0.040), two).exposed_s, 0.090 + 0.020, 1e-5);
}

TEST(ScalingSettings, WhatAllNeedIsGatheredBeforeTheMessage) {
  Fabric slow = sharded_fabric(0.010);
  slow.latency_s = 0.001;
  ScaledJob two = sharded();
  const double without = predict_step(profile(kEight), slow, two).exposed_s;
  two.reducer.everywhere = {{0, 16}, {64, 80}, {3 * kEight, 3 * kEight + 16}};  // of two buckets
  EXPECT_NEAR(predict_step(profile(kEight), slow, two).exposed_s - without, 0.002, 1e-9);
}

TEST(ScalingSettings, RanksOfAHostUpdateTheirSlicesOfOneReplica) {
  ScaledJob four = sharded();
  four.num_ranks = four.reducer.num_leaves = 4;
  four.ranks_per_host = 2;
  four.reducer.host_slices.swap(four.reducer.shards);
  const double half_s = predict_step(profile(kEight), sharded_fabric(0.010), four).step_s;
  four.reducer.host_slices.reset();
  EXPECT_NEAR(predict_step(profile(kEight), sharded_fabric(0.010), four).step_s - half_s, 0.004,
              1e-9);
}

TEST(ScalingSettings, ShardsOfOneReplicaAreNotGathered) {
  ScaledJob two = sharded();
  two.ranks_per_host = 2;
  const Prediction gathered = predict_step(profile(kEight), sharded_fabric(0.010), two);
  two.reducer.gathers = false;
  const Prediction got = predict_step(profile(kEight), sharded_fabric(0.010), two);
  EXPECT_LT(got.step_s, gathered.step_s);
  EXPECT_DOUBLE_EQ(got.wire_s, 0);
}

TEST(ScalingSettings, AMeanOfReplicasFallsToSeveralSteps) {
  // 4 MB in four rounds and 8 MB of memory: 40 + 4 + 8 ms, a quarter of it a step; and the step's
  // message of 1 ms.
  ScaledJob two = job(2);
  two.reducer.reduction = Reduction::none;
  two.mean = {
      .every = 4, .cost = {.sent_bytes = 4000000, .num_rounds = 4}, .memory_bytes = 8000000};
  Fabric slow = fabric();
  slow.latency_s = 0.001;
  const Prediction got = predict_step(profile(), slow, two);
  EXPECT_NEAR(got.wire_s, 0.010, 1e-9);
  EXPECT_NEAR(got.exposed_s, 0.013 + 0.001, 1e-9);
  EXPECT_NEAR(got.step_s, 0.040 + 0.014 + 0.008 + 0.001, 1e-9);
}

TEST(ScalingSettings, SupposedCodingIsWhatMemoryMoves) {
  // 1 GB/s. bf16: read and sent, received twice and written: 14 bytes a number that is not exact.
  ReducerOptions options = compressed(2, Compression::bf16).reducer;
  options.ranges = {{.begin = 0, .end = 50000, .exact = true},
                    {.begin = 50000, .end = 4 * kQuarter}};
  std::vector<CodingTime> times = suppose_coding(options, 1e9);
  ASSERT_EQ(times.size(), 4U);
  EXPECT_NEAR(times[0].of(2), 200000 * 14e-9, 1e-9);
  EXPECT_NEAR(times[1].of(64), 250000 * 14e-9, 1e-9);
  // topk: 28 bytes a number, and 24 for each of 2,500 entries of every rank.
  options.compression.kind = Compression::topk;
  times = suppose_coding(options, 1e9);
  EXPECT_NEAR(times[1].of(4), 250000 * 28e-9 + 4 * 2500 * 24e-9, 1e-9);
  options.compression = {};
  EXPECT_TRUE(suppose_coding(options, 1e9).empty());
}

TEST(ScalingSettings, CodingIsMeasuredForEachBucket) {
  const SystemClock clock;
  for (std::size_t kind = 1; kind < compression_names().size(); ++kind) {
    ReducerOptions options = compressed(2, static_cast<Compression>(kind)).reducer;
    for (std::int64_t b = 0; b < 4; ++b) {
      options.ranges.push_back(
          {.begin = b * kQuarter, .end = (b + 1) * kQuarter, .rows = 500, .cols = 500});
    }
    const std::vector<CodingTime> times = measure_coding(options, clock);
    ASSERT_EQ(times.size(), 4U) << compression_names()[kind];
    for (const CodingTime& time : times) {
      EXPECT_GT(time.two_ranks_s, 0) << compression_names()[kind];
      EXPECT_GE(time.further_rank_s, 0) << compression_names()[kind];
    }
  }
  EXPECT_TRUE(measure_coding(job(2).reducer, clock).empty());
}

}  // namespace
}  // namespace dlt::ddp
