// SPDX-License-Identifier: Apache-2.0
// conv2d, conv2d_input_grad, conv2d_weight_grad
#include <memory>
#include <optional>

#include "backend/cuda/conv_spec.h"
#include "backend/cuda/factories.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

tensor::ConvGeometry geometry_of(const tensor::KernelSpec& spec, ConvDirection direction) {
  const tensor::Shape &first = spec.inputs[0].shape, &second = spec.inputs[1].shape;
  const tensor::Shape& out = spec.outputs[0].shape;
  switch (direction) {
    case ConvDirection::forward:
      return tensor::conv_geometry("conv2d", first, second, spec.attrs);
    case ConvDirection::input_grad:
      return tensor::conv_geometry("conv2d_input_grad", out, second, spec.attrs);
    case ConvDirection::weight_grad:
      return tensor::conv_geometry("conv2d_weight_grad", first, out, spec.attrs);
  }
  return {};
}

std::unique_ptr<tensor::Kernel> make_conv(const tensor::KernelSpec& spec,
                                          const DeviceLibraries& libraries,
                                          ConvDirection direction) {
  const std::optional<Precision> precision = precision_of(spec.attrs);
  const tensor::Activation activation = tensor::activation_of(spec.attrs);
  if (spec.outputs[0].dtype != DType::f32 || !precision) return nullptr;
  ConvSpec conv{
      .g = geometry_of(spec, direction),
      .direction = direction,
      .precision = *precision,
      .weight_is_param = direction != ConvDirection::weight_grad && (spec.params & 2u) != 0,
      .activation = activation,
      .alpha = static_cast<float>(spec.attrs.number("alpha", 0.01))};
  if (spec.outputs[0].shape.numel() == 0 || spec.inputs[0].shape.numel() == 0) return nullptr;
  if (!conv.g.rounds()) conv.precision = Precision::f32;
  if (conv.g.group_in() == 1 && conv.g.groups > 1) return make_conv_direct(conv);
  if (auto kernel = make_conv_by_product(conv, libraries)) return kernel;
  if (auto kernel = make_conv_by_cudnn(conv, libraries)) return kernel;
  return make_conv_direct(conv);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_conv2d(const tensor::KernelSpec& spec,
                                            const DeviceLibraries& libraries) {
  return make_conv(spec, libraries, ConvDirection::forward);
}

std::unique_ptr<tensor::Kernel> make_conv2d_input_grad(const tensor::KernelSpec& spec,
                                                       const DeviceLibraries& libraries) {
  return make_conv(spec, libraries, ConvDirection::input_grad);
}

std::unique_ptr<tensor::Kernel> make_conv2d_weight_grad(const tensor::KernelSpec& spec,
                                                        const DeviceLibraries& libraries) {
  return make_conv(spec, libraries, ConvDirection::weight_grad);
}

}  // namespace dlt::cuda
