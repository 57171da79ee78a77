// SPDX-License-Identifier: Apache-2.0
// matmul, linear
#include <memory>

#include "backend/cuda/activate.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/product.h"
#include "backend/cuda/queue.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

/// The product of inputs 0 and 1, and what follows it. A bias without an activation is the
/// library's; an activation is ours, since the library's relu need not let NaN through.
class Linear final : public tensor::Kernel {
 public:
  Linear(const DeviceLibraries& libraries, const ProductSpec& product, const Activate& after)
      : product_(libraries, product), fused_bias_(product.shape.bias), after_(after) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override { return product_.scratch_bytes(); }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    const bool biased = args.inputs.size() > 2;
    const float* bias = biased ? args.inputs[2].as<const float>() : nullptr;
    float* y = args.outputs[0].as<float>();
    product_.run({.a = args.inputs[0].as<const float>(),
                  .b = args.inputs[1].as<const float>(),
                  .c = y,
                  .bias = fused_bias_ ? bias : nullptr,
                  .scratch = args.scratch,
                  .kept = args.kept,
                  .kept_valid = args.kept_valid,
                  .stream = stream_of(args)});
    if (fused_bias_) return;
    Activate after = after_;
    after.y = y;
    after.bias = bias;
    activate(after, stream_of(args));
  }

 private:
  Product product_;
  bool fused_bias_;
  Activate after_;
};

std::unique_ptr<tensor::Kernel> make_product(const tensor::KernelSpec& spec,
                                             const DeviceLibraries& libraries) {
  const tensor::TensorType &a = spec.inputs[0], &b = spec.inputs[1], &c = spec.outputs[0];
  const std::optional<Precision> precision = precision_of(spec.attrs);
  const tensor::Activation activation = tensor::activation_of(spec.attrs);
  if (c.dtype != DType::f32 || !precision) return nullptr;
  ProductSpec product;
  product.a_is_param = (spec.params & 1u) != 0;
  product.b_is_param = (spec.params & 2u) != 0;
  GemmShape& shape = product.shape;
  shape.trans_a = spec.attrs.integer("trans_a") != 0;
  shape.trans_b = spec.attrs.integer("trans_b") != 0;
  shape.m = c.shape[0];
  shape.n = c.shape[1];
  shape.k = a.shape[shape.trans_a ? 0 : 1];
  if (shape.m == 0 || shape.n == 0 || shape.k == 0) return nullptr;
  shape.lda = a.shape[1];
  shape.ldb = b.shape[1];
  shape.ldc = shape.n;
  shape.bias = spec.inputs.size() > 2 && activation == tensor::Activation::none;
  shape.precision = *precision;
  return std::make_unique<Linear>(
      libraries, product,
      Activate{.rows = shape.m,
               .columns = shape.n,
               .activation = activation,
               .alpha = static_cast<float>(spec.attrs.number("alpha", 0.01))});
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_linear(const tensor::KernelSpec& spec,
                                            const DeviceLibraries& libraries) {
  return make_product(spec, libraries);
}

std::unique_ptr<tensor::Kernel> make_matmul(const tensor::KernelSpec& spec,
                                            const DeviceLibraries& libraries) {
  return make_product(spec, libraries);
}

}  // namespace dlt::cuda
