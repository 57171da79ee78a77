// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <latch>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "ddp/reducer.h"
#include "ddp/shard_plan.h"
#include "support/flat_layouts.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

bool at_a_block(const tensor::FlatLayout& layout, std::int64_t at) {
  if (at == layout.total) return true;
  for (const auto& entry : layout.entries) {
    const std::int64_t within = at - entry.offset;
    if (within == 0) return true;
    if (within > 0 && within < entry.numel && within % tensor::kBlockElements == 0) return true;
  }
  return false;
}

TEST(ShardPlan, SlicesMakeUpTheBucketsAndEndWithBlocks) {
  const unsigned seed = std::random_device{}();
  std::mt19937 random(seed);
  for (int round = 0; round < 100; ++round) {
    std::vector<std::int64_t> sizes(1 + random() % 20);
    for (auto& size : sizes) size = 1 + static_cast<std::int64_t>(random() % 200000);
    const tensor::FlatLayout layout = layout_of(sizes);
    const auto bucket_bytes = static_cast<std::int64_t>(1 + random() % 2000000);
    const int world_size = 1 + static_cast<int>(random() % 6);
    const ShardPlan plan(layout, plan_buckets(layout, bucket_bytes), world_size);
    std::vector<std::int64_t> elements(static_cast<std::size_t>(world_size), 0);
    std::int64_t largest = 0;
    for (std::size_t b = 0; b < plan.buckets().size(); ++b) {
      std::int64_t at = plan.buckets()[b].begin;
      for (int r = 0; r < world_size; ++r) {
        const Bucket slice = plan.slice(b, r);
        EXPECT_EQ(slice, plan.slice(plan.buckets()[b], r));
        ASSERT_EQ(slice.begin, at) << "seed " << seed;
        EXPECT_GE(slice.end, slice.begin) << "seed " << seed;
        EXPECT_TRUE(at_a_block(layout, slice.end)) << "seed " << seed;
        at = slice.end;
        elements[static_cast<std::size_t>(r)] += slice.end - slice.begin;
        largest = std::max(largest, plan.buckets()[b].end - plan.buckets()[b].begin);
      }
      EXPECT_EQ(at, plan.buckets()[b].end) << "seed " << seed;
    }
    for (int r = 0; r < world_size; ++r) {
      EXPECT_EQ(plan.elements(r), elements[static_cast<std::size_t>(r)]);
    }
  }
}

TEST(ShardPlan, RanksHaveEqualSharesToABlock) {
  for (const int world_size : {2, 3, 4, 7}) {
    const tensor::FlatLayout layout =
        layout_of(std::vector<std::int64_t>(40, tensor::kBlockElements * 3 + 100));
    const ShardPlan plan(layout, plan_buckets(layout, 1 << 20), world_size);
    for (int r = 0; r < world_size; ++r) {
      const std::int64_t fair = layout.total / world_size;
      EXPECT_NEAR(static_cast<double>(plan.elements(r)), static_cast<double>(fair),
                  2.0 * tensor::kBlockElements)
          << r << " of " << world_size;
    }
  }
}

TEST(ShardPlan, SmallParametersGoToOneRankEach) {
  const tensor::FlatLayout layout = layout_of({48, 48, 48});
  const ShardPlan plan(layout, {{0, layout.total}}, 2);
  EXPECT_EQ(plan.slice(0, 0).end % 48, 0);
  EXPECT_EQ(plan.elements(0) + plan.elements(1), layout.total);
}

struct ShardCase {
  ReducerCase reducer{
      .num_leaves = 7, .num_params = 6, .param_elements = 48, .bucket_elements = 96};
  [[nodiscard]] ReducerOptions options(int world_size) const {
    ReducerOptions options = reducer.options();
    const auto params = static_cast<std::size_t>(reducer.num_params);
    const tensor::FlatLayout layout =
        layout_of(std::vector<std::int64_t>(params, reducer.param_elements));
    options.shards = ShardPlan(layout, options.buckets, world_size);
    options.everywhere = {{48, 96}, {200, 210}};
    return options;
  }
};

