// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include <cuda_runtime_api.h>

namespace dlt::emulator::toys {

/// Each launches one kernel of toy_kernels.cu; what it is for is said in kernel_test.cpp.
void scale(cudaStream_t stream, float* data, float factor, int count);
void iota(cudaStream_t stream, int* data, unsigned blocks, unsigned threads);
void block_sums(cudaStream_t stream, float* sums, const float* values, unsigned blocks);
void warp_sums(cudaStream_t stream, int* sums, unsigned threads);
void order(cudaStream_t stream, unsigned* next, unsigned* order, unsigned blocks, unsigned threads);
void read_unwritten_shared(cudaStream_t stream, float* of_static, float* of_dynamic,
                           unsigned blocks);
void votes(cudaStream_t stream, unsigned* ballots, int* counts);
void missed_barrier(cudaStream_t stream);
void diverged_shuffle(cudaStream_t stream, int* out);
void late_lane(cudaStream_t stream, int* out);
void past_the_end(cudaStream_t stream, float* data, int index);
void past_dynamic(cudaStream_t stream, float* out);
struct Table {
  const float* from[4];
  int count;
};
void gather(cudaStream_t stream, float* out, const Table& table);
void too_many_threads(cudaStream_t stream, float* data);

}  // namespace dlt::emulator::toys
