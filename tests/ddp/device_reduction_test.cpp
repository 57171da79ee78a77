// SPDX-License-Identifier: Apache-2.0
// On emulated GPUs, with an emulated NCCL: ranks are threads, each with a GPU of its own.
#include "ddp/device_reduction.h"

#include <algorithm>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "backend/cuda/cuda_backend.h"
#include "base/error.h"
#include "base/text.h"
#include "comm/nccl_communicator.h"
#include "cuda_emulator/emulator.h"
#include "ddp/reduction_plan.h"
#include "support/flat_layouts.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

extern "C" void dltrain_nccl_plugin(dlt::comm::NcclPlugin* out);

namespace dlt::ddp {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using Values = std::vector<float>;

constexpr std::int64_t kElement_bytes = 4;

comm::NcclFound emulated_nccl() {
  comm::NcclPlugin plugin;
  dltrain_nccl_plugin(&plugin);
  return {.library = plugin.make(), .why_not = ""};
}

struct Gpu {
  comm::Communicator& host;
  tensor::Backend& device;
  comm::DeviceCommunicator* comm;
  std::string why_not;
};

/// Runs body on each rank, on GPU rank % num_gpus.
void on_gpus(int world_size, int num_gpus, const std::function<void(Gpu&)>& body) {
  emulator::set_devices(std::vector<emulator::Device>(static_cast<std::size_t>(num_gpus)));
  run_ranks(world_size, [&](comm::Communicator& host) {
    const auto device = cuda::make_cuda_backend(host.rank() % num_gpus);
    device->enter_thread();
    comm::NcclStart start = comm::start_nccl(
        host, emulated_nccl(), {.gpu = cat("GPU-", host.rank() % num_gpus), .init_timeout_s = 20});
    Gpu gpu{host, *device, start.comm.get(), start.why_not};
    body(gpu);
  });
}
void on_gpus(int world_size, const std::function<void(Gpu&)>& body) {
  on_gpus(world_size, world_size, [&](Gpu& gpu) {
    ASSERT_NE(gpu.comm, nullptr) << gpu.why_not;
    body(gpu);
  });
}

/// Buckets of one round, of two, and of either, by the number of nodes.
ReducerCase gradients_of(int num_leaves) {
  return {.num_leaves = num_leaves, .num_params = 5, .param_elements = 4112};
}
const std::vector<Bucket> kBuckets{{0, 48}, {48, 48 + 16448}, {48 + 16448, 5 * 4112}};
constexpr std::int64_t kTotal = 5 * 4112;

Values plus(const Values& left, const Values& right) {
  Values sum(left.size());
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = left[i] + right[i];
  return sum;
}

Values node_value(const ReducerCase& c, std::int64_t step, const TreeNode& node) {
  if (node.level == 0) return c.gradients(step, node.index);
  const TreeNode left{node.level - 1, 2 * node.index}, right{node.level - 1, 2 * node.index + 1};
  const Values sum = node_value(c, step, left);
  if ((right.index << right.level) >= c.num_leaves) return sum;
  return plus(sum, node_value(c, step, right));
}

struct Plan {
  ReducerCase gradients;
  LeafDivision division;
  Reduction kind = Reduction::exact;
  bool bf16 = false;
  std::vector<Bucket> unrounded = {};
  bool own_result = false;  // not where the first node is
  bool captured = false;
  std::optional<ShardPlan> shards = {};
  int num_steps = 2;
  [[nodiscard]] std::string text() const {
    std::string cuts;
    for (const int cut : division.cuts()) cuts += cat(" ", cut);
    return cat("seed of the order ", emulator::seed(), ", leaves cut at", cuts, ", kind ",
               static_cast<int>(kind), ", bf16 ", bf16);
  }
};

/// A rank's buffers, its reduction, and steps of it.
class Rank {
 public:
  Rank(Gpu& gpu, const Plan& plan)
      : gpu_(gpu),
        plan_(plan),
        compute_(gpu.device.make_queue()),
        cover_(cover(plan.division.of(gpu.host.rank()), plan.division.num_leaves())) {
    const std::int64_t bytes = kTotal * kElement_bytes;
    std::vector<float*> nodes;
    for (std::size_t i = 0; i < cover_.size(); ++i) {
      node_memory_.push_back(gpu.device.allocate(bytes));
      staging_.push_back(gpu.device.allocate_staging(bytes));
      nodes.push_back(reinterpret_cast<float*>(node_memory_.back().data()));
    }
    if (plan.own_result || nodes.empty()) result_ = gpu.device.allocate(bytes);
    out_ = gpu.device.allocate_staging(bytes);
    reduced_ = result_.data() != nullptr ? reinterpret_cast<float*>(result_.data()) : nodes[0];
    reduction_ =
        std::make_unique<DeviceReduction>(DeviceReductionOptions{.rank = gpu.host.rank(),
                                                                 .division = plan.division,
                                                                 .buckets = kBuckets,
                                                                 .nodes = nodes,
                                                                 .reduced = reduced_,
                                                                 .shards = plan.shards,
                                                                 .kind = plan.kind,
                                                                 .bf16 = plan.bf16,
                                                                 .unrounded = plan.unrounded,
                                                                 .device = &gpu.device,
                                                                 .comm = gpu.comm});
  }

