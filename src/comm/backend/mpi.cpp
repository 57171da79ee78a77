// SPDX-License-Identifier: Apache-2.0
// MPI. Everything but allreduce is a non-blocking call and a wait that gives its core away, because
// ranks are often more than cores and a rank's communication thread shares its core with a worker.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <map>

#include <mpi.h>
#if defined(OPEN_MPI) && __has_include(<mpi-ext.h>)
#include <mpi-ext.h>
#endif
#include <sched.h>
#include <time.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "comm/backend/mpi_shared.h"
#include "comm/backend/open_mpi_settings.h"
#include "comm/communicator.h"

namespace dlt::comm {
namespace {

/// MPI counts are ints, so long messages travel in pieces.
constexpr std::int64_t kPiece_bytes = std::int64_t{64} << 20;
/// Pieces to other hosts stay below the 64 KiB (headers included) that Open MPI sends over TCP at
/// once. Longer messages wait for their receiver to ask, and where both directions are busy that
/// halves the line's rate: 0.5 to 0.7 of it in exchanges from 1 MB on, against 0.99 in such pieces,
/// on any rate. Other transports carry many pieces under way at once about as fast as one message.
constexpr std::int64_t kFar_piece_bytes = 63 << 10;
constexpr int kTag = 1;

/// What a thread does between looks at its messages: nothing for some microseconds; then it gives
/// the core away, which on one host the sender may need. Bytes that cross a network wait in the
/// system's buffers, so that the thread sleeps: who yields to one that computes is put behind all
/// of its turn (decision 77). Each waking disturbs that one's caches; the longer a message takes,
/// the less a late look costs.
class BetweenLooks {
 public:
  explicit BetweenLooks(bool crosses_network) : num_yields_(crosses_network ? 0 : kYields) {}
  void pass() {
    ++looks_;
    if (looks_ <= kSpins) return;
    if (looks_ <= kSpins + num_yields_) {
      sched_yield();
      return;
    }
    const double now_s = clock_.monotonic_s();
    if (began_s_ < 0) began_s_ = now_s;
    const double nap_s = std::clamp((now_s - began_s_) * kShare, kLeast_nap_s, kMost_nap_s);
    const timespec nap{.tv_sec = 0, .tv_nsec = static_cast<long>(nap_s * 1e9)};
    nanosleep(&nap, nullptr);
  }

 private:
  static constexpr int kSpins = 100, kYields = 100;
  static constexpr double kShare = 1.0 / 8, kLeast_nap_s = 20e-6, kMost_nap_s = 300e-6;
  SystemClock clock_;
  int num_yields_;
  int looks_ = 0;
  double began_s_ = -1;
};

/// What all communicators of a session share; it outlives them.
struct SessionState {
  std::atomic<int> num_calls{0};  // threads that are in a call now
  std::atomic<bool> failed{false};
  std::atomic<bool> finalized{false};
  MpiWindows windows;
};

/// A thread in a call: MPI must not be finalised meanwhile.
class InCall {
 public:
  explicit InCall(SessionState& state) : state_(state) { ++state_.num_calls; }
  ~InCall() { --state_.num_calls; }
  InCall(const InCall&) = delete;
  InCall& operator=(const InCall&) = delete;

 private:
  SessionState& state_;
};

std::string error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) return "unknown error";
  return {text.data(), static_cast<std::size_t>(length)};
}

#define DLT_MPI(function, ...) check(function(__VA_ARGS__), #function)

MPI_Datatype mpi_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return MPI_FLOAT;
    case DType::f64:
      return MPI_DOUBLE;
    case DType::i8:
      return MPI_INT8_T;
    case DType::boolean:
    case DType::u8:
      return MPI_UINT8_T;
    case DType::i16:
      return MPI_INT16_T;
    case DType::u16:
      return MPI_UINT16_T;
    case DType::i32:
      return MPI_INT32_T;
    case DType::u32:
      return MPI_UINT32_T;
    case DType::i64:
      return MPI_INT64_T;
    case DType::u64:
      return MPI_UINT64_T;
    case DType::f16:
    case DType::bf16:
      break;
  }
  throw Error(Exit::internal,
              cat("allreduce: no sums in ", name(dtype), ", expected f32, f64 or integers"));
}

