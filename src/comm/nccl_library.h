// SPDX-License-Identifier: Apache-2.0
// What dltrain asks of NCCL, without its header: filled in by the plug-in library, or by a test.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "comm/communicator.h"

namespace dlt::comm {

/// As of ncclResult_t.
enum class NcclStatus : std::int32_t { success = 0, invalid_usage = 5, in_progress = 7 };
using NcclId = std::array<char, 128>;
/// ncclComm_t
using NcclHandle = void*;

/// Each function is the NCCL function of that name; all are non-blocking.
class NcclLibrary {
 public:
  virtual ~NcclLibrary() = default;
  /// 22809 for 2.28.9
  [[nodiscard]] virtual int version() const = 0;
  /// NCCL's words, with those of the last error where it has any.
  [[nodiscard]] virtual std::string text(NcclStatus status, NcclHandle comm) const = 0;

  virtual NcclStatus get_unique_id(NcclId& id) = 0;
  virtual NcclStatus init_rank(NcclHandle& comm, int world_size, const NcclId& id, int rank) = 0;
  /// What ncclCommGetAsyncError has found.
  virtual NcclStatus state(NcclHandle comm) = 0;
  virtual NcclStatus finalize(NcclHandle comm) = 0;
  virtual NcclStatus destroy(NcclHandle comm) = 0;
  virtual NcclStatus abort(NcclHandle comm) = 0;
  virtual NcclStatus register_buffer(NcclHandle comm, void* data, std::int64_t num_bytes,
                                     void*& buffer) = 0;
  virtual NcclStatus deregister(NcclHandle comm, void* buffer) = 0;

  /// Sums.
  virtual NcclStatus all_reduce(NcclHandle comm, float* data, std::int64_t count, void* stream) = 0;
  virtual NcclStatus reduce_scatter(NcclHandle comm, const float* send, float* recv,
                                    std::int64_t count, void* stream) = 0;
  virtual NcclStatus all_gather(NcclHandle comm, const void* send, void* recv,
                                std::int64_t num_bytes, void* stream) = 0;
  /// ncclSend and ncclRecv in one group.
  virtual NcclStatus exchange(NcclHandle comm, std::span<const Send> sends,
                              std::span<const Receive> receives, void* stream) = 0;
};

/// What the plug-in library libdltrain_nccl.so fills in.
struct NcclPlugin {
  /// Changes with everything that passes between program and library.
  static constexpr int kInterface = 1;
  int interface = 0;
  std::unique_ptr<NcclLibrary> (*make)() = nullptr;
};

/// NCCL by way of its plug-in library.
struct NcclFound {
  std::shared_ptr<NcclLibrary> library;  // null: it cannot be used
  std::string why_not;
};
[[nodiscard]] NcclFound find_nccl();

/// "2.28.9" for 22809
[[nodiscard]] std::string nccl_version_text(int version);

}  // namespace dlt::comm
