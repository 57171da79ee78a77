// SPDX-License-Identifier: Apache-2.0
// embedding_grad without atomics: positions are ordered by token and cut into pieces of equal
// length, however often a token occurs. A run of one token inside a piece is a row of the result;
// what a piece has of longer runs is kept, and added by the piece in which the run begins.
#include <cstdint>
#include <limits>
#include <memory>

#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/position_order.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/reduce.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;

constexpr std::int64_t kPiece = 32;
constexpr int kRowsInFlight = 8;  // rows in flight
constexpr int kRowThreads = 256;

struct EmbeddingGrad {
  IdKeys keys;
  const std::int32_t* order;
  const float* dy;
  float* dw;
  float *heads, *tails;  // [pieces, width]: of runs that began before the piece, or go on behind it
  std::int64_t count, width;

  [[nodiscard]] __device__ std::int64_t key(std::int64_t i) const { return keys.key(order[i]); }
  /// Whether positions i - 1 and i of the order are of one run.
  [[nodiscard]] __device__ bool joined(std::int64_t i) const {
    return i > 0 && i < count && key(i - 1) == key(i);
  }
  /// What is summed of a run from `first` to before `end` in a piece goes where it belongs.
  __device__ void store(std::int64_t piece, std::int64_t first, std::int64_t end, std::int64_t c,
                        float sum) const {
    const std::int64_t run = key(first);
    if (run == keys.rows) return;
    if (first == piece * kPiece && joined(first)) {
      heads[piece * width + c] = sum;
    } else if (end % kPiece == 0 && joined(end)) {
      tails[piece * width + c] = sum;
    } else {
      dw[run * width + c] = sum;
    }
  }
};

/// Blocks along x are columns, along y pieces.
__global__ void __launch_bounds__(kRowThreads) sum_pieces(EmbeddingGrad p, std::int64_t pieces) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= p.width) return;
  for (std::int64_t piece = blockIdx.y; piece < pieces; piece += gridDim.y) {
    const std::int64_t end = min((piece + 1) * kPiece, p.count);
    std::int64_t first = piece * kPiece, run = p.key(first);
    float sum = 0;
    for (std::int64_t start = first; start < end; start += kRowsInFlight) {
      float rows[kRowsInFlight] = {};
      std::int64_t keys[kRowsInFlight] = {};
#pragma unroll
      for (int k = 0; k < kRowsInFlight; ++k) {
        if (start + k >= end) continue;
        const std::int64_t position = p.order[start + k];
        keys[k] = p.keys.key(position);
        rows[k] = p.dy[position * p.width + c];
      }
#pragma unroll
      for (int k = 0; k < kRowsInFlight; ++k) {
        if (start + k >= end) continue;
        if (keys[k] != run) {
          p.store(piece, first, start + k, c, sum);
          first = start + k;
          run = keys[k];
          sum = 0;
        }
        sum += rows[k];
      }
    }
    p.store(piece, first, end, c, sum);
  }
}

/// The rows of runs that end in another piece than they begin in.
__global__ void __launch_bounds__(kRowThreads) join_pieces(EmbeddingGrad p, std::int64_t pieces) {
  const std::int64_t c = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= p.width) return;
  for (std::int64_t piece = blockIdx.y; piece < pieces; piece += gridDim.y) {
    const std::int64_t start = piece * kPiece, end = start + kPiece;
    if (!p.joined(end)) continue;
    const std::int64_t run = p.key(end);
    const bool began_before = p.joined(start) && p.key(start) == run;
    if (began_before || run == p.keys.rows) continue;
    double sum = static_cast<double>(p.tails[piece * p.width + c]);
    for (std::int64_t next = piece + 1; next < pieces; ++next) {
      sum += static_cast<double>(p.heads[next * p.width + c]);
      const std::int64_t behind = (next + 1) * kPiece;
      if (!p.joined(behind) || p.key(behind) != run) break;
    }
    p.dw[run * p.width + c] = static_cast<float>(sum);
  }
}

class EmbeddingGradKernel final : public Kernel {
 public:
  explicit EmbeddingGradKernel(const KernelSpec& spec)
      : count_(spec.inputs[0].shape.numel()),
        rows_(spec.outputs[0].shape[0]),
        width_(spec.outputs[0].shape[1]),
        pieces_((count_ + kPiece - 1) / kPiece),
        order_(count_, rows_) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return 2 * sums_bytes() + order_.scratch_bytes();
  }
  void run(const KernelArgs& args) const override {
    args.run.queue->zero(args.outputs[0].data, args.outputs[0].type.bytes());
    if (count_ == 0 || width_ == 0) return;
    EmbeddingGrad p{};
    p.keys = {args.inputs[0].as<const std::int32_t>(), rows_};
    p.order = order_.enqueue(p.keys, args.scratch + 2 * sums_bytes(), stream_of(args));
    p.dy = args.inputs[1].as<const float>();
    p.dw = args.outputs[0].as<float>();
    p.heads = reinterpret_cast<float*>(args.scratch);
    p.tails = reinterpret_cast<float*>(args.scratch + sums_bytes());
    p.count = count_;
    p.width = width_;
    launch(sum_pieces, launch_grid(), stream_of(args), p, pieces_);
    if (pieces_ > 1) launch(join_pieces, launch_grid(), stream_of(args), p, pieces_);
  }

 private:
  [[nodiscard]] std::int64_t sums_bytes() const { return (4 * pieces_ * width_ + 63) / 64 * 64; }
  [[nodiscard]] Grid launch_grid() const {
    constexpr std::int64_t kMostPieces = 65535;
    const std::int64_t threads =
        std::min<std::int64_t>(kRowThreads, (width_ + kWarp - 1) / kWarp * kWarp);
    return {.blocks = dim3(static_cast<unsigned>((width_ + threads - 1) / threads),
                           static_cast<unsigned>(std::min(kMostPieces, pieces_))),
            .threads = dim3(static_cast<unsigned>(threads))};
  }

  std::int64_t count_, rows_, width_, pieces_;
  PositionOrder order_;
};

}  // namespace

std::unique_ptr<Kernel> make_embedding_grad(const KernelSpec& spec, const DeviceLibraries&) {
  const bool fits = spec.inputs[0].shape.numel() <= std::numeric_limits<std::int32_t>::max();
  return fits && floats_are_f32(spec) ? std::make_unique<EmbeddingGradKernel>(spec) : nullptr;
}

}  // namespace dlt::cuda
