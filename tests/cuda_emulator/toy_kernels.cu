// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/device.h"
#include "cuda_emulator/toy_kernels.h"

namespace dlt::emulator::toys {

using cuda::dynamic_shared;
using cuda::launch;

namespace {

__global__ void __launch_bounds__(256) scale_kernel(float* data, float factor, int count) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < count) data[i] *= factor;
}

__global__ void iota_kernel(int* data) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  data[i] = static_cast<int>(i);
}

// A tree of sums, half the threads each time: wrong wherever a barrier is missing.
template <int kThreads>
__global__ void block_sums_kernel(float* sums, const float* values) {
  __shared__ float tile[kThreads];
  float* copy = dynamic_shared<float>();
  tile[threadIdx.x] = values[blockIdx.x * kThreads + threadIdx.x];
  copy[kThreads - 1 - threadIdx.x] = tile[threadIdx.x];
  __syncthreads();
  for (unsigned half = kThreads / 2; half > 0; half /= 2) {
    if (threadIdx.x < half) tile[threadIdx.x] += tile[threadIdx.x + half];
    __syncthreads();
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = tile[0] + copy[0];
}

__global__ void warp_sums_kernel(int* sums) {
  int value = static_cast<int>(threadIdx.x);
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(~0u, value, lanes);
  int other = static_cast<int>(threadIdx.x);
  for (unsigned delta = 16; delta > 0; delta /= 2) other += __shfl_down_sync(~0u, other, delta);
  other = __shfl_sync(~0u, other, 0);
  sums[threadIdx.x] = value == other ? value : -1;
}

__global__ void order_kernel(unsigned* next, unsigned* order) {
  order[atomicAdd(next, 1u)] = blockIdx.x * blockDim.x + threadIdx.x;
}

__global__ void read_unwritten_shared_kernel(float* of_static, float* of_dynamic) {
  __shared__ float tile[64];
  float* dynamic = dynamic_shared<float>();
  of_static[blockIdx.x * 64 + threadIdx.x] = tile[threadIdx.x];
  of_dynamic[blockIdx.x * 64 + threadIdx.x] = dynamic[threadIdx.x];
  __syncthreads();
  tile[threadIdx.x] = 1.0f;
  dynamic[threadIdx.x] = 1.0f;
}

__global__ void votes_kernel(unsigned* ballots, int* counts) {
  ballots[threadIdx.x] = __ballot_sync(~0u, threadIdx.x % 3 == 0);
  __syncwarp();
  counts[threadIdx.x] = __syncthreads_count(threadIdx.x % 3 == 0);
  if (__syncthreads_or(threadIdx.x == 5) == 0 || __syncthreads_and(threadIdx.x < 63) != 0) {
    counts[threadIdx.x] = -1;
  }
}

__global__ void missed_barrier_kernel() {
  if (threadIdx.x < 40) __syncthreads();
  __syncwarp();
}

__global__ void diverged_shuffle_kernel(int* out) {
  int value = 1;
  if (threadIdx.x < 16) {
    value = __shfl_xor_sync(~0u, value, 1);
  } else {
    value = static_cast<int>(__ballot_sync(~0u, 1));
  }
  out[threadIdx.x] = value;
}

__global__ void late_lane_kernel(int* out) {
  if (threadIdx.x == 7) return;
  out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
}

__global__ void past_the_end_kernel(float* data, int index) { data[index] = 1.0f; }

__global__ void past_dynamic_kernel(float* out) {
  float* dynamic = dynamic_shared<float>();
  dynamic[4] = 1.0f;
  out[0] = dynamic[4];
}

__global__ void gather_kernel(float* out, Table table) {
  float sum = 0.0f;
  for (int i = 0; i < table.count; ++i) sum += table.from[i][threadIdx.x];
  out[threadIdx.x] = sum;
}

}  // namespace

void scale(cudaStream_t stream, float* data, float factor, int count) {
  launch(scale_kernel,
         {.blocks = dim3(static_cast<unsigned>(count + 255) / 256), .threads = dim3(256)}, stream,
         data, factor, count);
}
void iota(cudaStream_t stream, int* data, unsigned blocks, unsigned threads) {
  launch(iota_kernel, {.blocks = dim3(blocks, 2, 3), .threads = dim3(threads, 3, 2)}, stream, data);
}
void block_sums(cudaStream_t stream, float* sums, const float* values, unsigned blocks) {
  launch(block_sums_kernel<128>,
         {.blocks = dim3(blocks), .threads = dim3(128), .shared_bytes = 128 * sizeof(float)},
         stream, sums, values);
}
void warp_sums(cudaStream_t stream, int* sums, unsigned threads) {
  launch(warp_sums_kernel, {.blocks = dim3(1), .threads = dim3(threads)}, stream, sums);
}
void order(cudaStream_t stream, unsigned* next, unsigned* order, unsigned blocks,
           unsigned threads) {
  launch(order_kernel, {.blocks = dim3(blocks), .threads = dim3(threads)}, stream, next, order);
}
void read_unwritten_shared(cudaStream_t stream, float* of_static, float* of_dynamic,
                           unsigned blocks) {
  launch(read_unwritten_shared_kernel,
         {.blocks = dim3(blocks), .threads = dim3(64), .shared_bytes = 64 * sizeof(float)}, stream,
         of_static, of_dynamic);
}
void votes(cudaStream_t stream, unsigned* ballots, int* counts) {
  launch(votes_kernel, {.blocks = dim3(1), .threads = dim3(64)}, stream, ballots, counts);
}
void missed_barrier(cudaStream_t stream) {
  launch(missed_barrier_kernel, {.blocks = dim3(1), .threads = dim3(64)}, stream);
}
void diverged_shuffle(cudaStream_t stream, int* out) {
  launch(diverged_shuffle_kernel, {.blocks = dim3(1), .threads = dim3(32)}, stream, out);
}
void late_lane(cudaStream_t stream, int* out) {
  launch(late_lane_kernel, {.blocks = dim3(1), .threads = dim3(32)}, stream, out);
}
void past_the_end(cudaStream_t stream, float* data, int index) {
  launch(past_the_end_kernel, {.blocks = dim3(1), .threads = dim3(1)}, stream, data, index);
}
void past_dynamic(cudaStream_t stream, float* out) {
  launch(past_dynamic_kernel, {.blocks = dim3(1), .threads = dim3(1), .shared_bytes = 16}, stream,
         out);
}
void gather(cudaStream_t stream, float* out, const Table& table) {
  launch(gather_kernel, {.blocks = dim3(1), .threads = dim3(32)}, stream, out, table);
}
void too_many_threads(cudaStream_t stream, float* data) {
  launch(scale_kernel, {.blocks = dim3(1), .threads = dim3(1025)}, stream, data, 1.0f, 1);
}

}  // namespace dlt::emulator::toys
