// SPDX-License-Identifier: Apache-2.0
// Host kernels: plain loops, computed in f64 whatever the dtype, rounded once when stored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "base/dtype.h"
#include "tensor/kernel.h"

namespace dlt::ops {

/// A kernel for f32 and f64 by the dtype of output 0; null for any other.
template <tensor::KernelFunction kF32, tensor::KernelFunction kF64>
std::unique_ptr<tensor::Kernel> host_kernel(const tensor::KernelSpec& spec) {
  switch (spec.outputs[0].dtype) {
    case DType::f32:
      return tensor::make_function_kernel(kF32, spec.attrs);
    case DType::f64:
      return tensor::make_function_kernel(kF64, spec.attrs);
    case DType::f16:
    case DType::bf16:
    case DType::i8:
    case DType::u8:
    case DType::i16:
    case DType::u16:
    case DType::i32:
    case DType::u32:
    case DType::i64:
    case DType::u64:
    case DType::boolean:
      return nullptr;
  }
  return nullptr;
}

/// What attribute precision rounds the operands of a product to.
enum class Rounding : std::uint8_t { none, bf16, fp16 };

inline Rounding rounding_of(const tensor::Attrs& attrs) {
  const std::string word = attrs.word("precision", "f32");
  if (word == "fp16") return Rounding::fp16;
  return word == "bf16" || word == "bf16_emulated" ? Rounding::bf16 : Rounding::none;
}

/// An operand of a product, rounded and back in f32. f64 is what gradients are checked in, and
/// stays as it is.
template <typename T>
double operand(T x, Rounding) {
  return static_cast<double>(x);
}
inline double operand(float x, Rounding rounding) {
  if (rounding == Rounding::bf16) x = bf16_to_f32(f32_to_bf16(x));
  if (rounding == Rounding::fp16) x = f16_to_f32(f32_to_f16(x));
  return static_cast<double>(x);
}

inline double no_parameter(const tensor::Attrs&) { return 0.0; }

/// The one number that an element-wise op takes from its attributes.
using Parameter = double (*)(const tensor::Attrs&);

/// y = f(x, parameter), element by element; y may be x.
template <typename T, double (*kFunction)(double, double), Parameter kParameter>
void unary_host(const tensor::KernelArgs& args, const tensor::Attrs& attrs) {
  const double parameter = kParameter(attrs);
  const T* x = args.inputs[0].as<const T>();
  T* y = args.outputs[0].as<T>();
  const std::int64_t numel = args.outputs[0].numel();
  for (std::int64_t i = 0; i < numel; ++i) {
    y[i] = static_cast<T>(kFunction(static_cast<double>(x[i]), parameter));
  }
}

/// y = f(a, b, parameter), element by element; y may be a.
template <typename T, double (*kFunction)(double, double, double), Parameter kParameter>
void binary_host(const tensor::KernelArgs& args, const tensor::Attrs& attrs) {
  const double parameter = kParameter(attrs);
  const T* a = args.inputs[0].as<const T>();
  const T* b = args.inputs[1].as<const T>();
  T* y = args.outputs[0].as<T>();
  const std::int64_t numel = args.outputs[0].numel();
  for (std::int64_t i = 0; i < numel; ++i) {
    y[i] =
        static_cast<T>(kFunction(static_cast<double>(a[i]), static_cast<double>(b[i]), parameter));
  }
}

template <double (*kFunction)(double, double), Parameter kParameter = no_parameter>
inline constexpr tensor::HostKernelFactory unary_kernel =
    host_kernel<unary_host<float, kFunction, kParameter>,
                unary_host<double, kFunction, kParameter>>;

template <double (*kFunction)(double, double, double), Parameter kParameter = no_parameter>
inline constexpr tensor::HostKernelFactory binary_kernel =
    host_kernel<binary_host<float, kFunction, kParameter>,
                binary_host<double, kFunction, kParameter>>;

}  // namespace dlt::ops
