// SPDX-License-Identifier: Apache-2.0
// The plug-in library libdltrain_nccl.so: comm::find_nccl opens it at run time.
#include <cstring>

#include <nccl.h>

#include "comm/nccl_library.h"

namespace dlt::comm {
namespace {

static_assert(static_cast<int>(NcclStatus::success) == ncclSuccess);
static_assert(static_cast<int>(NcclStatus::invalid_usage) == ncclInvalidUsage);
static_assert(static_cast<int>(NcclStatus::in_progress) == ncclInProgress);
static_assert(sizeof(NcclId) == sizeof(ncclUniqueId));

NcclStatus status(ncclResult_t result) { return static_cast<NcclStatus>(result); }
ncclComm_t comm_of(NcclHandle handle) { return static_cast<ncclComm_t>(handle); }
cudaStream_t stream_of(void* stream) { return static_cast<cudaStream_t>(stream); }
std::size_t size(std::int64_t count) { return static_cast<std::size_t>(count); }

class Nccl final : public NcclLibrary {
 public:
  [[nodiscard]] int version() const override {
    int version = 0;
    return ncclGetVersion(&version) == ncclSuccess ? version : 0;
  }
  [[nodiscard]] std::string text(NcclStatus what, NcclHandle comm) const override {
    std::string text = ncclGetErrorString(static_cast<ncclResult_t>(what));
    const char* last = ncclGetLastError(comm_of(comm));
    if (last != nullptr && *last != '\0') text += std::string(": ") + last;
    return text;
  }

  NcclStatus get_unique_id(NcclId& id) override {
    ncclUniqueId unique{};
    const ncclResult_t result = ncclGetUniqueId(&unique);
    std::memcpy(id.data(), unique.internal, id.size());
    return status(result);
  }
  NcclStatus init_rank(NcclHandle& comm, int world_size, const NcclId& id, int rank) override {
    ncclUniqueId unique{};
    std::memcpy(unique.internal, id.data(), id.size());
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    ncclComm_t made = nullptr;
    const ncclResult_t result = ncclCommInitRankConfig(&made, world_size, unique, rank, &config);
    comm = made;
    return status(result);
  }
  NcclStatus state(NcclHandle comm) override {
    ncclResult_t found = ncclSuccess;
    const ncclResult_t result = ncclCommGetAsyncError(comm_of(comm), &found);
    return status(result == ncclSuccess ? found : result);
  }
  NcclStatus finalize(NcclHandle comm) override { return status(ncclCommFinalize(comm_of(comm))); }
  NcclStatus destroy(NcclHandle comm) override { return status(ncclCommDestroy(comm_of(comm))); }
  NcclStatus abort(NcclHandle comm) override { return status(ncclCommAbort(comm_of(comm))); }
  NcclStatus register_buffer(NcclHandle comm, void* data, std::int64_t num_bytes,
                             void*& buffer) override {
    return status(ncclCommRegister(comm_of(comm), data, size(num_bytes), &buffer));
  }
  NcclStatus deregister(NcclHandle comm, void* buffer) override {
    return status(ncclCommDeregister(comm_of(comm), buffer));
  }

  NcclStatus all_reduce(NcclHandle comm, float* data, std::int64_t count, void* stream) override {
    return status(ncclAllReduce(data, data, size(count), ncclFloat32, ncclSum, comm_of(comm),
                                stream_of(stream)));
  }
  NcclStatus reduce_scatter(NcclHandle comm, const float* send, float* recv, std::int64_t count,
                            void* stream) override {
    return status(ncclReduceScatter(send, recv, size(count), ncclFloat32, ncclSum, comm_of(comm),
                                    stream_of(stream)));
  }
  NcclStatus all_gather(NcclHandle comm, const void* send, void* recv, std::int64_t num_bytes,
                        void* stream) override {
    return status(
        ncclAllGather(send, recv, size(num_bytes), ncclInt8, comm_of(comm), stream_of(stream)));
  }
  NcclStatus exchange(NcclHandle comm, std::span<const Send> sends,
                      std::span<const Receive> receives, void* stream) override {
    ncclResult_t failed = ncclGroupStart();
    if (failed != ncclSuccess) return status(failed);
    const auto add = [&failed](ncclResult_t result) {
      if (failed == ncclSuccess && result != ncclInProgress) failed = result;
    };
    for (const Send& send : sends) {
      if (send.num_bytes == 0) continue;
      add(ncclSend(send.data, size(send.num_bytes), ncclInt8, send.peer, comm_of(comm),
                   stream_of(stream)));
    }
    for (const Receive& receive : receives) {
      if (receive.num_bytes == 0) continue;
      add(ncclRecv(receive.data, size(receive.num_bytes), ncclInt8, receive.peer, comm_of(comm),
                   stream_of(stream)));
    }
    const ncclResult_t ended = ncclGroupEnd();
    return status(failed != ncclSuccess ? failed : ended);
  }
};

}  // namespace
}  // namespace dlt::comm

extern "C" [[gnu::visibility("default")]] void dltrain_nccl_plugin(dlt::comm::NcclPlugin* out) {
  out->interface = dlt::comm::NcclPlugin::kInterface;
  out->make = []() -> std::unique_ptr<dlt::comm::NcclLibrary> {
    return std::make_unique<dlt::comm::Nccl>();
  };
}
