// SPDX-License-Identifier: Apache-2.0
#include "ddp/cost.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "ddp/local_sums.h"
#include "support/passing_communicator.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

struct Sent {
  std::int64_t num_bytes = 0, num_rounds = 0;
};

/// Counts what a communicator and its duplicates send by exchange().
class CountingCommunicator final : public test::PassingCommunicator {
 public:
  CountingCommunicator(comm::Communicator& inner, Sent& sent)
      : PassingCommunicator(inner), sent_(sent) {}
  CountingCommunicator(std::unique_ptr<comm::Communicator> inner, Sent& sent)
      : PassingCommunicator(std::move(inner)), sent_(sent) {}
  void exchange(std::span<const comm::Send> sends,
                std::span<const comm::Receive> receives) override {
    for (const comm::Send& send : sends) sent_.num_bytes += send.num_bytes;
    ++sent_.num_rounds;
    PassingCommunicator::exchange(sends, receives);
  }

 private:
  [[nodiscard]] std::unique_ptr<comm::Communicator> passing(
      std::unique_ptr<comm::Communicator> inner) override {
    return std::make_unique<CountingCommunicator>(std::move(inner), sent_);
  }
  Sent& sent_;
};

void check(const ReducerCase& c, const std::vector<int>& host_of) {
  const auto world_size = static_cast<int>(host_of.size());
  run_ranks(host_of, [&](comm::Communicator& comm) {
    const Cost cost = planned_cost(c.options(), comm.hosts(), comm.rank());
    Sent sent;
    CountingCommunicator counting(comm, sent);
    Reducer reducer(counting, c.options());
    run_step(reducer, c, 0);
    EXPECT_EQ(cost.buffer_bytes, reducer.buffer_bytes()) << world_size << " ranks, " << c.text();
    if (c.reduction == Reduction::exact) {
      EXPECT_EQ(cost.sent_bytes, sent.num_bytes) << world_size << " ranks, " << c.text();
      EXPECT_EQ(cost.num_rounds, sent.num_rounds) << world_size << " ranks, " << c.text();
    }
  });
}

TEST(Cost, IsWhatTheReducerHoldsAndSends) {
  for (Reduction reduction : {Reduction::exact, Reduction::fast}) {
    for (const std::vector<int>& host_of : std::vector<std::vector<int>>{
             {0}, {0, 0}, {0, 1}, {0, 0, 0}, {0, 0, 1, 1}, {0, 1, 2, 3}, {0, 1, 0, 1, 0}}) {
      for (int leaves : {1, 3, 8}) {
        for (std::int64_t param_elements : {160, 9600}) {
          check({.num_leaves = leaves,
                 .num_workers = 2,
                 .param_elements = param_elements,
                 .bucket_elements = 2 * param_elements,
                 .reduction = reduction},
                host_of);
        }
      }
    }
  }
}

ShardPlan shards_of(const ReducerCase& c, int ranks) {
  tensor::FlatLayout layout;
  for (int i = 0; i < c.num_params; ++i) {
    layout.append("p" + std::to_string(i), tensor::Shape{c.param_elements});
  }
  return {layout, c.options().buckets, ranks};
}

ReducerCase two_blocks_a_bucket() {
  const std::int64_t block = tensor::kBlockElements;
  return {.num_leaves = 2, .param_elements = 2 * block, .bucket_elements = 2 * block};
}

TEST(Cost, OfShardsIsWhatIsHeldAndSent) {
  const ReducerCase c{.num_leaves = 4, .param_elements = 9600, .bucket_elements = 2 * 9600};
  for (const int ranks : {2, 3, 4}) {
    run_ranks(ranks, [&](comm::Communicator& comm) {
      ReducerOptions options = c.options();
      options.shards = shards_of(c, ranks);
      const Cost cost = planned_cost(options, comm.hosts(), comm.rank());
      Sent sent;
      CountingCommunicator counting(comm, sent);
      Reducer reducer(counting, options);
      run_step(reducer, c, 0);
      reducer.begin_gather(tensor::Storage::allocate(options.total * 4));
      (void)reducer.wait_gathered(0);
      EXPECT_EQ(cost.buffer_bytes, reducer.buffer_bytes()) << ranks << " ranks";
      EXPECT_EQ(cost.sent_bytes, sent.num_bytes) << ranks << " ranks";
      EXPECT_EQ(cost.num_rounds, sent.num_rounds) << ranks << " ranks";
    });
  }
}

TEST(Cost, OfOneReplicaAHostIsNoGathering) {
  const ReducerCase c = two_blocks_a_bucket();
  ReducerOptions options = c.options();
  options.shards = shards_of(c, 2);
  EXPECT_GT(planned_cost(options, {{0, 1}}, 1).sent_bytes, 0);
  options.gathers = false;
  const Cost first = planned_cost(options, {{0, 1}}, 0), last = planned_cost(options, {{0, 1}}, 1);
  EXPECT_EQ(last.sent_bytes, 0);
  EXPECT_EQ(last.num_rounds, 0);
  // A buffer of each rank, and the result.
  EXPECT_EQ(last.shared_bytes, buffer_stride_bytes(options.total));
  EXPECT_EQ(first.shared_bytes - last.shared_bytes, options.flat_bytes());
  options.shared_memory = false;
  EXPECT_EQ(planned_cost(options, {{0, 1}}, 0).shared_bytes, 0);
}

TEST(Cost, OfReleasedBucketsIsTheSlicesAndTheRestOfThreeBuckets) {
  const ReducerCase c = two_blocks_a_bucket();
  ReducerOptions options = c.options();
  ASSERT_GT(options.buckets.size(), 3U);
  options.shards = shards_of(c, 2);
  options.shared_memory = false;
  const Cost whole = planned_cost(options, {{0, 1}}, 1);
  options.release = true;
  const Cost released = planned_cost(options, {{0, 1}}, 1);
  // Each half a bucket: what a rank keeps, and what goes once a bucket is reduced.
  const auto half_bytes = tensor::kBlockElements * static_cast<std::int64_t>(sizeof(float));
  const auto num_buckets = static_cast<std::int64_t>(options.buckets.size());
  EXPECT_EQ(whole.buffer_bytes - released.buffer_bytes,
            buffer_stride_bytes(options.total) - (num_buckets + 3) * half_bytes);
}

TEST(Cost, OfCompressionsIsExact) {
  for (std::size_t kind = 1; kind < compression_names().size(); ++kind) {
    for (int ranks : {2, 3, 5}) {
      for (int num_exact : {0, 1, 3, 5}) {
        check({.num_leaves = 7,
               .param_elements = 9600,
               .bucket_elements = 19200,
               .compression = {.kind = static_cast<Compression>(kind), .share = 0.05},
               .num_exact = num_exact},
              std::vector<int>(static_cast<std::size_t>(ranks), 0));
      }
    }
  }
}

}  // namespace
}  // namespace dlt::ddp