MPI_Op mpi_op(ReduceOp op) {
  switch (op) {
    case ReduceOp::sum:
      return MPI_SUM;
    case ReduceOp::min:
      return MPI_MIN;
    case ReduceOp::max:
      return MPI_MAX;
  }
  return MPI_OP_NULL;
}

/// Calls piece(offset, length) for each part of a range of at most max_piece.
template <typename Piece>
void in_pieces(std::int64_t size, std::int64_t max_piece, Piece piece) {
  for (std::int64_t offset = 0; offset < size; offset += max_piece) {
    piece(offset, static_cast<int>(std::min(max_piece, size - offset)));
  }
}

class MpiCommunicator final : public Communicator {
 public:
  /// Takes over `comm`. Without hosts: finds out who shares memory (collective).
  MpiCommunicator(MPI_Comm comm, std::shared_ptr<SessionState> state, Hosts hosts = {})
      : comm_(comm), state_(std::move(state)), hosts_(std::move(hosts)) {
    DLT_MPI(MPI_Comm_set_errhandler, comm_, MPI_ERRORS_RETURN);
    DLT_MPI(MPI_Comm_rank, comm_, &rank_);
    DLT_MPI(MPI_Comm_size, comm_, &world_size_);
    if (hosts_.empty()) find_hosts();
    find_local();
  }
  ~MpiCommunicator() override {
    // Local in Open MPI and MPICH once no message is under way, which nobody knows after a failure.
    if (!state_->finalized && !state_->failed) MPI_Comm_free(&comm_);
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return world_size_; }
  [[nodiscard]] int local_rank() const override { return local_rank_; }
  [[nodiscard]] int local_size() const override { return local_size_; }
  [[nodiscard]] Hosts hosts() const override { return hosts_; }
  [[nodiscard]] std::string name() const override { return "mpi"; }

  using Communicator::share;
  [[nodiscard]] std::unique_ptr<SharedMemory> share(std::int64_t num_bytes,
                                                    std::int64_t room_bytes) override {
    const InCall call(*state_);
    try {
      return state_->windows.share(&comm_, num_bytes, room_bytes);
    } catch (...) {
      state_->failed = true;
      throw;
    }
  }

  void allreduce(Buffer buffer, ReduceOp op) override {
    const InCall call(*state_);
    const MPI_Datatype type = mpi_type(buffer.dtype);
    const MPI_Op mpi = mpi_op(op);
    const auto element_bytes = static_cast<std::int64_t>(size_bytes(buffer.dtype));
    auto* bytes = static_cast<std::byte*>(buffer.data);
    in_pieces(buffer.count, kPiece_bytes / element_bytes, [&](std::int64_t offset, int count) {
      DLT_MPI(MPI_Allreduce, MPI_IN_PLACE, bytes + offset * element_bytes, count, type, mpi, comm_);
    });
  }

  void broadcast(void* data, std::int64_t num_bytes, int root) override {
    const InCall call(*state_);
    auto* bytes = static_cast<std::byte*>(data);
    in_pieces(num_bytes, kPiece_bytes, [&](std::int64_t offset, int count) {
      begin(1);
      DLT_MPI(MPI_Ibcast, bytes + offset, count, MPI_BYTE, root, comm_, &requests_[0]);
      wait_all();
    });
  }

  void allgather(const void* send, void* recv, std::int64_t num_bytes) override {
    const InCall call(*state_);
    if (num_bytes > kPiece_bytes) return allgather_long(send, recv, num_bytes);
    begin(1);
    const auto count = static_cast<int>(num_bytes);
    DLT_MPI(MPI_Iallgather, send, count, MPI_BYTE, recv, count, MPI_BYTE, comm_, &requests_[0]);
    wait_all();
  }

  void barrier() override {
    const InCall call(*state_);
    begin(1);
    DLT_MPI(MPI_Ibarrier, comm_, &requests_[0]);
    wait_all();
  }

