// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/position_order.h"
#include "backend/cuda/reduce.h"

namespace dlt::cuda {
namespace {

constexpr int kOrderThreads = 256;
constexpr int kDigits = 256;  // one for each thread
constexpr int kWarps = kOrderThreads / kWarp;
constexpr int kRounds = 4;                                        // positions of a lane
constexpr std::int64_t kTilePositions = kOrderThreads * kRounds;  // positions of a block

/// One pass. `in` null: the positions are in their own order.
struct Pass {
  IdKeys keys;
  std::int64_t count, tiles;
  int shift;
  const std::int32_t* in;
  std::int32_t* out;
  unsigned* starts;  // [kDigits, tiles]

  [[nodiscard]] __device__ std::int32_t position(std::int64_t i) const {
    return in == nullptr ? static_cast<std::int32_t>(i) : in[i];
  }
  [[nodiscard]] __device__ unsigned digit(std::int32_t position) const {
    return static_cast<unsigned>(keys.key(position) >> shift) % kDigits;
  }
  /// Warp w has positions w 128 to w 128 + 127 of the block's tile, 32 a round.
  [[nodiscard]] __device__ std::int64_t place(int round) const {
    return blockIdx.x * kTilePositions + threadIdx.x / kWarp * (kWarp * kRounds) + round * kWarp +
           threadIdx.x % kWarp;
  }
};

/// How often each digit occurs in each tile.
__global__ void __launch_bounds__(kOrderThreads) count_digits(Pass p) {
  __shared__ unsigned counts[kDigits];
  counts[threadIdx.x] = 0;
  __syncthreads();
  for (int round = 0; round < kRounds; ++round) {
    const std::int64_t i = p.place(round);
    if (i < p.count) atomicAdd(&counts[p.digit(p.position(i))], 1U);
  }
  __syncthreads();
  p.starts[threadIdx.x * p.tiles + blockIdx.x] = counts[threadIdx.x];
}

/// Each count becomes the sum of those in front of it. One block; a thread has a digit.
__global__ void __launch_bounds__(kOrderThreads) sum_counts(Pass p) {
  __shared__ unsigned totals[kDigits];
  unsigned* mine = p.starts + threadIdx.x * p.tiles;
  unsigned total = 0;
  for (std::int64_t tile = 0; tile < p.tiles; ++tile) total += mine[tile];
  totals[threadIdx.x] = total;
  __syncthreads();
  unsigned start = 0;
  for (unsigned digit = 0; digit < threadIdx.x; ++digit) start += totals[digit];
  for (std::int64_t tile = 0; tile < p.tiles; ++tile) {
    const unsigned here = mine[tile];
    mine[tile] = start;
    start += here;
  }
}

/// The lanes whose digit is this lane's, of those that have a position; 0 in a lane that has none.
__device__ unsigned lanes_alike(unsigned digit, bool has_position) {
  unsigned alike = __ballot_sync(kAllLanes, has_position);
  for (int bit = 0; bit < 8; ++bit) {
    const bool set = (digit >> bit) % 2 != 0;
    const unsigned with = __ballot_sync(kAllLanes, set);
    alike &= set ? with : ~with;
  }
  return has_position ? alike : 0;
}

/// Moves each position to its digit's next place, in order.
__global__ void __launch_bounds__(kOrderThreads) move_positions(Pass p) {
  __shared__ unsigned next[kWarps][kDigits];
  const unsigned warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const unsigned lanes_before = (1U << lane) - 1;
  for (int w = 0; w < kWarps; ++w) next[w][threadIdx.x] = 0;
  __syncthreads();
  std::int32_t position[kRounds];
  unsigned digit[kRounds], alike[kRounds];
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const std::int64_t i = p.place(round);
    position[round] = i < p.count ? p.position(i) : 0;
    digit[round] = p.digit(position[round]);
    alike[round] = lanes_alike(digit[round], i < p.count);
    const bool first = alike[round] != 0 && (alike[round] & lanes_before) == 0;
    if (first) next[warp][digit[round]] += static_cast<unsigned>(__popc(alike[round]));
    __syncwarp();
  }
  __syncthreads();
  unsigned start = p.starts[threadIdx.x * p.tiles + blockIdx.x];
  for (int w = 0; w < kWarps; ++w) {
    const unsigned here = next[w][threadIdx.x];
    next[w][threadIdx.x] = start;
    start += here;
  }
  __syncthreads();
#pragma unroll
  for (int round = 0; round < kRounds; ++round) {
    const unsigned before = alike[round] & lanes_before;
    if (alike[round] != 0) {
      p.out[next[warp][digit[round]] + static_cast<unsigned>(__popc(before))] = position[round];
    }
    __syncwarp();
    if (alike[round] != 0 && before == 0) {
      next[warp][digit[round]] += static_cast<unsigned>(__popc(alike[round]));
    }
    __syncwarp();
  }
}

}  // namespace

PositionOrder::PositionOrder(std::int64_t count, std::int64_t rows)
    : count_(count), tiles_((count + kTilePositions - 1) / kTilePositions) {
  while ((rows >> (8 * passes_)) > 0) ++passes_;
}

std::int64_t PositionOrder::order_bytes() const { return (4 * count_ + 63) / 64 * 64; }

std::int64_t PositionOrder::scratch_bytes() const {
  return 2 * order_bytes() + 4 * kDigits * tiles_;
}

const std::int32_t* PositionOrder::enqueue(const IdKeys& keys, std::byte* scratch,
                                           cudaStream_t stream) const {
  std::int32_t* orders[] = {reinterpret_cast<std::int32_t*>(scratch),
                            reinterpret_cast<std::int32_t*>(scratch + order_bytes())};
  auto* starts = reinterpret_cast<unsigned*>(scratch + 2 * order_bytes());
  const Grid grid{.blocks = dim3(static_cast<unsigned>(tiles_)), .threads = dim3(kOrderThreads)};
  for (int pass = 0; pass < passes_; ++pass) {
    const Pass p{keys,
                 count_,
                 tiles_,
                 8 * pass,
                 pass == 0 ? nullptr : orders[(pass - 1) % 2],
                 orders[pass % 2],
                 starts};
    launch(count_digits, grid, stream, p);
    launch(sum_counts, {.blocks = dim3(1), .threads = dim3(kOrderThreads)}, stream, p);
    launch(move_positions, grid, stream, p);
  }
  return orders[(passes_ - 1) % 2];
}

}  // namespace dlt::cuda
