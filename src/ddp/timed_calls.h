// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/background.h"
#include "comm/communicator.h"

namespace dlt::ddp {

/// Collective calls between steps that wait no longer than they are told: a thread of its own makes
/// them, on a channel of its own.
class TimedCalls {
 public:
  /// comm is duplicated (not with one rank). Collective.
  explicit TimedCalls(comm::Communicator& comm);
  /// num_bytes from each rank, to recv[world_size * num_bytes], in rank order. Collective.
  /// errors  Error(Exit::peer_lost) "rank 1: waited 30 s for WHAT", after which this is of no use;
  ///         what the communicator threw
  void allgather(const void* send, void* recv, std::int64_t num_bytes, const std::string& what,
                 double timeout_s);

 private:
  int rank_, world_size_;
  std::shared_ptr<comm::Communicator> comm_;  // shared with a call that is stuck
  Background thread_{0};
};

}  // namespace dlt::ddp
