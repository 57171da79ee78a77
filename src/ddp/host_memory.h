// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/communicator.h"
#include "ddp/host_board.h"

namespace dlt::ddp {

/// The memory that the ranks of a host share for their gradients. Segment of each rank: its board,
/// where its nodes lie, the buffers they lie in; the first rank's segment also holds the result.
class HostMemory {
 public:
  struct Sizes {
    HostBoard::Sizes board;          // the same on all ranks
    std::int64_t buffers_bytes = 0;  // of this rank
    std::int64_t result_bytes = 0;   // the same on all ranks
  };
  /// Null on all ranks if memory cannot be shared. Collective.
  [[nodiscard]] static std::unique_ptr<HostMemory> share(comm::Communicator& comm,
                                                         const Sizes& sizes);

  /// Zeroed; this rank's.
  [[nodiscard]] std::byte* buffers() const;
  /// One for all ranks of the host.
  [[nodiscard]] float* result() const;
  [[nodiscard]] HostBoard& board() { return board_; }
  /// Tells the others where in its buffers this rank's nodes lie, and learns it of them.
  /// Collective.
  void publish(comm::Communicator& comm, const std::vector<float*>& nodes);
  /// Of all ranks of the host, each left to right, in this rank's addresses.
  [[nodiscard]] const std::vector<std::vector<const float*>>& nodes() const { return nodes_; }

 private:
  HostMemory(std::unique_ptr<comm::SharedMemory> memory, const comm::Communicator& comm,
             const Sizes& sizes);
  [[nodiscard]] std::byte* after_board(int local_rank) const;

  std::unique_ptr<comm::SharedMemory> memory_;
  Sizes sizes_;
  int local_rank_;
  int local_size_;
  HostBoard board_;
  std::vector<std::vector<const float*>> nodes_;
};

}  // namespace dlt::ddp