  Values step(std::int64_t step) {
    for (std::size_t i = 0; i < cover_.size(); ++i) {
      const Values value = node_value(plan_.gradients, step, cover_[i]);
      std::memcpy(staging_[i].data(), value.data(), value.size() * sizeof(float));
    }
    reduction_->begin_step(step);
    if (!plan_.captured) {
      give();
    } else {
      if (recording_ == nullptr) {
        compute_->begin_capture();
        give();
        recording_ = compute_->end_capture();
      }
      compute_->replay(*recording_);
    }
    reduction_->wait(*compute_, 20);
    Values values(static_cast<std::size_t>(kTotal));
    std::memcpy(values.data(), out_.data(), values.size() * sizeof(float));
    return values;
  }
  [[nodiscard]] DeviceReduction& reduction() { return *reduction_; }
  [[nodiscard]] float* reduced() { return reduced_; }
  [[nodiscard]] tensor::Queue& compute() { return *compute_; }

 private:
  /// The work of a step: each bucket is reduced once its nodes are there.
  void give() {
    for (std::size_t b = 0; b < kBuckets.size(); ++b) {
      const std::int64_t at = kBuckets[b].begin * kElement_bytes;
      const std::int64_t bytes = kBuckets[b].end * kElement_bytes - at;
      for (std::size_t i = 0; i < cover_.size(); ++i) {
        compute_->copy(node_memory_[i].data() + at, staging_[i].data() + at, bytes);
      }
      reduction_->enqueue(b, *compute_);
    }
    for (std::size_t b = 0; b < kBuckets.size(); ++b) {
      reduction_->join(b, *compute_);
      const std::int64_t at = kBuckets[b].begin * kElement_bytes;
      compute_->copy(out_.data() + at, reinterpret_cast<std::byte*>(reduced_) + at,
                     kBuckets[b].end * kElement_bytes - at);
    }
  }

