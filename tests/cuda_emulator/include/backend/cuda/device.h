// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include "base/error.h"
#include "cuda_emulator/launch.h"
#include "cuda_emulator/report.h"

// The dialect of src/backend/cuda/device.h for g++: found before it by the order of include
// folders, so that .cu files compile as C++ and their kernels run on the emulator (see emulator.h).

#undef __global__
#undef __device__
#undef __host__
#undef __shared__
#undef __constant__
#undef __launch_bounds__
#define __global__
#define __device__
#define __host__
// One copy for the program: one block runs at a time. shared.ld gathers these.
#define __shared__ static
#define __launch_bounds__(...)
#define threadIdx (::dlt::emulator::indices.thread)
#define blockIdx (::dlt::emulator::indices.block)
#define blockDim (::dlt::emulator::indices.block_dim)
#define gridDim (::dlt::emulator::indices.grid_dim)
#define warpSize 32

inline void __syncthreads() { ::dlt::emulator::meet_block(); }
inline int __syncthreads_count(int predicate) {
  return ::dlt::emulator::meet_block_counting(predicate != 0);
}
inline int __syncthreads_or(int predicate) { return __syncthreads_count(predicate) != 0; }
inline int __syncthreads_and(int predicate) { return __syncthreads_count(predicate == 0) == 0; }
inline void __syncwarp(unsigned mask = ~0u) { ::dlt::emulator::meet_warp(mask); }
// Threads of the device never run at once: memory is always in order.
inline void __threadfence() {}
inline void __threadfence_block() {}

namespace dlt::emulator {

inline unsigned lane() {
  const Indices& i = indices;
  return (i.thread.x + i.block_dim.x * (i.thread.y + i.block_dim.y * i.thread.z)) % 32;
}

template <typename T>
T shuffle_from(unsigned mask, T value, unsigned source) {
  static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 16);
  shuffle(mask, &value, sizeof value, source);
  return value;
}

/// The source of a lane inside its part of the warp of width lanes; the lane itself where the
/// source would be outside.
inline unsigned within(unsigned source, unsigned width) {
  return source / width == lane() / width ? source : lane();
}

}  // namespace dlt::emulator

template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32) {
  const auto w = static_cast<unsigned>(width);
  const unsigned first = ::dlt::emulator::lane() / w * w;
  return ::dlt::emulator::shuffle_from(mask, value, first + static_cast<unsigned>(source) % w);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  const unsigned source = ::dlt::emulator::lane() ^ static_cast<unsigned>(lanes);
  return ::dlt::emulator::shuffle_from(
      mask, value, ::dlt::emulator::within(source, static_cast<unsigned>(width)));
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned source = ::dlt::emulator::lane() + delta;
  return ::dlt::emulator::shuffle_from(
      mask, value, ::dlt::emulator::within(source, static_cast<unsigned>(width)));
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32) {
  const unsigned source = ::dlt::emulator::lane() - delta;
  return ::dlt::emulator::shuffle_from(
      mask, value, ::dlt::emulator::within(source, static_cast<unsigned>(width)));
}
inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return ::dlt::emulator::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate == 0) == 0;
}

// Atomics of whole numbers alone: those of floats depend on the order of the threads.
namespace dlt::emulator {
template <typename T>
concept AtomicInteger =
    std::is_same_v<T, int> || std::is_same_v<T, unsigned> || std::is_same_v<T, unsigned long long>;
}  // namespace dlt::emulator
template <::dlt::emulator::AtomicInteger T>
T atomicAdd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, static_cast<T>(*at + value));
}
template <::dlt::emulator::AtomicInteger T>
T atomicMax(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, std::max(*at, value));
}
template <::dlt::emulator::AtomicInteger T>
T atomicMin(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, std::min(*at, value));
}
template <::dlt::emulator::AtomicInteger T>
T atomicOr(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, static_cast<T>(*at | value));
}
template <::dlt::emulator::AtomicInteger T>
T atomicAnd(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, static_cast<T>(*at & value));
}
template <::dlt::emulator::AtomicInteger T>
T atomicExch(T* at, std::type_identity_t<T> value) {
  return std::exchange(*at, value);
}
template <::dlt::emulator::AtomicInteger T>
T atomicCAS(T* at, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
  return *at == expected ? std::exchange(*at, value) : *at;
}
inline unsigned atomicInc(unsigned* at, unsigned most) {
  return std::exchange(*at, *at >= most ? 0u : *at + 1u);
}

