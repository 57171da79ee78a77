// SPDX-License-Identifier: Apache-2.0
// Kernels over the columns of a matrix [rows, channels]: sums along the rows in two stages, without
// atomics, and what is done to each element with its column's numbers. The cut is the same on every
// device, so that the bits are, too.
#pragma once

#include <algorithm>
#include <cstdint>

#include "backend/cuda/device.h"

namespace dlt::cuda {

constexpr int kColumnThreads = 256;
constexpr int kFinishThreads = 1024;
constexpr int kBatch = 8;  // rows that a thread has in flight

/// A block takes `width` channels side by side and `lanes` rows at a time of its rows.
struct ColumnGrid {
  std::int64_t rows = 0, channels = 0;
  std::int64_t rows_per_block = 0;
  std::int64_t chunks = 0;  // blocks along the rows
  int width = 1, lanes = 1;

  ColumnGrid(std::int64_t num_rows, std::int64_t num_channels)
      : rows(num_rows), channels(num_channels) {
    while (width < 32 && width < channels) width *= 2;
    lanes = kColumnThreads / width;
    constexpr std::int64_t kBlocks = 1024, kMinRows = 4;  // of a thread
    const std::int64_t most = std::max<std::int64_t>(1, rows / (lanes * kMinRows));
    const std::int64_t wanted = std::clamp<std::int64_t>(kBlocks / tiles(), 1, most);
    rows_per_block = ((rows + wanted - 1) / wanted + lanes - 1) / lanes * lanes;
    chunks = std::max<std::int64_t>(1, (rows + rows_per_block - 1) / rows_per_block);
  }
  [[nodiscard]] std::int64_t tiles() const { return (channels + width - 1) / width; }
  /// Places for the parts of the first stage.
  [[nodiscard]] std::int64_t num_parts() const { return chunks * channels; }
};

/// The rows of one channel that a thread goes through: first, first + step, ... below end.
struct ColumnRows {
  std::int64_t channel = 0, first = 0, end = 0, step = 1;
};

/// load(row) for kBatch rows, then use(row, what it gave) for them in order, then done(); and
/// again.
template <typename Load, typename Use, typename Done>
__device__ void over_rows(const ColumnRows& rows, Load load, Use use, Done done) {
  for (std::int64_t start = rows.first; start < rows.end; start += kBatch * rows.step) {
    decltype(load(start)) values[kBatch] = {};
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const std::int64_t row = start + k * rows.step;
      if (row < rows.end) values[k] = load(row);
    }
#pragma unroll
    for (int k = 0; k < kBatch; ++k) {
      const std::int64_t row = start + k * rows.step;
      if (row < rows.end) use(row, values[k]);
    }
    done();
  }
}

/// Which sample of `rows` rows a row of a walk belongs to.
class SampleWalk {
 public:
  __device__ SampleWalk(const ColumnRows& walk, std::int64_t rows)
      : rows_(rows),
        sample_(walk.first / rows),
        row_(walk.first % rows),
        samples_a_step_(walk.step / rows),
        rows_a_step_(walk.step % rows) {}
  /// The sample of the next row of the walk.
  __device__ std::int64_t next() {
    const std::int64_t sample = sample_;
    sample_ += samples_a_step_;
    row_ += rows_a_step_;
    if (row_ >= rows_) {
      row_ -= rows_;
      ++sample_;
    }
    return sample;
  }

 private:
  std::int64_t rows_, sample_, row_, samples_a_step_, rows_a_step_;
};

/// Two sums and a count: f32 within a batch of rows, f64 beyond.
struct FloatSums {
  float a, b;
};
struct Sums {
  double a, b, count;
  __device__ void merge(const Sums& other) {
    a += other.a;
    b += other.b;
    count += other.count;
  }
  __device__ void merge(const FloatSums& other) {
    a += static_cast<double>(other.a);
    b += static_cast<double>(other.b);
  }
};
class SumsOfRows {
 public:
  __device__ void add(float a, float b) {
    a_ += a;
    b_ += b;
    ++count_;
  }
  __device__ void flush() {
    total_a_ += static_cast<double>(a_);
    total_b_ += static_cast<double>(b_);
    a_ = b_ = 0;
  }
  [[nodiscard]] __device__ Sums total() const {
    return {total_a_, total_b_, static_cast<double>(count_)};
  }
  [[nodiscard]] __device__ bool empty() const { return count_ == 0; }

 private:
  float a_ = 0, b_ = 0;
  double total_a_ = 0, total_b_ = 0;
  std::int64_t count_ = 0;
};

/// The merge of the `lanes` threads of each of `width` channels, in the first of them. Part is a
/// plain struct.
template <typename Part>
__device__ void merge_lanes(int width, int lanes, Part* parts) {
  const int lane = static_cast<int>(threadIdx.x) / width;
  for (int half = lanes / 2; half > 0; half /= 2) {
    __syncthreads();
    if (lane < half) parts[threadIdx.x].merge(parts[static_cast<int>(threadIdx.x) + half * width]);
  }
}

