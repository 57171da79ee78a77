// SPDX-License-Identifier: Apache-2.0
// What it takes to add up a buffer over the ranks of one host, in five ways, taken in turn (the
// machine's speed changes from second to second, so only neighbours compare):
//   exact    the reducer's step: gradients over shared memory, then the step's small message
//   sum      what no way can beat by much: each rank adds its share straight from the pages of all,
//            in a plain loop, between two barriers
//   messages the reducer's step without shared memory
//   fast     the reducer's step with the library's allreduce
//   library  MPI_Allreduce alone
// Before each measurement every rank writes its buffer, as backward does.
//   mpirun -n 2 --bind-to core reduce_bench [--rounds N] [BYTES...]
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "comm/communicator.h"
#include "ddp/host_wait.h"
#include "ddp/reducer.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

int num_rounds = 15;

ReducerOptions options_of(std::int64_t total, int num_leaves) {
  ReducerOptions options{.total = total, .buckets = {}, .num_leaves = num_leaves};
  // As plan_buckets() cuts without being told.
  const std::int64_t bucket = std::clamp<std::int64_t>(total / 8, 1 << 18, 1 << 22) / 16 * 16;
  for (std::int64_t at = 0; at < total; at += bucket) {
    options.buckets.push_back({at, std::min(at + bucket, total)});
  }
  if (options.buckets.size() > 1 && total % bucket < bucket / 4 && total % bucket != 0) {
    options.buckets.pop_back();
    options.buckets.back().end = total;
  }
  return options;
}

/// Ranks of one host meet on a counter in memory.
class Meeting {
 public:
  explicit Meeting(comm::Communicator& comm)
      : comm_(comm), wait_(comm, {}), memory_(comm.share(64)) {
    if (!memory_) throw Error(Exit::unavailable, "reduce_bench: no shared memory on this host");
    count_ = reinterpret_cast<std::atomic<std::int64_t>*>(memory_->segment(0));
  }
  void meet() {
    target_ += comm_.local_size();
    count_->fetch_add(1);
    wait_.until([&] { return count_->load() >= target_; }, 0, [] { return "a meeting"; });
  }

 private:
  comm::Communicator& comm_;
  HostWait wait_;
  std::unique_ptr<comm::SharedMemory> memory_;
  std::atomic<std::int64_t>* count_ = nullptr;
  std::int64_t target_ = 0;
};

/// A way to add up: where this rank writes, what then is measured, where the sum is.
struct Way {
  std::string name;
  float* buffer = nullptr;
  std::function<void()> run;
  const float* sum = nullptr;
  std::vector<double> rounds_us;
};

class ReducerWay {
 public:
  ReducerWay(comm::Communicator& comm, ReducerOptions options)
      : total_(options.total), reducer_(comm, std::move(options)) {}
  [[nodiscard]] Way way(const std::string& name) {
    return {.name = name,
            .buffer = reducer_.leaf_gradients(0, 0),
            .run = [this] { step(); },
            .sum = reducer_.reduced(),
            .rounds_us = {}};
  }

 private:
  void step() {
    reducer_.begin_step(step_++);
    reducer_.gradients_final(0, 0, total_);
    reducer_.finish_step({});
  }
  std::int64_t total_;
  Reducer reducer_;
  std::int64_t step_ = 0;
};

/// The plain loop.
class DirectSum {
 public:
  DirectSum(comm::Communicator& comm, std::int64_t total)
      : meeting_(comm), rank_(comm.local_rank()), world_size_(comm.local_size()), total_(total) {
    const std::int64_t flat_bytes = total * static_cast<std::int64_t>(sizeof(float));
    memory_ = comm.share(2 * flat_bytes + kGap_bytes);
    for (int r = 0; r < world_size_; ++r) {
      parts_.push_back(reinterpret_cast<float*>(memory_->segment(r)));
    }
    sum_ = reinterpret_cast<float*>(memory_->segment(0) + flat_bytes + kGap_bytes);
  }
  [[nodiscard]] Way way() {
    return {.name = "sum",
            .buffer = parts_[static_cast<std::size_t>(rank_)],
            .run = [this] { add(); },
            .sum = sum_,
            .rounds_us = {}};
  }

