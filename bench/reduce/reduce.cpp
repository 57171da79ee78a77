// SPDX-License-Identifier: Apache-2.0
// Time of the reduction of one step, exact and fast taken in turn (the machine's speed changes from
// second to second, so only neighbours compare):
//   mpirun -n 2 --bind-to none reduce_bench [MEGABYTES...]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/clock.h"
#include "comm/communicator.h"
#include "ddp/reducer.h"

namespace dlt::ddp {
namespace {

constexpr int kRounds = 30;

struct Times {
  double step_ms = 0;  // median over rounds of the mean step
  std::vector<double> rounds;
};

ReducerOptions options_of(std::int64_t total, int num_leaves, Reduction reduction) {
  ReducerOptions options{
      .total = total, .buckets = {}, .num_leaves = num_leaves, .reduction = reduction};
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

/// Mean seconds of a step whose gradients are all there at once: nothing to hide behind.
double run(Reducer& reducer, comm::Communicator& comm, std::int64_t total, int num_steps) {
  const SystemClock clock;
  double sum_s = 0;
  for (int step = 0; step < num_steps; ++step) {
    std::fill_n(reducer.leaf_gradients(0, 0), total, 1.0F);
    comm.barrier();
    const double start_s = clock.monotonic_s();
    reducer.begin_step(step);
    for (int i = 0; i < reducer.worker_leaves(0).size(); ++i) {
      reducer.gradients_final(0, i, total);
    }
    reducer.finish_step({});
    sum_s += clock.monotonic_s() - start_s;
  }
  return sum_s / num_steps;
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void measure(comm::Communicator& comm, double megabytes) {
  const auto total = static_cast<std::int64_t>(megabytes * 1e6 / 4) / 16 * 16;
  const int num_leaves = comm.world_size();
  Reducer exact(comm, options_of(total, num_leaves, Reduction::exact));
  Reducer fast(comm, options_of(total, num_leaves, Reduction::fast));
  const int num_steps = std::clamp(static_cast<int>(200 / megabytes), 3, 100);
  std::vector<double> exact_ms;
  std::vector<double> fast_ms;
  std::vector<double> difference_ms;
  for (int round = 0; round < kRounds + 2; ++round) {
    const double a = run(exact, comm, total, num_steps) * 1e3;
    const double b = run(fast, comm, total, num_steps) * 1e3;
    if (round < 2) continue;
    exact_ms.push_back(a);
    fast_ms.push_back(b);
    difference_ms.push_back(a - b);
  }
  if (comm.rank() != 0) return;
  std::printf("%8.2f MB  exact %8.3f ms  fast %8.3f ms  exact - fast %+8.3f ms\n", megabytes,
              median(exact_ms), median(fast_ms), median(difference_ms));
}

}  // namespace
}  // namespace dlt::ddp

int main(int argc, char** argv) {
  dlt::comm::MpiSession session;
  const auto world = session.world();
  std::vector<double> sizes;
  for (int i = 1; i < argc; ++i) sizes.push_back(std::atof(argv[i]));
  if (sizes.empty()) sizes = {0.02, 0.2, 2.7, 4, 16, 64};
  for (const double megabytes : sizes) dlt::ddp::measure(*world, megabytes);
  return 0;
}
