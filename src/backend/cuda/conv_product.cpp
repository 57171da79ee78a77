// SPDX-License-Identifier: Apache-2.0
// Convolutions that are products of matrices.
#include "backend/cuda/conv_spec.h"
#include "backend/cuda/product.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

class ConvByProduct final : public tensor::Kernel {
 public:
  ConvByProduct(const DeviceLibraries& libraries, const ProductSpec& product, const Activate& after)
      : product_(libraries, product), after_(after) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override { return product_.scratch_bytes(); }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    float* out = args.outputs[0].as<float>();
    product_.run({.a = args.inputs[0].as<const float>(),
                  .b = args.inputs[1].as<const float>(),
                  .c = out,
                  .scratch = args.scratch,
                  .kept = args.kept,
                  .kept_valid = args.kept_valid,
                  .stream = stream_of(args)});
    Activate after = after_;
    after.y = out;
    after.bias = args.inputs.size() > 2 ? args.inputs[2].as<const float>() : nullptr;
    activate(after, stream_of(args));
  }

 private:
  Product product_;
  Activate after_;
};

bool is_product(const tensor::ConvGeometry& g) {
  return g.kernel_h == 1 && g.kernel_w == 1 && g.groups == 1 && g.stride_h == 1 &&
         g.stride_w == 1 && g.out_h == g.in_h && g.out_w == g.in_w && g.pad_top == 0 &&
         g.pad_left == 0;
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_conv_by_product(const ConvSpec& spec,
                                                     const DeviceLibraries& libraries) {
  const tensor::ConvGeometry& g = spec.g;
  if (!is_product(g)) return nullptr;
  const std::int64_t pixels = g.batch * g.out_h * g.out_w;
  ProductSpec product{.b_is_param = spec.weight_is_param};
  GemmShape& shape = product.shape;
  shape.precision = spec.precision;
  shape.lda = g.in_channels;
  shape.ldb = g.out_channels;
  switch (spec.direction) {
    case ConvDirection::forward:  // x · weight
      shape.m = pixels;
      shape.n = g.out_channels;
      shape.k = g.in_channels;
      break;
    case ConvDirection::input_grad:  // dy · weight^T
      shape.m = pixels;
      shape.n = g.in_channels;
      shape.k = g.out_channels;
      shape.lda = g.out_channels;
      shape.trans_b = true;
      break;
    case ConvDirection::weight_grad:  // x^T · dy
      shape.m = g.in_channels;
      shape.n = g.out_channels;
      shape.k = pixels;
      shape.trans_a = true;
      break;
  }
  shape.ldc = shape.n;
  return std::make_unique<ConvByProduct>(
      libraries, product,
      Activate{
          .rows = shape.m, .columns = shape.n, .activation = spec.activation, .alpha = spec.alpha});
}

}  // namespace dlt::cuda