 private:
  static constexpr std::int64_t kGap_bytes = 64;
  void add() {
    meeting_.meet();
    const std::int64_t begin = total_ * rank_ / world_size_;
    const std::int64_t count = total_ * (rank_ + 1) / world_size_ - begin;
    const float* __restrict a = parts_[0] + begin;
    float* __restrict out = sum_ + begin;
    if (world_size_ == 2) {
      const float* __restrict b = parts_[1] + begin;
      for (std::int64_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
    } else {
      for (std::int64_t i = 0; i < count; ++i) {
        float value = a[i];
        for (std::size_t r = 1; r < parts_.size(); ++r) value += parts_[r][begin + i];
        out[i] = value;
      }
    }
    meeting_.meet();
  }
  Meeting meeting_;
  int rank_;
  int world_size_;
  std::int64_t total_;
  std::unique_ptr<comm::SharedMemory> memory_;
  std::vector<float*> parts_;
  float* sum_ = nullptr;
};

/// Mean microseconds of a run whose buffers are all written; a short run is measured many at once.
double measure_round(Way& way, Meeting& meeting, std::int64_t total, int num_steps) {
  const SystemClock clock;
  const bool rewrite = total > 1 << 14;
  double sum_s = 0;
  for (int step = 0; step < (rewrite ? num_steps : 1); ++step) {
    std::fill_n(way.buffer, total, 1.0F);
    meeting.meet();
    const double start_s = clock.monotonic_s();
    for (int i = 0; i < (rewrite ? 1 : num_steps); ++i) way.run();
    sum_s += clock.monotonic_s() - start_s;
    meeting.meet();
  }
  return sum_s / num_steps * 1e6;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

double median_ratio(const Way& a, const Way& b) {
  std::vector<double> ratios;
  for (std::size_t i = 0; i < a.rounds_us.size(); ++i) {
    ratios.push_back(a.rounds_us[i] / b.rounds_us[i]);
  }
  return median(ratios);
}

void measure(comm::Communicator& comm, std::int64_t num_bytes) {
  const std::int64_t total = std::max<std::int64_t>(1, num_bytes / 4);
  Meeting meeting(comm);
  ReducerOptions options = options_of(total, comm.world_size());
  ReducerWay exact(comm, options);
  DirectSum direct(comm, total);
  options.shared_memory = false;
  ReducerWay messages(comm, options);
  options.reduction = Reduction::fast;
  ReducerWay fast(comm, options);
  tensor::Storage memory = tensor::Storage::allocate(total * 4);
  auto* values = reinterpret_cast<float*>(memory.data());
  Way library{.name = "library",
              .buffer = values,
              .run =
                  [&] {
                    comm.allreduce({values, total, DType::f32}, comm::ReduceOp::sum);
                  },
              .sum = values,
              .rounds_us = {}};
  std::vector<Way> ways{exact.way("exact"), direct.way(), messages.way("messages"),
                        fast.way("fast"), library};
  const int num_steps = static_cast<int>(std::clamp<std::int64_t>((32 << 20) / num_bytes, 2, 1000));
  for (int round = 0; round < num_rounds + 2; ++round) {
    for (Way& way : ways) {
      const double us = measure_round(way, meeting, total, num_steps);
      if (round >= 2) way.rounds_us.push_back(us);
    }
    if (round > 0) continue;
    for (Way& way : ways) {
      std::fill_n(way.buffer, total, 1.0F);
      meeting.meet();
      way.run();
      const auto expected = static_cast<float>(comm.world_size());
      if (way.sum[0] != expected || way.sum[total - 1] != expected) {
        throw Error(Exit::internal, "reduce_bench: " + way.name + " gives a wrong sum");
      }
      meeting.meet();
    }
  }
  if (comm.rank() != 0) return;
  std::printf("%10lld", static_cast<long long>(num_bytes));
  for (const Way& way : ways) std::printf(" %11.2f", median(way.rounds_us));
  std::printf("  %8.2f %10.2f %13.2f\n", median_ratio(ways[0], ways[1]),
              median_ratio(ways[0], ways[3]), median_ratio(ways[4], ways[0]));
  std::fflush(stdout);
}

void run(comm::Communicator& comm, int argc, char** argv) {
  std::vector<std::int64_t> sizes;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--rounds") == 0 && i + 1 < argc) {
      num_rounds = std::max(1, std::atoi(argv[++i]));
    } else {
      sizes.push_back(std::atoll(argv[i]));
    }
  }
  if (sizes.empty()) sizes = {8, 4 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20};
  if (comm.rank() == 0) {
    std::printf("median us of %d rounds, %d ranks\n", num_rounds, comm.world_size());
    std::printf("     bytes       exact         sum    messages        fast     library");
    std::printf(" exact/sum exact/fast library/exact\n");
  }
  for (const std::int64_t size : sizes) measure(comm, size);
}

}  // namespace
}  // namespace dlt::ddp

int main(int argc, char** argv) {
  dlt::comm::MpiSession session;
  const auto world = session.world();
  try {
    dlt::ddp::run(*world, argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    world->abort(70);
  }
  return 0;
}