  void exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    const InCall call(*state_);
    begin(0);
    for (const Receive& receive : receives) {
      auto* bytes = static_cast<std::byte*>(receive.data);
      in_pieces(receive.num_bytes, piece_bytes(receive.peer), [&](std::int64_t offset, int count) {
        requests_.push_back(MPI_REQUEST_NULL);
        expected_bytes_.push_back(count);
        DLT_MPI(MPI_Irecv, bytes + offset, count, MPI_BYTE, receive.peer, kTag, comm_,
                &requests_.back());
      });
    }
    for (const Send& send : sends) {
      const auto* bytes = static_cast<const std::byte*>(send.data);
      in_pieces(send.num_bytes, piece_bytes(send.peer), [&](std::int64_t offset, int count) {
        requests_.push_back(MPI_REQUEST_NULL);
        DLT_MPI(MPI_Isend, bytes + offset, count, MPI_BYTE, send.peer, kTag, comm_,
                &requests_.back());
      });
    }
    wait_all();
    check_received();
  }

  [[nodiscard]] std::unique_ptr<Communicator> duplicate() override {
    const InCall call(*state_);
    MPI_Comm copy = MPI_COMM_NULL;
    DLT_MPI(MPI_Comm_dup, comm_, &copy);
    return std::make_unique<MpiCommunicator>(copy, state_, hosts_);
  }

  [[noreturn]] void abort(int exit_code) override {
    MPI_Abort(comm_, exit_code);
    std::_Exit(exit_code);
  }

 private:
  void check(int code, const char* function) {
    if (code == MPI_SUCCESS) return;
    state_->failed = true;
    throw Error(Exit::peer_lost,
                cat("rank ", rank_, ": ", function, " = ", code, " (", error_text(code), ")"));
  }

  void find_hosts() {
    MPI_Comm node = MPI_COMM_NULL;
    DLT_MPI(MPI_Comm_split_type, comm_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node);
    int lowest = rank_;
    DLT_MPI(MPI_Bcast, &lowest, 1, MPI_INT, 0, node);
    DLT_MPI(MPI_Comm_free, &node);
    std::vector<int> lowest_of(static_cast<std::size_t>(world_size_));
    DLT_MPI(MPI_Allgather, &lowest, 1, MPI_INT, lowest_of.data(), 1, MPI_INT, comm_);
    std::map<int, std::vector<int>> ranks_of;
    for (int r = 0; r < world_size_; ++r) {
      ranks_of[lowest_of[static_cast<std::size_t>(r)]].push_back(r);
    }
    for (auto& [rank, ranks] : ranks_of) hosts_.push_back(std::move(ranks));
  }

  void find_local() {
    for (std::size_t h = 0; h < hosts_.size(); ++h) {
      const std::vector<int>& ranks = hosts_[h];
      const auto at = std::find(ranks.begin(), ranks.end(), rank_);
      if (at == ranks.end()) continue;
      host_ = h;
      local_rank_ = static_cast<int>(at - ranks.begin());
      local_size_ = static_cast<int>(ranks.size());
    }
  }

  /// Of messages to and from that rank; the same on both.
  [[nodiscard]] std::int64_t piece_bytes(int peer) const {
    const std::vector<int>& near = hosts_[host_];
    return std::binary_search(near.begin(), near.end(), peer) ? kPiece_bytes : kFar_piece_bytes;
  }

  void begin(std::size_t num_requests) {
    requests_.assign(num_requests, MPI_REQUEST_NULL);
    expected_bytes_.clear();
  }

  /// A failed request leaves the others under way; the session then is unusable and says so.
  void wait_all() {
    statuses_.resize(requests_.size());
    const auto count = static_cast<int>(requests_.size());
    for (BetweenLooks between(hosts_.size() > 1);; between.pass()) {
      int done = 0;
      const int code = MPI_Testall(count, requests_.data(), &done, statuses_.data());
      if (code == MPI_ERR_IN_STATUS) {
        for (const MPI_Status& status : statuses_) {
          if (status.MPI_ERROR != MPI_ERR_PENDING) check(status.MPI_ERROR, "MPI_Testall");
        }
      }
      check(code, "MPI_Testall");
      if (done != 0) return;
    }
  }

  /// A longer message is an MPI error, a shorter one would go unnoticed.
  void check_received() {
    for (std::size_t i = 0; i < expected_bytes_.size(); ++i) {
      int count = 0;
      DLT_MPI(MPI_Get_count, &statuses_[i], MPI_BYTE, &count);
      DLT_CHECK(count == expected_bytes_[i],
                cat("rank ", rank_, ": exchange: rank ", statuses_[i].MPI_SOURCE, " sends ", count,
                    " bytes, expected ", expected_bytes_[i]));
    }
  }

  void allgather_long(const void* send, void* recv, std::int64_t num_bytes) {
    std::vector<Send> sends;
    std::vector<Receive> receives;
    for (int r = 0; r < world_size_; ++r) {
      sends.push_back({.peer = r, .data = send, .num_bytes = num_bytes});
      receives.push_back({.peer = r,
                          .data = static_cast<std::byte*>(recv) + r * num_bytes,
                          .num_bytes = num_bytes});
    }
    exchange(sends, receives);
  }

  MPI_Comm comm_;
  std::shared_ptr<SessionState> state_;
  int rank_ = 0;
  int world_size_ = 1;
  int local_rank_ = 0;
  int local_size_ = 1;
  Hosts hosts_;
  std::size_t host_ = 0;  // this rank's
  // Kept between calls: no allocation once they are large enough.
  std::vector<MPI_Request> requests_;
  std::vector<MPI_Status> statuses_;
  std::vector<int> expected_bytes_;  // of the receives, which come first in requests_
};

}  // namespace

