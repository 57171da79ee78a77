// SPDX-License-Identifier: Apache-2.0
// A convolution as its three ways of being computed take it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "backend/cuda/activate.h"
#include "backend/cuda/device_libraries.h"
#include "backend/cuda/precision.h"
#include "tensor/conv_geometry.h"

namespace dlt::cuda {

/// Which of x, weight and y comes of the other two. Inputs are in the order of the op.
enum class ConvDirection : std::uint8_t {
  forward,      // x, weight -> y
  input_grad,   // dy, weight -> dx
  weight_grad,  // x, dy -> dweight
};

struct ConvSpec {
  tensor::ConvGeometry g;
  ConvDirection direction = ConvDirection::forward;
  Precision precision = Precision::f32;  // f32 where ConvGeometry::rounds() says so
  bool weight_is_param = false;
  tensor::Activation activation = tensor::Activation::none;  // of the forward direction
  float alpha = 0.01f;

  /// Sizes of the result as a matrix of pixels or taps by channels.
  [[nodiscard]] std::int64_t out_columns() const {
    return direction == ConvDirection::input_grad ? g.in_channels : g.out_channels;
  }
  [[nodiscard]] std::int64_t taps() const { return g.kernel_h * g.kernel_w; }
};

/// 1x1 of stride 1 without padding or groups: a product of matrices; null if it is not that.
[[nodiscard]] std::unique_ptr<tensor::Kernel> make_conv_by_product(
    const ConvSpec& spec, const DeviceLibraries& libraries);
/// Null if cuDNN has no engine for it.
[[nodiscard]] std::unique_ptr<tensor::Kernel> make_conv_by_cudnn(const ConvSpec& spec,
                                                                 const DeviceLibraries& libraries);
/// Sums straight from the definition: for a filter of one input channel (depthwise), where that is
/// as fast as memory allows, and for what nothing else serves.
[[nodiscard]] std::unique_ptr<tensor::Kernel> make_conv_direct(const ConvSpec& spec);

}  // namespace dlt::cuda
