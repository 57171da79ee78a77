// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <random>

#include <vector_types.h>

namespace dlt::emulator {

inline constexpr std::size_t kMaxShared_bytes = 227 << 10;

/// What one emulated thread sees as threadIdx, blockIdx, blockDim and gridDim. One kernel runs at a
/// time in the process (the engine's lock), so one copy is enough.
struct Indices {
  uint3 thread{}, block{};
  dim3 block_dim{}, grid_dim{};
};
extern Indices indices;

struct GridShape {
  dim3 blocks, threads;
  std::size_t shared_bytes = 0;
};

/// Runs body(arguments) once for each thread of the grid. kernel names it in reports.
struct GridCall {
  GridShape shape;
  void (*body)(const void* arguments) = nullptr;
  const void* arguments = nullptr;
  const void* kernel = nullptr;
};
void run_grid(const GridCall& call, std::mt19937_64& random);

/// The kernel that this thread runs now, or null.
[[nodiscard]] const void* running_kernel();

/// What a kernel may call from inside run_grid().
enum class Meeting : std::uint8_t {
  none,
  sync_threads,
  sync_threads_vote,
  sync_warp,
  shuffle,
  ballot
};
void meet_block();
/// The number of threads of the block that came with a true predicate.
[[nodiscard]] int meet_block_counting(bool predicate);
void meet_warp(unsigned mask);
/// Replaces the value by that of the lane of this warp.
void shuffle(unsigned mask, void* value, std::size_t num_bytes, unsigned source_lane);
[[nodiscard]] unsigned ballot(unsigned mask, bool predicate);
[[nodiscard]] void* dynamic_shared_memory();

}  // namespace dlt::emulator
