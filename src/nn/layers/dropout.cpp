// SPDX-License-Identifier: Apache-2.0
#include "base/rng.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Zeroes each element with probability rate and divides the others by 1 - rate, in training only.
/// source  Srivastava et al. 2014, "Dropout", in its inverted form
class Dropout final : public Layer {
 public:
  explicit Dropout(double rate) : rate_(rate) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    if (context.mode == Mode::inference || rate_ == 0.0) return x;
    const auto op = static_cast<std::int64_t>(rng::op_id(context.name));
    return context.graph.add_one("dropout", {x}, {{"rate", rate_}, {"op", op}});
  }

 private:
  double rate_;
};

}  // namespace

std::unique_ptr<Layer> make_dropout(config::MapReader& options) {
  return std::make_unique<Dropout>(options.number("rate", {.min = 0, .max = 1, .max_open = true}));
}

}  // namespace dlt::nn
