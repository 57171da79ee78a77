// SPDX-License-Identifier: Apache-2.0
#include "ddp/link_probe.h"

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kSmall_bytes = 1 << 10;
constexpr std::int64_t kMedium_bytes = 64 << 10;
constexpr std::int64_t kLarge_bytes = 1 << 20;
constexpr int kRepeats = 4;
/// A medium message below this leaves time for large ones, which say more about the bandwidth.
constexpr double kQuick_s = 0.4e-3;

/// Sends slices of a bucket back and forth as a reduction does.
class Probe {
 public:
  Probe(comm::Communicator& comm, const Clock& clock)
      : comm_(&comm),
        clock_(&clock),
        memory_(tensor::Storage::allocate(2 * kLarge_bytes * comm.world_size())) {}

  /// The least of `repeats` times of the slowest rank.
  double seconds(std::int64_t bucket_bytes, int repeats) {
    std::vector<double> times(static_cast<std::size_t>(repeats));
    for (double& time : times) {
      const double before = clock_->monotonic_s();
      exchange(bucket_bytes);  // the nodes' slices
      exchange(bucket_bytes);  // the finished ones
      time = clock_->monotonic_s() - before;
    }
    comm_->allreduce({.data = times.data(), .count = repeats, .dtype = DType::f64},
                     comm::ReduceOp::max);
    return *std::min_element(times.begin(), times.end());
  }

 private:
  void exchange(std::int64_t bucket_bytes) {
    const int world_size = comm_->world_size();
    const std::int64_t slice_bytes = bucket_bytes / world_size;
    std::vector<comm::Send> sends;
    std::vector<comm::Receive> receives;
    for (int r = 0; r < world_size; ++r) {
      if (r == comm_->rank()) continue;
      std::byte* mine = memory_.data() + 2 * slice_bytes * r;
      sends.push_back({.peer = r, .data = mine, .num_bytes = slice_bytes});
      receives.push_back({.peer = r, .data = mine + slice_bytes, .num_bytes = slice_bytes});
    }
    comm_->exchange(sends, receives);
  }

  comm::Communicator* comm_;
  const Clock* clock_;
  tensor::Storage memory_;
};

}  // namespace

Link probe_link(comm::Communicator& comm, const Clock& clock) {
  DLT_CHECK(comm.world_size() > 1, "one rank has no link");
  Probe probe(comm, clock);
  (void)probe.seconds(kSmall_bytes, 1);  // connections are made by the first messages
  const double small_s = probe.seconds(kSmall_bytes, kRepeats);
  std::int64_t bytes = kMedium_bytes;
  double large_s = probe.seconds(bytes, 1);
  if (large_s < kQuick_s) {
    bytes = kLarge_bytes;
    large_s = probe.seconds(bytes, 3);
  }
  const double per_byte = (large_s - small_s) / static_cast<double>(bytes - kSmall_bytes);
  return {.latency_s = small_s, .seconds_per_byte = std::max(per_byte, 1e-12)};
}

}  // namespace dlt::ddp
