// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "comm/communicator.h"

namespace dlt::comm {

/// Device memory which the transport may address directly as long as this lives.
class RegisteredBuffer {
 public:
  virtual ~RegisteredBuffer() = default;
};

/// GPUs that talk to each other, one of each rank. A call puts its work into a stream of the GPU
/// (cudaStream_t) and does not wait for it; memory is the GPU's. Every rank makes the same calls in
/// the same order. One thread at a time, with the GPU current on it. Calls may be captured; what
/// was captured must be destroyed before the communicator. errors  Error(Exit::peer_lost) naming
/// rank, call and the transport's words. What is under way
///         has been aborted then: memory may be freed, and no further call works.
class DeviceCommunicator {
 public:
  virtual ~DeviceCommunicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int world_size() const = 0;
  /// "NCCL 2.28.9"
  [[nodiscard]] virtual std::string version() const = 0;

  /// Sum over all ranks, in place, in whatever order the library likes.
  virtual void allreduce(float* data, std::int64_t count, void* stream) = 0;
  /// num_bytes from each rank, to recv[world_size * num_bytes], in rank order. In place if send is
  /// where this rank's part of recv is.
  virtual void allgather(const void* send, void* recv, std::int64_t num_bytes, void* stream) = 0;
  /// The sum of element rank * count + i over all ranks, to recv[i]; send has world_size * count.
  virtual void reduce_scatter(const float* send, float* recv, std::int64_t count, void* stream) = 0;
  /// Point-to-point messages, all under way at once. Messages between a pair of ranks match in the
  /// order given; both sides give the same sizes. Empty ones are left out.
  virtual void exchange(std::span<const Send> sends, std::span<const Receive> receives,
                        void* stream) = 0;

  /// Null where the library has no use for it.
  [[nodiscard]] virtual std::unique_ptr<RegisteredBuffer> register_buffer(
      void* data, std::int64_t num_bytes) = 0;

  /// For the messages of peers that wait: this rank is at that step. Steps grow.
  virtual void post_step(std::int64_t step) = 0;
  /// The host waits until done() is true and watches the peers meanwhile. timeout_s 0: for ever.
  /// errors  also "rank 1: waited 30 s for bucket 3 of step 812: rank 2 is at step 811"; what()
  ///         names the thing waited for
  virtual void wait_until(const std::function<bool()>& done,
                          const std::function<std::string()>& what, double timeout_s) = 0;
  /// Looks for failures that were noticed beside the host.
  virtual void check() = 0;
  /// Ends what is under way, also with peers that are gone, so that streams go on; waits for that
  /// no longer than a deadline. To be called before memory is freed when a rank gives up. Never
  /// throws; the second call does nothing.
  virtual void abort() noexcept = 0;
};

}  // namespace dlt::comm
