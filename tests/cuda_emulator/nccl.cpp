// SPDX-License-Identifier: Apache-2.0
// libnccl: communicators and groups. The arithmetic is in nccl_operation.cpp.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

#include <nccl.h>
#include <unistd.h>

#include "cuda_emulator/engine.h"
#include "cuda_emulator/nccl_operation.h"
#include "cuda_emulator/report.h"

using namespace dlt::emulator;

struct ncclComm {
  std::shared_ptr<NcclState> state;
  std::set<void*> registered;
};

namespace {

constexpr std::chrono::milliseconds kPoll{1};
constexpr std::chrono::seconds kHang{60};

/// Between ncclGroupStart and ncclGroupEnd of a thread.
struct Group {
  struct Call {
    ncclComm* comm;
    cudaStream_t stream;
    NcclOperation operation;
  };
  int depth = 0;
  ncclResult_t error = ncclSuccess;
  std::vector<Call> calls;
  std::vector<std::shared_ptr<NcclState>> beginning;  // blocking ones: ncclGroupEnd waits for them
};

Group& group() {
  static thread_local Group instance;
  return instance;
}

/// The lock, then the failures that tests ask for; errors count for the group.
template <typename Body>
ncclResult_t call(const char* function, Body&& body) {
  Engine& e = engine();
  Lock lock(e.mutex);
  ncclResult_t result = ncclUnhandledCudaError;
  if (const int failure = e.take_failure(function)) {
    result = static_cast<ncclResult_t>(failure);
  } else if (e.sticky_error == 0 && !e.devices.empty()) {
    result = body(e, lock);
  }
  if (result != ncclSuccess && result != ncclInProgress && group().depth > 0)
    group().error = result;
  return result;
}

std::string host_id() {
  if (const char* id = std::getenv("NCCL_HOSTID")) return id;
  std::array<char, 256> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// Whether all ranks are there; refuses two of one host with one GPU.
void look_for_ranks(NcclState& state) {
  if (state.is_ready || state.error != ncclSuccess) return;
  const auto gpus = state.exchange.gpus();
  if (!gpus.has_value()) return;
  if (std::set<std::string>(gpus->begin(), gpus->end()).size() != gpus->size()) {
    state.error = ncclInvalidUsage;  // "Duplicate GPU detected"
    return;
  }
  state.is_ready = true;
}

ncclResult_t wait_for_ranks(Engine& e, Lock& lock, NcclState& state) {
  const auto deadline = std::chrono::steady_clock::now() + kHang;
  while (!state.is_ready && state.error == ncclSuccess && !state.is_aborted) {
    look_for_ranks(state);
    if (std::chrono::steady_clock::now() > deadline)
      fail("nccl: a blocking init waits for ranks for ever");
    if (!state.is_ready && state.error == ncclSuccess) e.changed.wait_for(lock, kPoll);
  }
  return state.error;
}

ncclResult_t begin(Engine& e, Lock& lock, ncclComm_t* made, int world_size, const ncclUniqueId& id,
                   int rank, const ncclConfig_t* config) {
  *made = nullptr;
  if (rank < 0 || rank >= world_size) return ncclInvalidArgument;
  if (config != nullptr && config->magic != 0xcafebeef) return ncclInvalidArgument;
  const std::string folder(id.internal, strnlen(id.internal, sizeof id.internal));
  auto state = std::make_shared<NcclState>(folder, rank, world_size);
  state->device = thread_state().device;
  state->is_blocking = config == nullptr || config->blocking != 0;
  const Device& device = e.devices[static_cast<std::size_t>(state->device)].properties;
  state->exchange.announce(host_id() + " " + std::to_string(state->device) + " " +
                           device.pci_bus_id);
  e.changed.notify_all();
  *made = new ncclComm{state, {}};
  if (!state->is_blocking) return ncclInProgress;
  if (group().depth > 0) {
    group().beginning.push_back(state);
    return ncclSuccess;
  }
  return wait_for_ranks(e, lock, *state);
}

/// Why the communicator takes no call now.
ncclResult_t check_usable(Engine& e, ncclComm_t comm) {
  if (comm == nullptr) return ncclInvalidArgument;
  NcclState& state = *comm->state;
  if (const auto injected = e.nccl_async_errors.find(state.rank);
      injected != e.nccl_async_errors.end()) {
    return static_cast<ncclResult_t>(injected->second);
  }
  look_for_ranks(state);
  if (state.error != ncclSuccess) return state.error;
  if (state.is_finalized || state.is_aborted) return ncclInvalidUsage;
  // The last call is not known to be over: its state has to be asked first.
  return state.is_ready && state.polls_in_progress == 0 ? ncclSuccess : ncclInvalidArgument;
}

ncclResult_t start(Engine& e, Lock& lock, ncclComm* comm, cudaStream_t on,
                   std::vector<NcclOperation> operations) {
  CUstream_st* stream = e.find(on);
  if (stream == nullptr || stream->device != comm->state->device) return ncclInvalidUsage;
  if (e.enqueue(lock, stream, "nccl", nccl_work(comm->state, std::move(operations))) !=
      cudaSuccess) {
    return ncclUnhandledCudaError;
  }
  if (comm->state->is_blocking) return ncclSuccess;
  comm->state->polls_in_progress = static_cast<int>(e.random() % 3);
  return comm->state->polls_in_progress == 0 ? ncclSuccess : ncclInProgress;
}

/// Calls of one communicator become one piece of work.
ncclResult_t end_group(Engine& e, Lock& lock) {
  Group ended = std::exchange(group(), {});
  if (ended.error != ncclSuccess) return ended.error;
  for (const auto& state : ended.beginning) {
    const ncclResult_t result = wait_for_ranks(e, lock, *state);
    if (result != ncclSuccess) return result;
  }
  ncclResult_t all = ncclSuccess;
  while (!ended.calls.empty()) {
    const Group::Call first = ended.calls.front();
    std::vector<NcclOperation> operations;
    std::vector<Group::Call> others;
    for (const Group::Call& call : ended.calls) {
      if (call.comm != first.comm) {
        others.push_back(call);
      } else if (call.stream != first.stream) {
        return ncclInvalidUsage;
      } else {
        operations.push_back(call.operation);
      }
    }
    ended.calls = std::move(others);
    const ncclResult_t result = start(e, lock, first.comm, first.stream, std::move(operations));
    if (result != ncclSuccess && result != ncclInProgress) return result;
    if (result == ncclInProgress) all = ncclInProgress;
  }
  return all;
}

struct Sizes {
  std::size_t sent = 0, received = 0;  // elements
};

ncclResult_t add(const char* function, ncclComm_t comm, cudaStream_t stream, const NcclOperation& o,
                 Sizes sizes) {
  return call(function, [&](Engine& e, Lock& lock) {
    const ncclResult_t usable = check_usable(e, comm);
    if (usable != ncclSuccess) return usable;
    const std::size_t size = nccl_size_of(o.type);
    if (size == 0 || o.op < 0 || o.op > ncclAvg || o.peer < 0 ||
        o.peer >= comm->state->world_size) {
      return ncclInvalidArgument;
    }
    const int device = comm->state->device;
    if ((sizes.sent != 0 && !e.is_device_memory(device, o.from, sizes.sent * size)) ||
        (sizes.received != 0 && !e.is_device_memory(device, o.to, sizes.received * size))) {
      fail(std::string(function) + ": a buffer is not as many bytes of the device's memory");
    }
    if (group().depth > 0) {
      group().calls.push_back({comm, stream, o});
      return ncclSuccess;
    }
    return start(e, lock, comm, stream, {o});
  });
}

std::size_t ranks_of(ncclComm_t comm) {
  return comm == nullptr ? 1 : static_cast<std::size_t>(comm->state->world_size);
}

bool is_rank(ncclComm_t comm, int rank) { return comm != nullptr && comm->state->rank == rank; }

}  // namespace

extern "C" {

ncclResult_t ncclGetVersion(int* version) {
  *version = NCCL_VERSION_CODE;
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  static constexpr std::array<const char*, 8> kTexts = {
      "no error",
      "unhandled cuda error",
      "unhandled system error",
      "internal error",
      "invalid argument",
      "invalid usage",
      "remote process exited or there was a network error",
      "NCCL operation in progress"};
  const auto at = static_cast<std::size_t>(result);
  return at < kTexts.size() ? kTexts[at] : "unknown result code";
}
const char* ncclGetLastError(ncclComm_t comm) {
  return comm != nullptr && comm->state->error == ncclInvalidUsage ? "Duplicate GPU detected" : "";
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  return call("ncclGetUniqueId", [&](Engine&, Lock&) {
    *id = {};
    NcclExchange::make_folder().copy(id->internal, sizeof id->internal - 1);
    return ncclSuccess;
  });
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int world_size, ncclUniqueId id, int rank,
                                    ncclConfig_t* config) {
  return call("ncclCommInitRankConfig", [&](Engine& e, Lock& lock) {
    return begin(e, lock, comm, world_size, id, rank, config);
  });
}
ncclResult_t ncclCommInitRank(ncclComm_t* comm, int world_size, ncclUniqueId id, int rank) {
  return call("ncclCommInitRank", [&](Engine& e, Lock& lock) {
    return begin(e, lock, comm, world_size, id, rank, nullptr);
  });
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* error) {
  return call("ncclCommGetAsyncError", [&](Engine& e, Lock& lock) {
    if (comm == nullptr) return ncclInvalidArgument;
    NcclState& state = *comm->state;
    const auto injected = e.nccl_async_errors.find(state.rank);
    look_for_ranks(state);
    const bool is_flushing = state.is_finalized && state.num_finished < state.num_started;
    if (injected != e.nccl_async_errors.end()) {
      *error = static_cast<ncclResult_t>(injected->second);
    } else if (state.error != ncclSuccess) {
      *error = state.error;
    } else if (!state.is_ready || state.polls_in_progress > 0 || is_flushing) {
      state.polls_in_progress = std::max(0, state.polls_in_progress - 1);
      if (is_flushing) e.run_some(lock);
      *error = ncclInProgress;
    } else {
      *error = ncclSuccess;
    }
    return ncclSuccess;
  });
}

ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  return call("ncclCommFinalize", [&](Engine& e, Lock& lock) {
    const ncclResult_t usable = check_usable(e, comm);
    if (usable != ncclSuccess) return usable;
    const std::shared_ptr<NcclState> state = comm->state;
    state->is_finalized = true;
    if (!state->is_blocking)
      return state->num_finished == state->num_started ? ncclSuccess : ncclInProgress;
    const auto done = [&] {
      return state->num_finished == state->num_started || state->is_aborted;
    };
    return e.run_until(lock, done, "ncclCommFinalize") == cudaSuccess ? ncclSuccess
                                                                      : ncclUnhandledCudaError;
  });
}

ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  if (comm == nullptr) return ncclSuccess;
  const ncclResult_t finalized = comm->state->is_finalized ? ncclSuccess : ncclCommFinalize(comm);
  const Lock lock(engine().mutex);
  delete comm;
  return finalized == ncclInProgress ? ncclSuccess : finalized;
}

