// SPDX-License-Identifier: Apache-2.0
// libnccl: what collectives and messages do. Sums run in rank order, rounded to the type after each
// rank's share, as a ring does.
#include "cuda_emulator/nccl_operation.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "cuda_emulator/arithmetic.h"
#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

/// In front of each message: what its reader compares with its own call.
struct Header {
  NcclKind kind;
  std::int32_t type, op, peer;
  std::uint64_t count;
};

std::string call_text(const Header& h) {
  static constexpr const char* kNames[] = {"ncclAllReduce", "ncclReduce",    "ncclReduceScatter",
                                           "ncclAllGather", "ncclBroadcast", "ncclSend",
                                           "ncclRecv"};
  return std::string(kNames[static_cast<int>(h.kind)]) + " of " + std::to_string(h.count) +
         " of type " + std::to_string(h.type) + ", op " + std::to_string(h.op) + ", peer or root " +
         std::to_string(h.peer);
}

template <typename T>
T combine(T a, T b, ncclRedOp_t op) {
  switch (op) {
    case ncclProd:
      return static_cast<T>(a * b);
    case ncclMax:
      return std::max(a, b);
    case ncclMin:
      return std::min(a, b);
    default:
      return static_cast<T>(a + b);
  }
}

template <typename T>
void reduce_plain(std::byte* into, const std::byte* from, std::size_t count, ncclRedOp_t op) {
  auto* a = reinterpret_cast<T*>(into);
  const auto* b = reinterpret_cast<const T*>(from);
  for (std::size_t i = 0; i < count; ++i) a[i] = combine(a[i], b[i], op);
}

void reduce_16(std::byte* into, const std::byte* from, std::size_t count, ncclRedOp_t op,
               cudaDataType type) {
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(count); ++i) {
    store(into, type, i, combine(load(into, type, i), load(from, type, i), op));
  }
}

void reduce_into(std::byte* into, const std::byte* from, std::size_t count,
                 const NcclOperation& o) {
  switch (o.type) {
    case ncclFloat32:
      return reduce_plain<float>(into, from, count, o.op);
    case ncclFloat64:
      return reduce_plain<double>(into, from, count, o.op);
    case ncclInt32:
      return reduce_plain<std::int32_t>(into, from, count, o.op);
    case ncclUint32:
      return reduce_plain<std::uint32_t>(into, from, count, o.op);
    case ncclInt64:
      return reduce_plain<std::int64_t>(into, from, count, o.op);
    case ncclUint64:
      return reduce_plain<std::uint64_t>(into, from, count, o.op);
    case ncclInt8:
      return reduce_plain<std::int8_t>(into, from, count, o.op);
    case ncclUint8:
      return reduce_plain<std::uint8_t>(into, from, count, o.op);
    case ncclBfloat16:
      return reduce_16(into, from, count, o.op, CUDA_R_16BF);
    default:
      return reduce_16(into, from, count, o.op, CUDA_R_16F);
  }
}

void divide(std::byte* values, std::size_t count, ncclDataType_t type, int by) {
  for (std::int64_t i = 0; i < static_cast<std::int64_t>(count); ++i) {
    if (type == ncclFloat64) {
      reinterpret_cast<double*>(values)[i] /= by;
    } else {
      const cudaDataType t = type == ncclFloat32    ? CUDA_R_32F
                             : type == ncclBfloat16 ? CUDA_R_16BF
                                                    : CUDA_R_16F;
      store(values, t, i, load(values, t, i) / static_cast<float>(by));
    }
  }
}

class NcclWork final : public Work {
 public:
  NcclWork(std::shared_ptr<NcclState> state, std::vector<NcclOperation> operations)
      : state_(std::move(state)), number_(state_->num_started++) {
    for (NcclOperation& operation : operations) pieces_.push_back({operation, {}, false});
    for (Piece& piece : pieces_) piece.name = name_of(piece.operation);
  }

  bool ready() const override {
    if (state_->is_aborted) return true;
    // Work of one communicator runs in the order of its calls, whatever its streams.
    if (!state_->is_ready || state_->num_finished != number_) return false;
    return !is_posted_ || is_over() ||
           std::any_of(pieces_.begin(), pieces_.end(), [&](const Piece& p) { return can_take(p); });
  }
  bool step(Lock&) override {
    if (!state_->is_aborted) {
      if (!is_posted_) {
        for (const Piece& piece : pieces_) post(piece);
        is_posted_ = true;
      }
      for (Piece& piece : pieces_) {
        if (can_take(piece)) finish(piece);
      }
      if (!is_over()) return false;
    }
    ++state_->num_finished;
    return true;
  }
  bool polls() const override { return true; }

 private:
  struct Piece {
    NcclOperation operation;
    std::string name;  // of its messages, among those of the same two ranks
    bool has_taken = false;
  };

