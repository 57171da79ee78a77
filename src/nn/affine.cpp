// SPDX-License-Identifier: Apache-2.0
#include "nn/affine.h"

#include <utility>
#include <vector>

namespace dlt::nn {
namespace {

using autodiff::Graph;
using autodiff::ValueId;

ValueId in_shape(Graph& graph, ValueId x, std::vector<std::int64_t> sizes) {
  return graph.add_one("reshape", {x}, {{"shape", std::move(sizes)}});
}

/// x [B, ..., n] as a matrix.
ValueId as_matrix(Graph& graph, ValueId x) {
  const tensor::Shape shape = graph.shape(x);
  if (shape.rank() == 2) return x;
  return in_shape(graph, x, {shape.rows(), shape.last()});
}

/// Adds the bias and the activation to a matrix and gives it the sizes of x but for the last. What
/// can be fused into the product stands before the reshape; softmax stands behind it, where losses
/// look for it.
ValueId finish(BuildContext& context, ValueId x, ValueId y, const AffineOptions& options,
               std::int64_t inputs) {
  Graph& graph = context.graph;
  if (options.use_bias) {
    Init init = options.bias_init;
    init.fan_in = static_cast<double>(inputs);
    init.fan_out = static_cast<double>(options.units);
    const ValueId bias = context.param(options.prefix + "bias", {options.units}, init);
    y = graph.add_one("bias_add", {y, bias});
  }
  const bool softmax = options.activation.name == "softmax";
  if (!softmax) y = apply_activation(graph, options.activation, y);
  const tensor::Shape shape = graph.shape(x);
  if (shape.rank() != 2) {
    std::vector<std::int64_t> sizes(shape.dims().begin(), shape.dims().end());
    sizes.back() = options.units;
    y = in_shape(graph, y, std::move(sizes));
  }
  return softmax ? apply_activation(graph, options.activation, y) : y;
}

}  // namespace

ValueId affine(BuildContext& context, ValueId x, const AffineOptions& options) {
  Graph& graph = context.graph;
  const std::int64_t inputs = graph.shape(x).last();
  Init init = options.kernel_init;
  init.fan_in = static_cast<double>(inputs);
  init.fan_out = static_cast<double>(options.units);
  const ValueId weight = context.param(options.prefix + "weight", {inputs, options.units}, init);
  const ValueId y = graph.add_one("matmul", {as_matrix(graph, x), weight});
  return finish(context, x, y, options, inputs);
}

ValueId affine_tied(BuildContext& context, ValueId x, ValueId weight,
                    const AffineOptions& options) {
  Graph& graph = context.graph;
  const ValueId y =
      graph.add_one("matmul", {as_matrix(graph, x), weight}, {{"trans_b", std::int64_t{1}}});
  return finish(context, x, y, options, graph.shape(x).last());
}

}  // namespace dlt::nn