ncclResult_t ncclCommAbort(ncclComm_t comm) {
  return call("ncclCommAbort", [&](Engine& e, Lock&) {
    if (comm == nullptr) return ncclInvalidArgument;
    comm->state->is_aborted = true;
    delete comm;
    e.changed.notify_all();
    return ncclSuccess;
  });
}

ncclResult_t ncclCommCount(const ncclComm_t comm, int* count) {
  *count = comm->state->world_size;
  return ncclSuccess;
}
ncclResult_t ncclCommUserRank(const ncclComm_t comm, int* rank) {
  *rank = comm->state->rank;
  return ncclSuccess;
}
ncclResult_t ncclCommCuDevice(const ncclComm_t comm, int* device) {
  *device = comm->state->device;
  return ncclSuccess;
}

ncclResult_t ncclMemAlloc(void** data, size_t bytes) {
  return cudaMalloc(data, bytes) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}
ncclResult_t ncclMemFree(void* data) {
  return cudaFree(data) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

ncclResult_t ncclCommRegister(const ncclComm_t comm, void* data, size_t bytes, void** handle) {
  return call("ncclCommRegister", [&](Engine& e, Lock&) {
    if (comm == nullptr || !e.is_device_memory(comm->state->device, data, bytes))
      return ncclInvalidArgument;
    comm->registered.insert(data);
    *handle = data;
    return ncclSuccess;
  });
}
ncclResult_t ncclCommDeregister(const ncclComm_t comm, void* handle) {
  return call("ncclCommDeregister", [&](Engine&, Lock&) {
    return comm != nullptr && comm->registered.erase(handle) != 0 ? ncclSuccess
                                                                  : ncclInvalidArgument;
  });
}

ncclResult_t ncclGroupStart() {
  ++group().depth;
  return ncclSuccess;
}

ncclResult_t ncclGroupEnd() {
  if (group().depth == 0) return ncclInvalidUsage;
  if (group().depth > 1) {
    --group().depth;
    return ncclSuccess;
  }
  const ncclResult_t result = call("ncclGroupEnd", end_group);
  group() = {};
  return result;
}

ncclResult_t ncclAllReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return add("ncclAllReduce", comm, stream, {NcclKind::allreduce, from, to, count, type, op, 0},
             {count, count});
}

