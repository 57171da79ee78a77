// SPDX-License-Identifier: Apache-2.0
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// [B, a, b, ...] -> [B, a·b·...], row-major: the same memory.
class Flatten final : public Layer {
 public:
  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const tensor::Shape shape = context.graph.shape(x);
    if (shape.rank() == 2) return x;
    context.mask = {};
    const std::int64_t numel = shape.without_front().numel();
    return context.graph.add_one("reshape", {x},
                                 {{"shape", std::vector<std::int64_t>{shape[0], numel}}});
  }
};

}  // namespace

std::unique_ptr<Layer> make_flatten(config::MapReader& /*options*/) {
  return std::make_unique<Flatten>();
}

}  // namespace dlt::nn
