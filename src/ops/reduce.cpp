// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>

#include "autodiff/graph.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::ValueId;
using tensor::Attrs;

TypeList infer_sum_rows(Types inputs, const Attrs& attrs) {
  (void)infer_unary<"sum_rows">(inputs, attrs);
  if (inputs[0].shape.rank() == 0) rule_broken("sum_rows", "x is a scalar; want [B, ...]");
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

template <typename T>
void sum_rows_host(const tensor::KernelArgs& args, const Attrs&) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape.without_front().numel();
  const T* x = args.inputs[0].as<const T>();
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += static_cast<double>(x[i * n + j]);
    args.outputs[0].as<T>()[i] = static_cast<T>(sum);
  }
}

/// dx[b, ...] = dy[b], as the product of dy [B, 1] and ones [1, n].
std::vector<ValueId> sum_rows_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                  std::span<const ValueId> grads) {
  using Dims = std::vector<std::int64_t>;
  const tensor::TensorType type = graph.value(node.inputs[0]).type;
  const std::int64_t batch = type.shape[0], n = type.shape.without_front().numel();
  const ValueId column = graph.add_one("reshape", {grads[0]}, {{"shape", Dims{batch, 1}}});
  const ValueId ones = graph.add_one(
      "fill", {},
      {{"shape", Dims{1, n}}, {"value", 1.0}, {"dtype", std::string(name(type.dtype))}});
  const ValueId product = graph.add_one("matmul", {column, ones});
  const std::span<const std::int64_t> dims = type.shape.dims();
  return {graph.add_one("reshape", {product}, {{"shape", Dims(dims.begin(), dims.end())}})};
}

}  // namespace

autodiff::OpDef make_sum_rows() {
  return {.name = "sum_rows",
          .infer = infer_sum_rows,
          .host = host_kernel<sum_rows_host<float>, sum_rows_host<double>>,
          .vjp = sum_rows_vjp};
}

}  // namespace dlt::ops
