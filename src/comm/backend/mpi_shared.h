// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>

#include "comm/communicator.h"

namespace dlt::comm {

/// The shared windows of an MPI session. To give a window back, all ranks of its host must come
/// together, which a destructor may not wait for; so a SharedMemory that is destroyed only says so,
/// and the next share() or free_all() gives back what all ranks have destroyed.
class MpiWindows {
 public:
  MpiWindows();
  ~MpiWindows();
  MpiWindows(const MpiWindows&) = delete;
  MpiWindows& operator=(const MpiWindows&) = delete;

  /// comm points to an MPI_Comm of all ranks. As Communicator::share().
  /// errors  Error(Exit::peer_lost) if MPI fails at anything but finding the memory
  [[nodiscard]] std::unique_ptr<SharedMemory> share(const void* comm, std::int64_t num_bytes,
                                                    std::int64_t room_bytes);
  /// A window of this rank that nobody has destroyed: somebody may still be using it.
  [[nodiscard]] bool in_use() const;
  /// Before MPI_Finalize, on all ranks.
  void free_all();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::comm