TEST(Sharded, OwnSlicesAndWhatIsNeededEverywhereHaveThePlainBits) {
  for (const Reduction reduction : {Reduction::exact, Reduction::fast}) {
    ShardCase c;
    c.reducer.reduction = reduction;
    c.reducer.narrow = true;
    Sums expected;
    const auto self = comm::make_self();
    expected = run_steps(*self, c.reducer);
    for (const int ranks : {2, 3, 6}) {
      run_ranks(ranks, [&](comm::Communicator& comm) {
        const ReducerOptions options = c.options(ranks);
        Reducer reducer(comm, options);
        Sums sums;
        for (int step = 0; step < 2; ++step) sums = run_step(reducer, c.reducer, step);
        std::vector<Bucket> mine = options.everywhere;
        for (std::size_t b = 0; b < options.buckets.size(); ++b) {
          mine.push_back(options.shards->slice(b, comm.rank()));
        }
        for (const Bucket& range : mine) {
          for (std::int64_t i = range.begin; i < range.end; ++i) {
            const float want = expected.gradients[static_cast<std::size_t>(i)];
            const float got = sums.gradients[static_cast<std::size_t>(i)];
            if (reduction == Reduction::exact) {
              ASSERT_EQ(got, want) << i;
            } else {
              ASSERT_NEAR(got, want, 1e-5) << i;
            }
          }
        }
        EXPECT_EQ(sums.sums, expected.sums);
      });
    }
  }
}

TEST(Sharded, GatherMakesEverySliceKnownToAllLastBucketFirst) {
  for (const int ranks : {2, 4}) {
    run_ranks(ranks, [&](comm::Communicator& comm) {
      const ShardCase c;
      const ReducerOptions options = c.options(ranks);
      Reducer reducer(comm, options);
      const tensor::Storage flat = tensor::Storage::allocate(options.total * 4);
      auto* values = reinterpret_cast<float*>(flat.data());
      for (int round = 1; round < 4; ++round) {
        (void)run_step(reducer, c.reducer, round);
        for (std::size_t b = 0; b < options.buckets.size(); ++b) {
          const Bucket mine = options.shards->slice(b, comm.rank());
          for (std::int64_t i = mine.begin; i < mine.end; ++i) {
            values[i] = static_cast<float>(round * 1000 + i);
          }
        }
        reducer.begin_gather(flat);
        for (std::size_t left = options.buckets.size(); left-- > 0;) {
          const std::int64_t from = options.buckets[left].begin;
          (void)reducer.wait_gathered(from);
          for (std::int64_t i = from; i < options.total; ++i) {
            ASSERT_EQ(values[i], static_cast<float>(round * 1000 + i)) << "round " << round;
          }
        }
        EXPECT_EQ(reducer.wait_gathered(0), 0.0);
      }
    });
  }
}

TEST(Sharded, NumbersAreAddedUpOverRanks) {
  run_ranks(3, [](comm::Communicator& comm) {
    const ShardCase c;
    Reducer reducer(comm, c.options(3));
    for (int round = 0; round < 2; ++round) {
      std::vector<double> numbers(3, 0.0);
      numbers[static_cast<std::size_t>(comm.rank())] = 0.1 * (comm.rank() + 1);
      reducer.add_up(numbers);
      EXPECT_EQ(numbers, (std::vector<double>{0.1 * 1, 0.1 * 2, 0.1 * 3}));
    }
  });
}

TEST(Sharded, PeerThatStopsGatheringIsNamedByBucketAndStep) {
  std::latch ended(1);
  run_ranks(2, [&](comm::Communicator& comm) {
    const ShardCase c;
    ReducerOptions options = c.options(2);
    options.timeout_s = comm.rank() == 0 ? 0.05 : 1e9;
    Reducer reducer(comm, options);
    const tensor::Storage flat = tensor::Storage::allocate(options.total * 4);
    (void)run_step(reducer, c.reducer, 41);
    if (comm.rank() == 1) return ended.wait();
    reducer.begin_gather(flat);
    try {
      (void)reducer.wait_gathered(0);
      ADD_FAILURE() << "no timeout";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::peer_lost);
      EXPECT_STREQ(error.what(),
                   "rank 0: waited 0.05 s for the parameters of bucket 2 behind step 41");
    }
    EXPECT_THROW(reducer.begin_step(42), Error);
    ended.count_down();
  });
}

}  // namespace
}  // namespace dlt::ddp
