// SPDX-License-Identifier: Apache-2.0
#include "ddp/host_replica.h"

#include <algorithm>
#include <atomic>
#include <new>
#include <string>

#include "base/error.h"
#include "base/text.h"
#include "ddp/local_sums.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kCacheLine_bytes = 64, kReplicaPage_bytes = 4096;
/// Numbers are added in two places by turns: who gives the next ones has met all who read the last.
constexpr std::int64_t kTurns = 2;

std::int64_t sums_bytes(std::int64_t num_sums) {
  const std::int64_t num_bytes = num_sums * static_cast<std::int64_t>(sizeof(double));
  return (num_bytes + kCacheLine_bytes - 1) / kCacheLine_bytes * kCacheLine_bytes;
}

}  // namespace

/// Written by one rank; zeroed memory is a line of count 0.
struct alignas(kCacheLine_bytes) HostReplica::Line {
  std::atomic<std::int64_t> num_arrivals{0};
};

std::int64_t HostReplica::head_bytes(const Sizes& sizes) {
  const std::int64_t num_bytes = kCacheLine_bytes + kTurns * sums_bytes(sizes.num_sums);
  return (num_bytes + kReplicaPage_bytes - 1) / kReplicaPage_bytes * kReplicaPage_bytes;
}

std::shared_ptr<HostReplica> HostReplica::share(comm::Communicator& comm, const Sizes& sizes,
                                                const HostWaitOptions& wait) {
  if (!comm::any_host_of_several(comm.hosts())) return nullptr;
  std::int64_t num_bytes = head_bytes(sizes);
  if (comm.local_rank() == 0) {
    num_bytes += sizes.num_buffers * buffer_stride_bytes(sizes.num_elements);
  }
  std::shared_ptr<comm::SharedMemory> memory = comm.share(num_bytes, sizes.room_bytes);
  if (!memory) return nullptr;
  return std::shared_ptr<HostReplica>(new HostReplica(std::move(memory), comm, sizes, wait));
}

HostReplica::HostReplica(std::shared_ptr<comm::SharedMemory> memory, const comm::Communicator& comm,
                         const Sizes& sizes, const HostWaitOptions& wait)
    : memory_(std::move(memory)),
      comm_(&comm),
      ranks_(comm::ranks_of_host(comm)),
      sizes_(sizes),
      wait_(wait),
      patient_{.timeout_s = 0, .beside_work = true, .crowded = wait.crowded},
      local_rank_(comm.local_rank()),
      local_size_(comm.local_size()) {
  static_assert(std::atomic<std::int64_t>::is_always_lock_free && sizeof(Line) == kCacheLine_bytes);
}

HostReplica::Line& HostReplica::line(int local_rank) const {
  return *std::launder(reinterpret_cast<Line*>(memory_->segment(local_rank)));
}

double* HostReplica::sums(int local_rank, std::int64_t turn) const {
  std::byte* first = memory_->segment(local_rank) + kCacheLine_bytes;
  return reinterpret_cast<double*>(first + turn % kTurns * sums_bytes(sizes_.num_sums));
}

tensor::Storage HostReplica::buffer(int index) const {
  DLT_CHECK(index >= 0 && index < sizes_.num_buffers, cat("no buffer ", index, " of a replica"));
  std::byte* first = memory_->segment(0) + head_bytes(sizes_);
  return tensor::Storage::adopt(first + index * buffer_stride_bytes(sizes_.num_elements),
                                sizes_.num_elements * static_cast<std::int64_t>(sizeof(float)),
                                [memory = memory_](void*) {});
}

void HostReplica::arrive() {
  line(local_rank_).num_arrivals.store(++num_arrivals_, std::memory_order_release);
}

void HostReplica::wait_for_all(const HostWaitOptions& options) const {
  const HostWait wait(*comm_, options);
  for (int r = 0; r < local_size_; ++r) {
    const std::atomic<std::int64_t>& theirs = line(r).num_arrivals;
    wait.until([&] { return theirs.load(std::memory_order_acquire) >= num_arrivals_; },
               ranks_[static_cast<std::size_t>(r)],
               [] { return std::string("its part of the host's replica"); });
  }
}

void HostReplica::add_up(std::span<double> values) {
  DLT_CHECK(static_cast<std::int64_t>(values.size()) <= sizes_.num_sums,
            cat(values.size(), " sums, expected at most ", sizes_.num_sums));
  const std::int64_t turn = num_sums_++;
  std::copy(values.begin(), values.end(), sums(local_rank_, turn));
  meet();
  std::fill(values.begin(), values.end(), 0.0);
  for (int r = 0; r < local_size_; ++r) {
    const double* theirs = sums(r, turn);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += theirs[i];
  }
}

}  // namespace dlt::ddp
