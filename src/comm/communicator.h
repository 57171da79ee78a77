// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"

namespace dlt::comm {

enum class ReduceOp : std::uint8_t { sum, min, max };

struct Buffer {
  void* data = nullptr;
  std::int64_t count = 0;  // elements
  DType dtype = DType::f32;
};

/// One message of an exchange. Sizes may exceed 2^31 bytes.
struct Send {
  int peer = 0;
  const void* data = nullptr;
  std::int64_t num_bytes = 0;
};
struct Receive {
  int peer = 0;
  void* data = nullptr;
  std::int64_t num_bytes = 0;
};

/// The ranks of each host, ascending; hosts in the order of their lowest rank. Ranks need not be
/// contiguous on a host, nor hosts be equally large.
using Hosts = std::vector<std::vector<int>>;
/// Each rank as a host of its own.
[[nodiscard]] Hosts lone_hosts(int world_size);
[[nodiscard]] bool any_host_of_several(const Hosts& hosts);

/// Memory in which each rank of a host has a segment of its own size and all can address all.
/// Zeroed; segments begin at whole pages. Destroying it waits for nobody; the peers' use goes on.
class SharedMemory {
 public:
  virtual ~SharedMemory() = default;
  /// Of the rank with this local_rank().
  [[nodiscard]] virtual std::byte* segment(int local_rank) const = 0;
};

/// Ranks that talk to each other. Every rank makes the same calls in the same order; every call
/// blocks until this rank's part is done. One communicator belongs to one thread at a time.
/// errors  Error(Exit::peer_lost) naming rank and call if the transport reports a failure
class Communicator {
 public:
  virtual ~Communicator() = default;
  [[nodiscard]] virtual int rank() const = 0;
  [[nodiscard]] virtual int world_size() const = 0;
  /// Index of this rank and number of ranks on this host.
  [[nodiscard]] virtual int local_rank() const = 0;
  [[nodiscard]] virtual int local_size() const = 0;
  /// Which ranks can share memory; this one is hosts()[h][local_rank()] of one of them.
  [[nodiscard]] virtual Hosts hosts() const { return lone_hosts(world_size()); }
  /// num_bytes of memory that the ranks of this host share with it; each rank gives its own size.
  /// Null on all ranks if any host has none to give (no room, or the transport cannot); room counts
  /// if room_bytes more a rank would still be free. Collective.
  [[nodiscard]] virtual std::unique_ptr<SharedMemory> share(std::int64_t num_bytes,
                                                            std::int64_t room_bytes);
  [[nodiscard]] std::unique_ptr<SharedMemory> share(std::int64_t num_bytes) {
    return share(num_bytes, 0);
  }
  /// For those who wait by looking at shared memory: true once the transport knows that nothing
  /// more will come from that rank. What it wrote before is visible then. Cheap, no call of MPI.
  [[nodiscard]] virtual bool knows_lost(int peer) const;
  /// "self", "thread", "mpi"
  [[nodiscard]] virtual std::string name() const = 0;

  /// In place, summed in whatever order the library likes.
  virtual void allreduce(Buffer buffer, ReduceOp op) = 0;
  virtual void broadcast(void* data, std::int64_t num_bytes, int root) = 0;
  /// num_bytes from each rank, to recv[world_size * num_bytes], in rank order.
  virtual void allgather(const void* send, void* recv, std::int64_t num_bytes) = 0;
  virtual void barrier() = 0;
  /// Point-to-point messages among any ranks, all under way at once. Messages between a pair of
  /// ranks match in the order given; a rank may send to itself. Both sides give the same sizes.
  virtual void exchange(std::span<const Send> sends, std::span<const Receive> receives) = 0;
  /// A channel of its own for another thread; collective. The messages of the two never mix.
  [[nodiscard]] virtual std::unique_ptr<Communicator> duplicate() = 0;
  /// Ends the whole job at once with this exit code, when agreement is no longer possible.
  [[noreturn]] virtual void abort(int exit_code) = 0;
};

/// The ranks that can share memory with this one, which is among them. errors
/// Error(Exit::internal) if comm.hosts() leave this rank out
[[nodiscard]] std::vector<int> ranks_of_host(const Communicator& comm);

/// The longest text a rank may give to allgather_text.
inline constexpr std::int64_t kMaxText_bytes = std::int64_t{1} << 20;

/// One text from each rank, in rank order. Built on allgather.
/// errors  Error(Exit::internal) on every rank if one gives more than kMaxText_bytes
[[nodiscard]] std::vector<std::string> allgather_text(Communicator& comm, const std::string& text);

[[nodiscard]] std::unique_ptr<Communicator> make_self();
/// Ranks as threads of this process (tests, ThreadSanitizer): element r belongs to rank r. A rank
/// that is missing because its communicator was destroyed, or that called abort(), makes every call
/// that waits for it throw Error(Exit::peer_lost); abort() reaches all duplicates as well and ends
/// by throwing Error with the exit code given.
/// host_of[r] is the host of rank r, for tests of several hosts on one; empty: all on one.
[[nodiscard]] std::vector<std::unique_ptr<Communicator>> make_thread_group(
    int world_size, const std::vector<int>& host_of = {});

/// MPI for the life of this object: MPI_Init_thread(MULTIPLE) to MPI_Finalize. Communicators of the
/// session may outlive it, but not be used then. MPI_Finalize waits for all ranks, so it is left
/// out where a rank may be missing: while an exception unwinds the stack, after a failed MPI call,
/// and while another thread still is in one or holds shared memory (a stuck peer). Whoever catches
/// Error(Exit::peer_lost) while the session lives should call abort() on the communicator. errors
/// Error(Exit::unavailable) if MPI cannot start or knows no MPI_THREAD_MULTIPLE
class MpiSession {
 public:
  MpiSession();
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;
  /// All ranks, on a channel of its own. Collective.
  [[nodiscard]] std::unique_ptr<Communicator> world();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};
/// "Open MPI v4.1.4, ..."; needs no MpiSession.
[[nodiscard]] std::string mpi_library_version();
/// Whether the library says that it takes pointers to a GPU's memory (CUDA-aware); likewise.
[[nodiscard]] bool mpi_takes_device_memory();

}  // namespace dlt::comm