ncclResult_t ncclReduce(const void* from, void* to, size_t count, ncclDataType_t type,
                        ncclRedOp_t op, int root, ncclComm_t comm, cudaStream_t stream) {
  return add("ncclReduce", comm, stream, {NcclKind::reduce, from, to, count, type, op, root},
             {count, is_rank(comm, root) ? count : 0});
}

ncclResult_t ncclBroadcast(const void* from, void* to, size_t count, ncclDataType_t type, int root,
                           ncclComm_t comm, cudaStream_t stream) {
  return add("ncclBroadcast", comm, stream,
             {NcclKind::broadcast, from, to, count, type, ncclSum, root},
             {is_rank(comm, root) ? count : 0, count});
}

ncclResult_t ncclReduceScatter(const void* from, void* to, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t comm, cudaStream_t stream) {
  return add("ncclReduceScatter", comm, stream,
             {NcclKind::reduce_scatter, from, to, count, type, op, 0},
             {count * ranks_of(comm), count});
}

ncclResult_t ncclAllGather(const void* from, void* to, size_t count, ncclDataType_t type,
                           ncclComm_t comm, cudaStream_t stream) {
  return add("ncclAllGather", comm, stream,
             {NcclKind::allgather, from, to, count, type, ncclSum, 0},
             {count, count * ranks_of(comm)});
}

ncclResult_t ncclSend(const void* from, size_t count, ncclDataType_t type, int peer,
                      ncclComm_t comm, cudaStream_t stream) {
  return add("ncclSend", comm, stream, {NcclKind::send, from, nullptr, count, type, ncclSum, peer},
             {count, 0});
}

ncclResult_t ncclRecv(void* to, size_t count, ncclDataType_t type, int peer, ncclComm_t comm,
                      cudaStream_t stream) {
  return add("ncclRecv", comm, stream, {NcclKind::receive, nullptr, to, count, type, ncclSum, peer},
             {0, count});
}

}  // extern "C"
