// SPDX-License-Identifier: Apache-2.0
// Memory that the ranks of a host share: MPI-3 shared windows. They are used by plain loads, stores
// and C++ atomics; no other MPI call touches them.
#include "comm/backend/mpi_shared.h"

#include <atomic>
#include <cstring>
#include <vector>

#include <mpi.h>
#include <sys/mman.h>
#include <sys/statvfs.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::comm {
namespace {

constexpr std::uintptr_t kPage_bytes = 4096;
/// Where Open MPI and MPICH put the windows' files, and what else they may put there meanwhile.
constexpr const char* kBacking_folder = "/dev/shm";
constexpr std::int64_t kSpare_bytes = 16 << 20;

#define DLT_MPI(function, ...) check(function(__VA_ARGS__), #function)

void check(int code, const char* function) {
  if (code == MPI_SUCCESS) return;
  throw Error(Exit::peer_lost, cat("shared memory: ", function, " = ", code));
}

/// Is there room for the segments of all ranks of this host? The files are sparse: without asking
/// first, the first write that finds no page would end the process.
bool has_room(std::int64_t num_bytes) {
  struct statvfs info {};
  if (::statvfs(kBacking_folder, &info) != 0) return true;  // MPI knows another place
  const auto free_bytes =
      static_cast<std::int64_t>(info.f_bavail) * static_cast<std::int64_t>(info.f_frsize);
  return free_bytes >= num_bytes + kSpare_bytes;
}

int least(int value, MPI_Comm comm) {
  int result = 0;
  DLT_MPI(MPI_Allreduce, &value, &result, 1, MPI_INT, MPI_MIN, comm);
  return result;
}

std::byte* first_whole_page(void* data) {
  const auto at = reinterpret_cast<std::uintptr_t>(data);
  return static_cast<std::byte*>(data) + ((at + kPage_bytes - 1) / kPage_bytes * kPage_bytes - at);
}

struct Window {
  MPI_Win win = MPI_WIN_NULL;
  std::atomic<bool> released{false};
};

class WindowMemory final : public SharedMemory {
 public:
  WindowMemory(std::shared_ptr<Window> window, std::vector<std::byte*> segments)
      : window_(std::move(window)), segments_(std::move(segments)) {}
  ~WindowMemory() override { window_->released = true; }
  [[nodiscard]] std::byte* segment(int local_rank) const override {
    return segments_[static_cast<std::size_t>(local_rank)];
  }

 private:
  std::shared_ptr<Window> window_;
  std::vector<std::byte*> segments_;
};

}  // namespace

struct MpiWindows::Impl {
  MPI_Comm host = MPI_COMM_NULL;                 // the ranks of this host, ascending
  std::vector<std::shared_ptr<Window>> windows;  // in the order made: the same on all of them

  void find_host(MPI_Comm comm) {
    if (host != MPI_COMM_NULL) return;
    int rank = 0;
    DLT_MPI(MPI_Comm_rank, comm, &rank);
    DLT_MPI(MPI_Comm_split_type, comm, MPI_COMM_TYPE_SHARED, rank, MPI_INFO_NULL, &host);
    DLT_MPI(MPI_Comm_set_errhandler, host, MPI_ERRORS_RETURN);
  }

  /// Gives back the windows that no rank of the host uses any more.
  void reclaim() {
    if (windows.empty()) return;
    std::vector<int> released;
    for (const auto& window : windows) released.push_back(window->released ? 1 : 0);
    DLT_MPI(MPI_Allreduce, MPI_IN_PLACE, released.data(), static_cast<int>(released.size()),
            MPI_INT, MPI_MIN, host);
    std::vector<std::shared_ptr<Window>> kept;
    for (std::size_t i = 0; i < windows.size(); ++i) {
      if (released[i] == 0) {
        kept.push_back(windows[i]);
      } else {
        DLT_MPI(MPI_Win_free, &windows[i]->win);
      }
    }
    windows = std::move(kept);
  }

  /// The window, or null where MPI has none to give.
  std::shared_ptr<Window> allocate(std::int64_t num_bytes, void** data) {
    auto window = std::make_shared<Window>();
    MPI_Info info = MPI_INFO_NULL;
    DLT_MPI(MPI_Info_create, &info);
    DLT_MPI(MPI_Info_set, info, "alloc_shared_noncontig", "true");
    const int code = MPI_Win_allocate_shared(static_cast<MPI_Aint>(num_bytes), 1, info, host, data,
                                             &window->win);
    DLT_MPI(MPI_Info_free, &info);
    return code == MPI_SUCCESS ? window : nullptr;
  }
};

MpiWindows::MpiWindows() : impl_(std::make_unique<Impl>()) {}
MpiWindows::~MpiWindows() = default;

std::unique_ptr<SharedMemory> MpiWindows::share(const void* comm, std::int64_t num_bytes,
                                                std::int64_t room_bytes) {
  MPI_Comm all = *static_cast<const MPI_Comm*>(comm);
  impl_->find_host(all);
  impl_->reclaim();
  const std::int64_t mapped_bytes = num_bytes + static_cast<std::int64_t>(kPage_bytes);
  const std::int64_t wanted_bytes = mapped_bytes + room_bytes;
  std::int64_t host_bytes = 0;
  DLT_MPI(MPI_Allreduce, &wanted_bytes, &host_bytes, 1, MPI_INT64_T, MPI_SUM, impl_->host);
  if (least(has_room(host_bytes) ? 1 : 0, all) == 0) return nullptr;

  void* mine = nullptr;
  std::shared_ptr<Window> window = impl_->allocate(mapped_bytes, &mine);
  // A window that only some ranks got cannot be given back; it stays till the end.
  if (least(window ? 1 : 0, all) == 0) return nullptr;
  impl_->windows.push_back(window);

  int host_size = 0;
  DLT_MPI(MPI_Comm_size, impl_->host, &host_size);
  std::vector<std::byte*> segments;
  for (int r = 0; r < host_size; ++r) {
    MPI_Aint size = 0;
    int unit = 0;
    void* data = nullptr;
    DLT_MPI(MPI_Win_shared_query, window->win, r, &size, &unit, &data);
    segments.push_back(first_whole_page(data));
  }
  std::memset(first_whole_page(mine), 0, static_cast<std::size_t>(num_bytes));
  DLT_MPI(MPI_Barrier, impl_->host);  // nobody finds what is cleared later
  return std::make_unique<WindowMemory>(std::move(window), std::move(segments));
}

bool MpiWindows::in_use() const {
  for (const auto& window : impl_->windows) {
    if (!window->released) return true;
  }
  return false;
}

void MpiWindows::free_all() {
  for (const auto& window : impl_->windows) MPI_Win_free(&window->win);
  impl_->windows.clear();
  if (impl_->host != MPI_COMM_NULL) MPI_Comm_free(&impl_->host);
}

}  // namespace dlt::comm