// The names of CUDA's maths that the C library lacks.
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
inline double rsqrt(double x) { return 1.0 / std::sqrt(x); }
inline float normcdff(float x) { return 0.5f * std::erfc(-x * 0.70710678118654752f); }
inline void sincosf(float x, float* sine, float* cosine) {
  *sine = std::sin(x);
  *cosine = std::cos(x);
}
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline float __fmaf_rn(float a, float b, float c) { return std::fma(a, b, c); }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __dadd_rn(double a, double b) { return a + b; }
inline float fdividef(float a, float b) { return a / b; }
inline float __saturatef(float x) { return x >= 0.0f ? (x <= 1.0f ? x : 1.0f) : 0.0f; }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __float2int_rn(float x) { return static_cast<int>(std::nearbyint(x)); }
inline int __float2int_rd(float x) { return static_cast<int>(std::floor(x)); }
inline int __float2int_rz(float x) { return static_cast<int>(x); }
inline float __int2float_rn(int x) { return static_cast<float>(x); }
inline float __uint2float_rn(unsigned x) { return static_cast<float>(x); }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((std::uint64_t{a} * b) >> 32);
}
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>((static_cast<unsigned __int128>(a) * b) >> 64);
}
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __brev(unsigned x) {
  unsigned y = 0;
  for (int bit = 0; bit < 32; ++bit) y |= ((x >> bit) & 1u) << (31 - bit);
  return y;
}
template <typename T>
T __ldg(const T* at) {
  return *at;
}
// CUDA's own overloads: two of one type.
#define DLT_MIN_MAX(T)                             \
  inline T min(T a, T b) { return b < a ? b : a; } \
  inline T max(T a, T b) { return a < b ? b : a; }
DLT_MIN_MAX(int)
DLT_MIN_MAX(unsigned)
DLT_MIN_MAX(long)
DLT_MIN_MAX(unsigned long)
DLT_MIN_MAX(long long)
DLT_MIN_MAX(unsigned long long)
#undef DLT_MIN_MAX
inline float min(float a, float b) { return std::fmin(a, b); }
inline float max(float a, float b) { return std::fmax(a, b); }
inline double min(double a, double b) { return std::fmin(a, b); }
inline double max(double a, double b) { return std::fmax(a, b); }

namespace dlt::emulator {

/// What lies between the fields of a struct may look like an address. Behind a long array g++ 12
/// clears fields instead, so large structs keep what they have.
template <typename T>
void clear_padding(T& value) {
  if constexpr (sizeof(T) <= 160) __builtin_clear_padding(&value);
}

}  // namespace dlt::emulator

namespace dlt::cuda {

struct Grid {
  dim3 blocks;
  dim3 threads;
  std::size_t shared_bytes = 0;
};

/// The emulator's launch(): arguments are converted and copied now, the kernel runs later.
template <typename... P, typename... A>
void launch(void (*kernel)(P...), const Grid& grid, cudaStream_t stream, A&&... args) {
  static_assert((std::is_trivially_copyable_v<P> && ...), "a kernel takes plain values");
  struct Arguments {
    void (*kernel)(P...);
    std::tuple<P...> values;
  };
  const auto kept =
      std::make_shared<Arguments>(Arguments{kernel, std::tuple<P...>(std::forward<A>(args)...)});
  // What lies between the fields of a struct may look like an address.
  std::apply([](P&... values) { (dlt::emulator::clear_padding(values), ...); }, kept->values);
  const auto views = std::apply(
      [](const P&... values) {
        return std::array<dlt::emulator::Argument, sizeof...(P)>{
            dlt::emulator::Argument{&values, sizeof values, std::is_pointer_v<P>}...};
      },
      kept->values);
  const auto body = [](const void* arguments) {
    const auto& all = *static_cast<const Arguments*>(arguments);
    std::apply(all.kernel, all.values);
  };
  const void* address = reinterpret_cast<const void*>(kernel);
  const cudaError_t error = dlt::emulator::launch_kernel(
      {{grid.blocks, grid.threads, grid.shared_bytes}, stream, address, body, kept}, views);
  if (error == cudaSuccess) return;
  throw Error(Exit::unavailable, "launch of " + dlt::emulator::function_name(address) + ": " +
                                     cudaGetErrorName(error) + ": " + cudaGetErrorString(error));
}

template <typename T>
T* dynamic_shared() {
  return static_cast<T*>(dlt::emulator::dynamic_shared_memory());
}

}  // namespace dlt::cuda
