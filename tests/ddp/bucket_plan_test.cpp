// SPDX-License-Identifier: Apache-2.0
#include "ddp/bucket_plan.h"

#include <mutex>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "support/flat_layouts.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

TEST(BucketPlan, CoversTheBufferWithCutsBetweenParameters) {
  constexpr unsigned kSeed = 20;
  std::mt19937 random(kSeed);
  for (int round = 0; round < 300; ++round) {
    std::vector<std::int64_t> sizes(1 + random() % 30);
    for (auto& size : sizes) size = 1 + static_cast<std::int64_t>(random() % 3000);
    const tensor::FlatLayout layout = layout_of(sizes);
    const auto bucket_bytes = static_cast<std::int64_t>(random() % 20000);
    std::int64_t at = 0;
    for (const Bucket& bucket : plan_buckets(layout, bucket_bytes)) {
      EXPECT_EQ(bucket.begin, at) << "seed " << kSeed;
      EXPECT_GT(bucket.end, bucket.begin);
      bool at_parameter = bucket.begin == 0;
      for (const auto& entry : layout.entries) at_parameter |= entry.offset == bucket.begin;
      EXPECT_TRUE(at_parameter) << "seed " << kSeed;
      at = bucket.end;
    }
    EXPECT_EQ(at, layout.total) << "seed " << kSeed;
  }
}

TEST(BucketPlan, BucketsAreOfAboutTheSizeAskedFor) {
  const tensor::FlatLayout layout = layout_of(std::vector<std::int64_t>(100, 160));
  for (const Bucket& bucket : plan_buckets(layout, 16 * 160 * 4)) {
    EXPECT_GE(bucket.end - bucket.begin, 4 * 160);
    EXPECT_LE(bucket.end - bucket.begin, 20 * 160);
  }
}

TEST(BucketPlan, LargeParameterIsABucketOfItsOwn) {
  const auto buckets = plan_buckets(layout_of({1600, 160000, 1600}), 4 * 1600);
  ASSERT_EQ(buckets.size(), 3u);
  EXPECT_EQ(buckets[1], (Bucket{1600, 161600}));
}

TEST(BucketPlan, SmallParameterJoinsItsLargeNeighbour) {
  const auto buckets = plan_buckets(layout_of({16, 160000, 16}), 4 * 1600);
  ASSERT_EQ(buckets.size(), 1u);
  EXPECT_EQ(buckets[0], (Bucket{0, 160032}));
}

TEST(BucketPlan, AutomaticBucketsAreAtLeastAMebibyte) {
  const auto small = plan_buckets(layout_of({64, 64, 64}), 0);
  EXPECT_EQ(small.size(), 1u);
  const auto mlp = plan_buckets(layout_of({5120, 16, 262144, 512, 401408, 512}), 0);
  EXPECT_EQ(mlp.size(), 2u);
}

/// Ready one behind the other, `step_s` apart, in the layout's order.
std::vector<ReadyPoint> ready_in_turn(const tensor::FlatLayout& layout, double step_s) {
  std::vector<ReadyPoint> ready;
  for (std::size_t i = 0; i < layout.entries.size(); ++i) {
    const bool last = i + 1 == layout.entries.size();
    ready.push_back({.prefix = last ? layout.total : layout.entries[i + 1].offset,
                     .time_s = static_cast<double>(i + 1) * step_s});
  }
  return ready;
}

TEST(PlannedBuckets, FinishTimeIsThatOfMessagesInTurn) {
  const tensor::FlatLayout layout = layout_of({1600, 1600, 1600});
  const std::vector<ReadyPoint> ready = ready_in_turn(layout, 1.0);
  const Link link{.latency_s = 0.5, .seconds_per_byte = 1.0 / 6400};
  // One bucket: 3 + 0.5 + 3. Three: the first at 1, then each as soon as the link is free.
  EXPECT_DOUBLE_EQ(finish_time_s({{0, 4800}}, ready, link), 6.5);
  EXPECT_DOUBLE_EQ(finish_time_s({{0, 1600}, {1600, 3200}, {3200, 4800}}, ready, link), 5.5);
}

TEST(PlannedBuckets, NoFixedSizeFinishesNoticeablyEarlier) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::int64_t> sizes(1 + random() % 40);
    for (auto& size : sizes) size = 1 + static_cast<std::int64_t>(random() % 300000);
    const tensor::FlatLayout layout = layout_of(sizes);
    const auto ready = ready_in_turn(layout, 1e-5 * static_cast<double>(1 + random() % 100));
    const Link link{.latency_s = 1e-6 * static_cast<double>(1 + random() % 1000),
                    .seconds_per_byte = 1e-11 * static_cast<double>(1 + random() % 1000)};
    const double planned_s = finish_time_s(plan_buckets(layout, ready, link), ready, link);
    const double all_s = static_cast<double>(layout.total * 4) * link.seconds_per_byte;
    for (std::int64_t bytes = 32 << 10; bytes <= 64 << 20; bytes *= 2) {
      EXPECT_LE(planned_s,
                1.0001 * finish_time_s(plan_buckets(layout, bytes), ready, link) + all_s / 16)
          << "seed " << seed;
    }
  }
}

TEST(PlannedBuckets, DearMessagesMakeFewBucketsAndCheapOnesMany) {
  const tensor::FlatLayout layout = layout_of(std::vector<std::int64_t>(64, 65536));
  const std::vector<ReadyPoint> ready = ready_in_turn(layout, 1e-4);
  const auto count = [&](double latency_s) {
    return plan_buckets(layout, ready, {.latency_s = latency_s, .seconds_per_byte = 1e-9}).size();
  };
  EXPECT_EQ(count(1.0), 1U);
  EXPECT_GT(count(1e-5), count(1e-3));
  EXPECT_GE(count(1e-5), 8U);
}

TEST(PlannedBuckets, ALongBackwardPassIsNoReasonForOneLargeBucket) {
  const tensor::FlatLayout layout = layout_of(std::vector<std::int64_t>(64, 65536));
  const auto buckets = plan_buckets(layout, ready_in_turn(layout, 1.0),
                                    {.latency_s = 1e-6, .seconds_per_byte = 1e-9});
  EXPECT_GE(buckets.size(), 16U);
}

TEST(PlannedBuckets, NoneIsMuchLargerThanTheMostAskedFor) {
  const tensor::FlatLayout layout = layout_of(std::vector<std::int64_t>(64, 65536));
  const std::vector<ReadyPoint> ready = ready_in_turn(layout, 1e-4);
  for (const Bucket& bucket : plan_buckets(layout, ready, {.latency_s = 1.0}, 1 << 20)) {
    EXPECT_LE((bucket.end - bucket.begin) * 4, 3 << 19);
  }
}

TEST(PlannedBuckets, ProbeIsTheSameOnAllRanksAndPositive) {
  std::mutex mutex;
  std::vector<Link> links;
  run_ranks(3, [&](comm::Communicator& comm) {
    const SystemClock clock;
    const Link link = probe_link(comm, clock);
    const std::lock_guard lock(mutex);
    links.push_back(link);
  });
  for (const Link& link : links) {
    EXPECT_EQ(link.latency_s, links[0].latency_s);
    EXPECT_EQ(link.seconds_per_byte, links[0].seconds_per_byte);
    EXPECT_GT(link.latency_s, 0);
    EXPECT_GT(link.seconds_per_byte, 0);
  }
}

TEST(BucketPlan, NoParametersMakeNoBucket) {
  EXPECT_TRUE(plan_buckets(tensor::FlatLayout{}, 0).empty());
}

}  // namespace
}  // namespace dlt::ddp