/// First stage: op.part(ColumnRows) of each thread, merged over the block. Where one block has all
/// rows of a channel, op.finish(channel, part) at once.
template <typename Op>
__global__ void __launch_bounds__(kColumnThreads)
    sum_columns(ColumnGrid grid, Op op, typename Op::Part* parts) {
  using Part = typename Op::Part;
  auto* shared = dynamic_shared<Part>();
  const int lane = static_cast<int>(threadIdx.x) / grid.width;
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * grid.width +
                               static_cast<int>(threadIdx.x) % grid.width;
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.y) * grid.rows_per_block;
  const std::int64_t end = min(grid.rows, start + grid.rows_per_block);
  shared[threadIdx.x] = channel < grid.channels
                            ? op.part(ColumnRows{channel, start + lane, end, grid.lanes})
                            : Part{};
  merge_lanes(grid.width, grid.lanes, shared);
  if (lane != 0 || channel >= grid.channels) return;
  if (grid.chunks == 1) {
    op.finish(channel, shared[threadIdx.x]);
  } else {
    parts[static_cast<std::int64_t>(blockIdx.y) * grid.channels + channel] = shared[threadIdx.x];
  }
}

/// Second stage: op.finish(channel, the merge of what `parts` [chunks, channels] holds of it).
template <typename Op, typename Stored>
__global__ void __launch_bounds__(kFinishThreads)
    finish_columns(ColumnGrid grid, std::int64_t chunks, Op op, const Stored* parts) {
  using Part = typename Op::Part;
  auto* shared = dynamic_shared<Part>();
  const int lane = static_cast<int>(threadIdx.x) / grid.width;
  const int lanes = kFinishThreads / grid.width;
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * grid.width +
                               static_cast<int>(threadIdx.x) % grid.width;
  Part part{};
  if (channel < grid.channels) {
    for (std::int64_t chunk = lane; chunk < chunks; chunk += lanes) {
      part.merge(parts[chunk * grid.channels + channel]);
    }
  }
  shared[threadIdx.x] = part;
  merge_lanes(grid.width, lanes, shared);
  if (lane == 0 && channel < grid.channels) op.finish(channel, shared[threadIdx.x]);
}

/// op.apply(ColumnRows) of each thread.
template <typename Op>
__global__ void __launch_bounds__(kColumnThreads) apply_to_columns(ColumnGrid grid, Op op) {
  const std::int64_t channel = static_cast<std::int64_t>(blockIdx.x) * grid.width +
                               static_cast<int>(threadIdx.x) % grid.width;
  if (channel >= grid.channels) return;
  const std::int64_t start = static_cast<std::int64_t>(blockIdx.y) * grid.rows_per_block;
  op.apply(ColumnRows{channel, start + static_cast<int>(threadIdx.x) / grid.width,
                      min(grid.rows, start + grid.rows_per_block), grid.lanes});
}

/// The second stage alone, of any number of parts.
template <typename Op, typename Stored>
void finish_parts(const ColumnGrid& grid, std::int64_t chunks, const Op& op, const Stored* parts,
                  cudaStream_t stream) {
  launch(finish_columns<Op, Stored>,
         {.blocks = dim3(static_cast<unsigned>(grid.tiles())),
          .threads = dim3(kFinishThreads),
          .shared_bytes = kFinishThreads * sizeof(typename Op::Part)},
         stream, grid, chunks, op, parts);
}

/// Bytes of scratch that reduce_columns wants.
template <typename Op>
[[nodiscard]] std::int64_t column_scratch_bytes(const ColumnGrid& grid) {
  return grid.chunks == 1 ? 0
                          : grid.num_parts() * static_cast<std::int64_t>(sizeof(typename Op::Part));
}

/// Both stages. Op: a plain struct with Part, part() and finish().
template <typename Op>
void reduce_columns(const ColumnGrid& grid, const Op& op, std::byte* scratch, cudaStream_t stream) {
  using Part = typename Op::Part;
  auto* parts = reinterpret_cast<Part*>(scratch);
  launch(sum_columns<Op>,
         {.blocks = dim3(static_cast<unsigned>(grid.tiles()), static_cast<unsigned>(grid.chunks)),
          .threads = dim3(kColumnThreads),
          .shared_bytes = kColumnThreads * sizeof(Part)},
         stream, grid, op, grid.chunks == 1 ? nullptr : parts);
  if (grid.chunks > 1) finish_parts<Op, Part>(grid, grid.chunks, op, parts, stream);
}

template <typename Op>
void apply_columns(const ColumnGrid& grid, const Op& op, cudaStream_t stream) {
  launch(apply_to_columns<Op>,
         {.blocks = dim3(static_cast<unsigned>(grid.tiles()), static_cast<unsigned>(grid.chunks)),
          .threads = dim3(kColumnThreads)},
         stream, grid, op);
}

}  // namespace dlt::cuda
