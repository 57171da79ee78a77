// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "nn/activation.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

struct DenseOptions {
  std::int64_t units = 0;
  Activation activation;
  bool use_bias = true;
  Init kernel_init;
  Init bias_init;
};

/// activation(x·weight + bias).
/// shapes  x [B, n], weight [n, units], bias [units]; both initialisers use the fans n and units
class Dense final : public Layer {
 public:
  explicit Dense(DenseOptions options) : options_(std::move(options)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    autodiff::Graph& graph = context.graph;
    if (graph.shape(x).rank() != 2) {
      refuse_input(context, x, "a flat input [n]", "put the layer 'flatten' before it");
    }
    const std::int64_t inputs = graph.shape(x).last();
    const autodiff::ValueId weight =
        param(context, "weight", {inputs, options_.units}, options_.kernel_init, inputs);
    autodiff::ValueId y = graph.add_one("matmul", {x, weight});
    if (options_.use_bias) {
      const autodiff::ValueId bias =
          param(context, "bias", {options_.units}, options_.bias_init, inputs);
      y = graph.add_one("bias_add", {y, bias});
    }
    return apply_activation(graph, options_.activation, y);
  }

 private:
  [[nodiscard]] autodiff::ValueId param(BuildContext& context, const char* name,
                                        const tensor::Shape& shape, Init init,
                                        std::int64_t inputs) const {
    init.fan_in = static_cast<double>(inputs);
    init.fan_out = static_cast<double>(options_.units);
    return context.param(name, shape, init);
  }

  DenseOptions options_;
};

}  // namespace

std::unique_ptr<Layer> make_dense(config::MapReader& options) {
  DenseOptions dense;
  dense.units = options.integer("units", {.min = 1, .max = INT32_MAX});
  dense.activation = read_activation(options, "activation");
  dense.use_bias = options.boolean("use_bias", true);
  dense.kernel_init = read_init(options, "kernel_init", InitKind::glorot_uniform);
  dense.bias_init = read_init(options, "bias_init", InitKind::zeros);
  return std::make_unique<Dense>(std::move(dense));
}

}  // namespace dlt::nn
