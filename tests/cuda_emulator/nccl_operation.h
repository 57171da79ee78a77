// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <nccl.h>

#include "cuda_emulator/engine.h"
#include "cuda_emulator/nccl_exchange.h"

namespace dlt::emulator {

enum class NcclKind : std::int32_t {
  allreduce,
  reduce,
  reduce_scatter,
  allgather,
  broadcast,
  send,
  receive
};

struct NcclOperation {
  NcclKind kind;
  const void* from = nullptr;
  void* to = nullptr;
  std::size_t count = 0;  // as given to the function
  ncclDataType_t type = ncclFloat32;
  ncclRedOp_t op = ncclSum;
  int peer = 0;  // or root

  [[nodiscard]] bool is_message() const {
    return kind == NcclKind::send || kind == NcclKind::receive;
  }
};
[[nodiscard]] std::size_t nccl_size_of(ncclDataType_t type);  // 0: not emulated

/// The life of a communicator; its work holds it beyond ncclCommDestroy.
struct NcclState {
  NcclState(std::string folder, int own_rank, int size)
      : exchange(std::move(folder), own_rank, size), rank(own_rank), world_size(size) {}
  NcclExchange exchange;
  int rank, world_size, device = 0;
  bool is_ready = false, is_aborted = false, is_finalized = false, is_blocking = true;
  ncclResult_t error = ncclSuccess;
  int polls_in_progress = 0;  // so often the state is asked before the last call is over
  std::uint64_t num_started = 0, num_finished = 0;  // pieces of work
  std::uint64_t num_collectives = 0;
  std::map<int, std::uint64_t> num_sent, num_received;  // by peer
};

/// The calls of one group on one communicator, as one piece of work.
[[nodiscard]] MakeWork nccl_work(std::shared_ptr<NcclState> state,
                                 std::vector<NcclOperation> operations);

}  // namespace dlt::emulator
