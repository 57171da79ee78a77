// SPDX-License-Identifier: Apache-2.0
// "bits_hash": one number of all bits of a buffer, to compare replicas without bringing them to the
// host.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

constexpr int kHashThreads = 256;

/// The finaliser of MurmurHash3 (Austin Appleby, public domain): every bit of x changes half the
/// others.
__device__ std::uint64_t mixed(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  x *= 0xc4ceb9fe1a85ec53ULL;
  return x ^ (x >> 33);
}

/// The sum of mixed(place, bits) over all elements. Integers add up to the same in any order, so
/// that blocks may add as they come.
__global__ void bits_hash_kernel(unsigned long long* out, const float* values, std::int64_t count) {
  __shared__ unsigned long long part[kHashThreads];
  std::uint64_t sum = 0;
  for (std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; i < count;
       i += static_cast<std::int64_t>(gridDim.x) * blockDim.x) {
    const std::uint64_t bits = __float_as_uint(values[i]);
    sum +=
        mixed((static_cast<std::uint64_t>(i) << 32) ^ bits ^ mixed(static_cast<std::uint64_t>(i)));
  }
  part[threadIdx.x] = sum;
  __syncthreads();
  for (int width = kHashThreads / 2; width > 0; width /= 2) {
    if (static_cast<int>(threadIdx.x) < width) part[threadIdx.x] += part[threadIdx.x + width];
    __syncthreads();
  }
  if (threadIdx.x == 0) atomicAdd(out, part[0]);
}

class BitsHash final : public tensor::Kernel {
 public:
  explicit BitsHash(const DeviceLibraries& libraries)
      : most_blocks_(8 * libraries.num_multiprocessors()) {}
  void run(const tensor::KernelArgs& args) const override {
    args.run.queue->zero(args.outputs[0].data, sizeof(std::int64_t));
    const std::int64_t count = args.inputs[0].numel();
    const auto blocks =
        std::clamp<std::int64_t>((count + kHashThreads - 1) / kHashThreads, 1, most_blocks_);
    launch(bits_hash_kernel,
           {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kHashThreads)},
           stream_of(args), args.outputs[0].as<unsigned long long>(),
           args.inputs[0].as<const float>(), count);
  }

 private:
  std::int64_t most_blocks_;
};

}  // namespace

/// inputs: f32 [n], of the length of the run's; outputs: i64 [1].
std::unique_ptr<tensor::Kernel> make_bits_hash(const tensor::KernelSpec& spec,
                                               const DeviceLibraries& libraries) {
  if (spec.inputs[0].dtype != DType::f32 || spec.outputs[0].dtype != DType::i64) return nullptr;
  return std::make_unique<BitsHash>(libraries);
}

}  // namespace dlt::cuda
