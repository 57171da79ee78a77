// SPDX-License-Identifier: Apache-2.0
#include "ddp/timed_calls.h"

#include <cstring>
#include <vector>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {

TimedCalls::TimedCalls(comm::Communicator& comm)
    : rank_(comm.rank()), world_size_(comm.world_size()) {
  if (world_size_ > 1) comm_ = comm.duplicate();
}

void TimedCalls::allgather(const void* send, void* recv, std::int64_t num_bytes,
                           const std::string& what, double timeout_s) {
  const auto size = static_cast<std::size_t>(num_bytes);
  if (world_size_ == 1) {
    std::memcpy(recv, send, size);
    return;
  }
  struct Buffers {
    std::vector<std::byte> send, recv;
  };
  const auto buffers = std::make_shared<Buffers>();
  buffers->send.resize(size);
  buffers->recv.resize(size * static_cast<std::size_t>(world_size_));
  std::memcpy(buffers->send.data(), send, size);
  thread_.start([comm = comm_, buffers, num_bytes] {
    comm->allgather(buffers->send.data(), buffers->recv.data(), num_bytes);
  });
  if (!thread_.wait(timeout_s)) {
    throw Error(Exit::peer_lost, cat("rank ", rank_, ": waited ", timeout_s, " s for ", what),
                "a rank has died or hangs; fault.hang_timeout_s sets how long to wait");
  }
  thread_.rethrow();
  std::memcpy(recv, buffers->recv.data(), buffers->recv.size());
}

}  // namespace dlt::ddp