  Gpu& gpu_;
  const Plan& plan_;
  std::unique_ptr<tensor::Queue> compute_;
  std::vector<TreeNode> cover_;
  std::vector<tensor::Storage> node_memory_, staging_;
  tensor::Storage result_, out_;
  float* reduced_ = nullptr;
  std::unique_ptr<DeviceReduction> reduction_;
  std::unique_ptr<tensor::Recording> recording_;
};

bool same_bits(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Steps of a plan on all ranks come to what `want` says of each.
void expect_steps(const Plan& plan, const std::function<Values(std::int64_t step)>& want) {
  std::vector<Values> wanted;
  for (int step = 0; step < plan.num_steps; ++step) wanted.push_back(want(step));
  on_gpus(plan.division.world_size(), [&](Gpu& gpu) {
    Rank rank(gpu, plan);
    for (int step = 0; step < plan.num_steps; ++step) {
      EXPECT_TRUE(same_bits(rank.step(step), wanted[static_cast<std::size_t>(step)]))
          << "rank " << gpu.host.rank() << " step " << step << ", " << plan.text();
    }
  });
}

/// What the host's reduction of one rank comes to.
Values host_tree(const ReducerCase& c, std::int64_t step) {
  const auto self = comm::make_self();
  ReducerCase host = c;
  host.bucket_elements = c.param_elements;
  host.num_steps = static_cast<int>(step) + 1;
  Values last = run_steps(*self, host).gradients;
  return {last.end() - kTotal, last.end()};
}

Values rounded(Values values) {
  for (float& value : values) value = bf16_to_f32(f32_to_bf16(value));
  return values;
}

/// The sum of bf16 nodes, and what buckets of two rounds lose once more.
Values bf16_sum(const Plan& plan, std::int64_t step) {
  const LeafDivision& division = plan.division;
  const ReductionPlan reduction(division, comm::lone_hosts(division.world_size()));
  std::vector<Values> sent;
  for (int rank = 0; rank < division.world_size(); ++rank) {
    Values sum(static_cast<std::size_t>(kTotal));
    bool first = true;
    for (const TreeNode& node : cover(division.of(rank), division.num_leaves())) {
      const Values value = node_value(plan.gradients, step, node);
      if (plan.kind == Reduction::exact) sent.push_back(rounded(value));
      sum = first ? value : plus(sum, value);
      first = false;
    }
    if (plan.kind == Reduction::fast) sent.push_back(rounded(sum));
  }
  if (plan.kind == Reduction::exact) {
    for (const Addition& a : reduction.root_sum().additions) {
      Values& to = sent[static_cast<std::size_t>(a.dst)];
      to = plus(to, sent[static_cast<std::size_t>(a.src)]);
    }
  } else {
    for (std::size_t i = 1; i < sent.size(); ++i) sent[0] = plus(sent[0], sent[i]);
  }
  const Values twice = rounded(sent[0]);
  for (const Bucket& bucket : kBuckets) {
    if (!reduction.gathers(bucket)) continue;
    std::copy(twice.begin() + bucket.begin, twice.begin() + bucket.end,
              sent[0].begin() + bucket.begin);
  }
  return sent[0];
}

class DeviceReductionTest : public testing::Test {
 protected:
  void SetUp() override { emulator::reset(); }
  void TearDown() override { emulator::reset(); }
};

TEST_F(DeviceReductionTest, ExactHasTheBitsOfTheHostsTreeOnAnyNumberOfRanks) {
  for (const int num_leaves : {2, 3, 7}) {
    const ReducerCase gradients = gradients_of(num_leaves);
    std::vector<Values> want{host_tree(gradients, 0), host_tree(gradients, 1)};
    for (const int world_size : {1, 2, 3, 4}) {
      expect_steps({.gradients = gradients, .division = LeafDivision(num_leaves, world_size)},
                   [&](std::int64_t step) { return want[static_cast<std::size_t>(step)]; });
    }
  }
}

TEST_F(DeviceReductionTest, ExactHasThemForAnyDivisionOfTheLeaves) {
  const ReducerCase gradients = gradients_of(11);
  for (const std::vector<int>& cuts : {std::vector{0, 1, 10, 11}, std::vector{0, 0, 5, 11}}) {
    expect_steps({.gradients = gradients, .division = LeafDivision(cuts)},
                 [&](std::int64_t step) { return host_tree(gradients, step); });
  }
}

TEST_F(DeviceReductionTest, ResultMayLieApartFromTheNodes) {
  const ReducerCase gradients = gradients_of(4);
  for (const int world_size : {1, 2}) {
    expect_steps(
        {.gradients = gradients, .division = LeafDivision(4, world_size), .own_result = true},
        [&](std::int64_t step) { return host_tree(gradients, step); });
  }
}

TEST_F(DeviceReductionTest, CapturedStepSumsNewGradientsAtEachReplay) {
  const ReducerCase gradients = gradients_of(5);
  for (const int world_size : {1, 3}) {
    expect_steps({.gradients = gradients,
                  .division = LeafDivision(5, world_size),
                  .captured = true,
                  .num_steps = 3},
                 [&](std::int64_t step) { return host_tree(gradients, step); });
  }
}

TEST_F(DeviceReductionTest, FastSumsAllLeavesToTheSameBitsOnAllRanks) {
  for (const bool captured : {false, true}) {
    for (const int num_leaves : {2, 7}) {
      ReducerCase gradients = gradients_of(num_leaves);
      gradients.narrow = true;
      const Plan plan{.gradients = gradients,
                      .division = LeafDivision(num_leaves, 3),
                      .kind = Reduction::fast,
                      .captured = captured};
      const Values want = host_tree(gradients, 1);
      std::vector<Values> got(3);
      on_gpus(3, [&](Gpu& gpu) {
        Rank rank(gpu, plan);
        (void)rank.step(0);  // leaves its sum where the next one will be
        got[static_cast<std::size_t>(gpu.host.rank())] = rank.step(1);
      });
      EXPECT_TRUE(same_bits(got[0], got[1]) && same_bits(got[0], got[2])) << plan.text();
      for (std::size_t i = 0; i < want.size(); ++i) {
        ASSERT_NEAR(got[0][i], want[i], 2e-6) << i << ", " << plan.text();
      }
    }
  }
}

TEST_F(DeviceReductionTest, Bf16RoundsWhatIsSentAndSumsInF32) {
  for (const Reduction kind : {Reduction::exact, Reduction::fast}) {
    for (const int world_size : {2, 3, 4}) {
      const Plan plan{.gradients = gradients_of(7),
                      .division = LeafDivision(7, world_size),
                      .kind = kind,
                      .bf16 = true};
      expect_steps(plan, [&](std::int64_t step) { return bf16_sum(plan, step); });
    }
  }
}

/// Ranges within, at the end of, and across buckets.
const std::vector<Bucket> kUnrounded{{0, 16}, {4096, 4112}, {16448, 16512}, {20544, 20560}};

TEST_F(DeviceReductionTest, Bf16LeavesRangesAsTheyAre) {
  const ReducerCase gradients = gradients_of(6);
  const Values exact = host_tree(gradients, 0);
  const ShardPlan shards(layout_of({48, 16448, 4064}), kBuckets, 3);
  for (const bool sharded : {false, true}) {
    Plan plan{.gradients = gradients,
              .division = LeafDivision(6, 3),
              .bf16 = true,
              .unrounded = kUnrounded};
    if (sharded) plan.shards = shards;
    on_gpus(3, [&](Gpu& gpu) {
      Rank rank(gpu, plan);
      Values got = rank.step(0);
      if (sharded) {
        rank.reduction().gather(rank.reduced(), rank.compute());
        rank.compute().copy(got.data(), rank.reduced(), kTotal * kElement_bytes);
        rank.compute().wait();
      }
      std::int64_t num_rounded = 0;
      for (std::int64_t i = 0; i < kTotal; ++i) {
        const auto at = static_cast<std::size_t>(i);
        const bool kept =
            std::any_of(kUnrounded.begin(), kUnrounded.end(),
                        [&](const Bucket& range) { return i >= range.begin && i < range.end; });
        if (kept) {
          ASSERT_EQ(got[at], exact[at]) << i << ", " << plan.text();
        }
        if (!kept && got[at] != exact[at]) ++num_rounded;
      }
      EXPECT_GT(num_rounded, kTotal / 2) << plan.text();
    });
  }
}

TEST_F(DeviceReductionTest, Bf16LeavesOneRankAsItIs) {
  const ReducerCase gradients = gradients_of(3);
  expect_steps({.gradients = gradients, .division = LeafDivision(3, 1), .bf16 = true},
               [&](std::int64_t step) { return host_tree(gradients, step); });
}

TEST_F(DeviceReductionTest, ShardsHaveTheirSlicesAndGatherAll) {
  const ReducerCase gradients = gradients_of(5);
  const Values want = host_tree(gradients, 0);
  const ShardPlan shards(layout_of({48, 16448, 4064}), kBuckets, 3);
  const Plan plan{.gradients = gradients, .division = LeafDivision(5, 3), .shards = shards};
  on_gpus(3, [&](Gpu& gpu) {
    Rank rank(gpu, plan);
    Values got = rank.step(0);
    for (const Bucket& bucket : kBuckets) {
      const Bucket mine = shards.slice(bucket, gpu.host.rank());
      EXPECT_EQ(Values(got.begin() + mine.begin, got.begin() + mine.end),
                Values(want.begin() + mine.begin, want.begin() + mine.end))
          << plan.text();
    }
    rank.reduction().gather(rank.reduced(), rank.compute());
    rank.compute().copy(got.data(), rank.reduced(), kTotal * kElement_bytes);
    rank.compute().wait();
    EXPECT_TRUE(same_bits(got, want)) << plan.text();
  });
}

TEST_F(DeviceReductionTest, BufferBytesAreWhatItAllocates) {
  on_gpus(2, [&](Gpu& gpu) {
    std::vector<tensor::Storage> nodes;
    for (int i = 0; i < 2; ++i) nodes.push_back(gpu.device.allocate(kTotal * kElement_bytes));
    gpu.host.barrier();
    const std::int64_t before = emulator::counts().device_bytes;
    gpu.host.barrier();
    const DeviceReduction reduction({.rank = gpu.host.rank(),
                                     .division = LeafDivision(std::vector{0, 3, 6}),
                                     .buckets = kBuckets,
                                     .nodes = {reinterpret_cast<float*>(nodes[0].data()),
                                               reinterpret_cast<float*>(nodes[1].data())},
                                     .reduced = reinterpret_cast<float*>(nodes[0].data()),
                                     .bf16 = true,
                                     .device = &gpu.device,
                                     .comm = gpu.comm});
    std::int64_t bytes = reduction.buffer_bytes();
    gpu.host.allreduce({.data = &bytes, .count = 1, .dtype = DType::i64}, comm::ReduceOp::sum);
    const std::int64_t allocated = emulator::counts().device_bytes - before;
    EXPECT_GE(allocated, bytes);
    EXPECT_LT(allocated, bytes + 4096);  // each allocation is rounded up
    gpu.host.barrier();
  });
}

TEST_F(DeviceReductionTest, RankThatNeverComesIsNamedAndMemoryCanBeFreed) {
  const Plan plan{.gradients = gradients_of(4), .division = LeafDivision(4, 2)};
  on_gpus(2, [&](Gpu& gpu) {
    {
      Rank rank(gpu, plan);
      EXPECT_FALSE(rank.step(811).empty());
      if (gpu.host.rank() == 0) {
        rank.reduction().begin_step(812);
        for (std::size_t b = 0; b < kBuckets.size(); ++b) {
          rank.reduction().enqueue(b, rank.compute());
          rank.reduction().join(b, rank.compute());
        }
        std::string text;
        try {
          rank.reduction().wait(rank.compute(), 0.02);
        } catch (const Error& error) {
          EXPECT_EQ(error.exit(), Exit::peer_lost);
          text = error.what();
        }
        EXPECT_EQ(text, "rank 0: waited 0.02 s for bucket 0 of step 812: rank 1 is at step 811");
        rank.compute().wait();
      }
    }
    gpu.host.barrier();
  });
}

TEST_F(DeviceReductionTest, ErrorThatNcclNoticesIsALostPeer) {
  const Plan plan{.gradients = gradients_of(2), .division = LeafDivision(2, 2)};
  on_gpus(2, [&](Gpu& gpu) {
    Rank rank(gpu, plan);
    EXPECT_FALSE(rank.step(0).empty());
    gpu.host.barrier();
    if (gpu.host.rank() == 1) {
      emulator::set_nccl_async_error(1, 6);
      std::string text;
      try {
        (void)rank.step(1);
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::peer_lost);
        text = error.what();
      }
      EXPECT_THAT(text, StartsWith("rank 1: nccl"));
      EXPECT_THAT(text, HasSubstr("= 6 (remote process exited or there was a network error"));
    }
    gpu.host.barrier();
  });
}

TEST_F(DeviceReductionTest, TwoRanksOnOneGpuAreToldSo) {
  on_gpus(2, 1, [&](Gpu& gpu) {
    EXPECT_EQ(gpu.comm, nullptr);
    EXPECT_EQ(gpu.why_not,
              "rank 0: ncclCommInitRankConfig = 5 (invalid usage: Duplicate GPU detected); ranks 0 "
              "and 1 have one GPU, GPU-0");
  });
}

}  // namespace
}  // namespace dlt::ddp