  std::string name_of(const NcclOperation& o) {
    if (o.kind == NcclKind::send) return "message" + std::to_string(state_->num_sent[o.peer]++);
    if (o.kind == NcclKind::receive)
      return "message" + std::to_string(state_->num_received[o.peer]++);
    return "collective" + std::to_string(state_->num_collectives++);
  }
  [[nodiscard]] std::vector<int> all_ranks() const {
    std::vector<int> ranks(static_cast<std::size_t>(state_->world_size));
    std::iota(ranks.begin(), ranks.end(), 0);
    return ranks;
  }
  [[nodiscard]] bool has_root(const NcclOperation& o) const {
    return o.kind == NcclKind::broadcast || o.kind == NcclKind::reduce;
  }
  /// Whose messages it needs.
  [[nodiscard]] std::vector<int> senders(const NcclOperation& o) const {
    if (o.kind == NcclKind::send) return {};
    if (o.kind == NcclKind::receive || o.kind == NcclKind::broadcast) return {o.peer};
    if (o.kind == NcclKind::reduce && o.peer != state_->rank) return {};
    return all_ranks();
  }
  [[nodiscard]] std::vector<int> readers(const NcclOperation& o) const {
    if (o.kind == NcclKind::receive) return {};
    if (o.kind == NcclKind::send || o.kind == NcclKind::reduce) return {o.peer};
    if (o.kind == NcclKind::broadcast && o.peer != state_->rank) return {};
    return all_ranks();
  }
  [[nodiscard]] std::size_t sent_count(const NcclOperation& o) const {
    return o.kind == NcclKind::reduce_scatter
               ? o.count * static_cast<std::size_t>(state_->world_size)
               : o.count;
  }
  [[nodiscard]] Header header(const NcclOperation& o) const {
    const bool names_peer = has_root(o);
    return {o.kind == NcclKind::receive ? NcclKind::send : o.kind, o.type,
            o.is_message() ? 0 : o.op, names_peer ? o.peer : 0, o.count};
  }

  void post(const Piece& piece) {
    const NcclOperation& o = piece.operation;
    const std::vector<int> to = readers(o);
    if (to.empty()) return;
    const Header head = header(o);
    const std::size_t num_bytes = sent_count(o) * nccl_size_of(o.type);
    std::vector<std::byte> message(sizeof head + num_bytes);
    std::memcpy(message.data(), &head, sizeof head);
    if (num_bytes != 0) std::memcpy(message.data() + sizeof head, o.from, num_bytes);
    state_->exchange.post(piece.name, to, message);
  }
  /// All that it reads is there and has not been taken yet.
  [[nodiscard]] bool can_take(const Piece& piece) const {
    const std::vector<int> from = senders(piece.operation);
    return !piece.has_taken && std::all_of(from.begin(), from.end(), [&](int sender) {
      return state_->exchange.has_come(piece.name, sender);
    });
  }
  /// A send is over when it has been received: NCCL need not buffer it.
  [[nodiscard]] bool is_over() const {
    return std::all_of(pieces_.begin(), pieces_.end(), [&](const Piece& piece) {
      const NcclOperation& o = piece.operation;
      return piece.has_taken &&
             (o.kind != NcclKind::send || state_->exchange.was_taken(piece.name, o.peer));
    });
  }
  [[nodiscard]] std::vector<std::byte> take(const Piece& piece, int sender) {
    std::vector<std::byte> message = state_->exchange.take(piece.name, sender);
    Header theirs{};
    std::memcpy(&theirs, message.data(), sizeof theirs);
    const Header ours = header(piece.operation);
    if (std::memcmp(&ours, &theirs, sizeof ours) != 0) {
      fail("nccl: rank " + std::to_string(state_->rank) + " calls " + call_text(ours) +
           " where rank " + std::to_string(sender) + " calls " + call_text(theirs));
    }
    message.erase(message.begin(), message.begin() + sizeof theirs);
    return message;
  }
  void finish(Piece& piece) {
    piece.has_taken = true;
    const NcclOperation& o = piece.operation;
    const std::size_t num_bytes = o.count * nccl_size_of(o.type);
    auto* to = static_cast<std::byte*>(o.to);
    std::vector<std::byte> sum;
    for (const int sender : senders(o)) {
      const std::vector<std::byte> message = take(piece, sender);
      const std::size_t own = o.kind == NcclKind::reduce_scatter
                                  ? static_cast<std::size_t>(state_->rank) * num_bytes
                                  : 0;
      if (num_bytes == 0) continue;
      if (o.kind == NcclKind::allgather) {
        std::memcpy(to + static_cast<std::size_t>(sender) * num_bytes, message.data(), num_bytes);
      } else if (o.kind == NcclKind::receive || o.kind == NcclKind::broadcast) {
        std::memcpy(to, message.data(), num_bytes);
      } else if (sum.empty()) {
        sum.assign(message.data() + own, message.data() + own + num_bytes);
      } else {
        reduce_into(sum.data(), message.data() + own, o.count, o);
      }
    }
    if (sum.empty()) return;
    if (o.op == ncclAvg) divide(sum.data(), o.count, o.type, state_->world_size);
    std::memcpy(to, sum.data(), num_bytes);
  }

  std::shared_ptr<NcclState> state_;
  std::uint64_t number_;
  std::vector<Piece> pieces_;
  bool is_posted_ = false;
};

}  // namespace

std::size_t nccl_size_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

MakeWork nccl_work(std::shared_ptr<NcclState> state, std::vector<NcclOperation> operations) {
  return [state = std::move(state), operations = std::move(operations)]() -> std::unique_ptr<Work> {
    return std::make_unique<NcclWork>(state, operations);
  };
}

}  // namespace dlt::emulator