struct MpiSession::Impl {
  std::shared_ptr<SessionState> state = std::make_shared<SessionState>();
  int num_exceptions = std::uncaught_exceptions();
};

MpiSession::MpiSession() : impl_(std::make_unique<Impl>()) {
  const auto check = [](int code, const char* function) {
    if (code == MPI_SUCCESS) return;
    throw Error(Exit::unavailable, cat(function, " = ", code, " (", error_text(code), ")"));
  };
  if (mpi_library_version().rfind("Open MPI", 0) == 0) apply_open_mpi_settings();
  int provided = MPI_THREAD_SINGLE;
  DLT_MPI(MPI_Init_thread, nullptr, nullptr, MPI_THREAD_MULTIPLE, &provided);
  DLT_MPI(MPI_Comm_set_errhandler, MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  if (provided < MPI_THREAD_MULTIPLE) {
    throw Error(Exit::unavailable,
                cat("MPI: expected support for calls from several threads (MPI_THREAD_MULTIPLE = ",
                    MPI_THREAD_MULTIPLE, "), got ", provided),
                "use an MPI library built with thread support: " + mpi_library_version());
  }
}

MpiSession::~MpiSession() {
  SessionState& state = *impl_->state;
  const bool unwinding = std::uncaught_exceptions() > impl_->num_exceptions;
  if (unwinding || state.failed || state.num_calls > 0 || state.windows.in_use()) return;
  state.windows.free_all();
  state.finalized = true;
  MPI_Finalize();
}

std::unique_ptr<Communicator> MpiSession::world() {
  MPI_Comm comm = MPI_COMM_NULL;
  const int code = MPI_Comm_dup(MPI_COMM_WORLD, &comm);
  if (code != MPI_SUCCESS) {
    impl_->state->failed = true;
    throw Error(Exit::peer_lost, cat("MPI_Comm_dup = ", code, " (", error_text(code), ")"));
  }
  return std::make_unique<MpiCommunicator>(comm, impl_->state);
}

std::string mpi_library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  if (MPI_Get_library_version(text.data(), &length) != MPI_SUCCESS) return "MPI";
  const std::string version(text.data(), static_cast<std::size_t>(length));
  return version.substr(0, version.find_first_of(std::string_view("\n\0", 2)));
}

bool mpi_takes_device_memory() {
#ifdef MPIX_CUDA_AWARE_SUPPORT
  return MPIX_Query_cuda_support() == 1;
#else
  return false;
#endif
}

}  // namespace dlt::comm
