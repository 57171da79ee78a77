// SPDX-License-Identifier: Apache-2.0
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Marks the steps of x [B, T, n] at which all n numbers are the value as padding, beside those
/// that are so already; x itself stays.
class Masking final : public Layer {
 public:
  explicit Masking(double value) : value_(value) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    if (context.graph.shape(x).rank() != 3) refuse_input(context, x, "a sequence [T, n]");
    const autodiff::ValueId mask = context.graph.add_one("time_mask", {x}, {{"value", value_}});
    context.mask = context.mask.valid() ? context.graph.add_one("mul", {mask, context.mask}) : mask;
    return x;
  }

 private:
  double value_;
};

}  // namespace

std::unique_ptr<Layer> make_masking(config::MapReader& options) {
  return std::make_unique<Masking>(options.number("value", {.min = -1e30, .max = 1e30}, 0.0));
}

}  // namespace dlt::nn
