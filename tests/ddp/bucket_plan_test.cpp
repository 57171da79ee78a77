// SPDX-License-Identifier: Apache-2.0
#include "ddp/bucket_plan.h"

#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::ddp {
namespace {

tensor::FlatLayout layout_of(const std::vector<std::int64_t>& sizes) {
  tensor::FlatLayout layout;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    layout.append("p" + std::to_string(i), tensor::Shape{sizes[i]});
  }
  return layout;
}

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

TEST(BucketPlan, NoParametersMakeNoBucket) {
  EXPECT_TRUE(plan_buckets(tensor::FlatLayout{}, 0).empty());
}

}  // namespace
}  // namespace dlt::ddp
