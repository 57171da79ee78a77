// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "ddp/host_wait.h"
#include "tensor/storage.h"

namespace dlt::ddp {

/// The replica that all ranks of a host share: one copy of each flat buffer, of which each rank
/// writes its own slices. Who may write when is agreed by meeting: what a rank wrote before it
/// arrived is visible to all who have waited for it. Main threads only.
class HostReplica {
 public:
  struct Sizes {
    std::int64_t num_elements = 0;  // of each buffer, f32
    int num_buffers = 0;
    std::int64_t num_sums = 0;    // that add_up() adds at most
    std::int64_t room_bytes = 0;  // of shared memory that each rank is to find free afterwards
  };
  /// Null on all ranks if memory cannot be shared, or no rank shares a host with another; comm must
  /// outlive this. Collective.
  [[nodiscard]] static std::shared_ptr<HostReplica> share(comm::Communicator& comm,
                                                          const Sizes& sizes,
                                                          const HostWaitOptions& wait);

  /// Zeroed at first; the same memory on all ranks of the host, for as long as anybody has it.
  [[nodiscard]] tensor::Storage buffer(int index) const;
  [[nodiscard]] int local_rank() const { return local_rank_; }
  [[nodiscard]] int local_size() const { return local_size_; }
  /// The rank that writes what is not cut into slices.
  [[nodiscard]] bool is_writer() const { return local_rank_ == 0; }

  /// The two halves of meet(): says that this rank has come so far, waits until all of the host
  /// have. errors  as HostWait::until()
  void arrive();
  void wait_for_all() const { wait_for_all(wait_); }
  void meet() { meet(wait_); }
  /// Makes the writer do something that all ranks then see; no rank reads meanwhile. That may take
  /// as long as it likes.
  template <typename Write>
  void write_once(Write write) {
    meet(patient_);
    if (is_writer()) write();
    meet(patient_);
  }
  /// Adds up each number over the ranks of the host, in their order. Exact where all ranks but one
  /// give zero. Collective on the host.
  void add_up(std::span<double> values);

 private:
  HostReplica(std::shared_ptr<comm::SharedMemory> memory, const comm::Communicator& comm,
              const Sizes& sizes, const HostWaitOptions& wait);
  struct Line;
  void wait_for_all(const HostWaitOptions& options) const;
  void meet(const HostWaitOptions& options) {
    arrive();
    wait_for_all(options);
  }
  [[nodiscard]] Line& line(int local_rank) const;
  [[nodiscard]] double* sums(int local_rank, std::int64_t turn) const;
  [[nodiscard]] static std::int64_t head_bytes(const Sizes& sizes);

  std::shared_ptr<comm::SharedMemory> memory_;
  const comm::Communicator* comm_;
  std::vector<int> ranks_;  // of the host
  Sizes sizes_;
  HostWaitOptions wait_, patient_;
  int local_rank_;
  int local_size_;
  std::int64_t num_arrivals_ = 0, num_sums_ = 0;
};

}  // namespace dlt::ddp
