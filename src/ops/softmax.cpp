// SPDX-License-Identifier: Apache-2.0
// softmax, log_softmax and their derivatives, along the last axis. All work row by row and may
// write over input 0.
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::OpDef;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;

template <OpName kName>
TypeList infer_rows(Types inputs, const Attrs& attrs) {
  const TypeList outputs = infer_unary<kName>(inputs, attrs);
  if (inputs[0].shape.rank() == 0 || inputs[0].shape.last() == 0) {
    rule_broken(kName.view(), cat("x is ", inputs[0].text(), "; want [..., n] with n >= 1"));
  }
  return outputs;
}

/// The largest element and the sum of exp(x - largest): nothing overflows.
struct RowSum {
  double largest, sum;
  template <typename T>
  RowSum(const T* x, std::int64_t n)
      : largest(static_cast<double>(*std::max_element(x, x + n))), sum(0) {
    for (std::int64_t j = 0; j < n; ++j) sum += std::exp(static_cast<double>(x[j]) - largest);
  }
};

template <typename T>
void softmax_host(const KernelArgs& args, const Attrs&) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t rows = shape.rows(), n = shape.last();
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* x = args.inputs[0].as<const T>() + i * n;
    T* y = args.outputs[0].as<T>() + i * n;
    const RowSum row(x, n);
    for (std::int64_t j = 0; j < n; ++j) {
      y[j] = static_cast<T>(std::exp(static_cast<double>(x[j]) - row.largest) / row.sum);
    }
  }
}

template <typename T>
void log_softmax_host(const KernelArgs& args, const Attrs&) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t rows = shape.rows(), n = shape.last();
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* x = args.inputs[0].as<const T>() + i * n;
    T* y = args.outputs[0].as<T>() + i * n;
    const RowSum row(x, n);
    const double log_sum = std::log(row.sum);
    for (std::int64_t j = 0; j < n; ++j) {
      y[j] = static_cast<T>(static_cast<double>(x[j]) - row.largest - log_sum);
    }
  }
}

/// dx = y (dy - sum(y dy))
template <typename T>
void softmax_grad_host(const KernelArgs& args, const Attrs&) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t rows = shape.rows(), n = shape.last();
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* y = args.inputs[0].as<const T>() + i * n;
    const T* dy = args.inputs[1].as<const T>() + i * n;
    T* dx = args.outputs[0].as<T>() + i * n;
    double dot = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      dot += static_cast<double>(y[j]) * static_cast<double>(dy[j]);
    }
    for (std::int64_t j = 0; j < n; ++j) {
      dx[j] = static_cast<T>(static_cast<double>(y[j]) * (static_cast<double>(dy[j]) - dot));
    }
  }
}

/// dx = dy - exp(y) sum(dy)
template <typename T>
void log_softmax_grad_host(const KernelArgs& args, const Attrs&) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t rows = shape.rows(), n = shape.last();
  for (std::int64_t i = 0; i < rows; ++i) {
    const T* y = args.inputs[0].as<const T>() + i * n;
    const T* dy = args.inputs[1].as<const T>() + i * n;
    T* dx = args.outputs[0].as<T>() + i * n;
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += static_cast<double>(dy[j]);
    for (std::int64_t j = 0; j < n; ++j) {
      dx[j] =
          static_cast<T>(static_cast<double>(dy[j]) - std::exp(static_cast<double>(y[j])) * sum);
    }
  }
}

std::vector<ValueId> softmax_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  return {graph.add_one("softmax_grad", {node.outputs[0], grads[0]})};
}
std::vector<ValueId> log_softmax_vjp(Graph& graph, const Node& node,
                                     std::span<const ValueId> grads) {
  return {graph.add_one("log_softmax_grad", {node.outputs[0], grads[0]})};
}

}  // namespace

OpDef make_softmax() {
  return {.name = "softmax",
          .infer = infer_rows<"softmax">,
          .host = host_kernel<softmax_host<float>, softmax_host<double>>,
          .vjp = softmax_vjp,
          .in_place = true};
}

OpDef make_log_softmax() {
  return {.name = "log_softmax",
          .infer = infer_rows<"log_softmax">,
          .host = host_kernel<log_softmax_host<float>, log_softmax_host<double>>,
          .vjp = log_softmax_vjp,
          .in_place = true};
}

OpDef make_softmax_grad() {
  return {.name = "softmax_grad",
          .infer = infer_grad<"softmax_grad">,
          .host = host_kernel<softmax_grad_host<float>, softmax_grad_host<double>>,
          .in_place = true};
}

OpDef make_log_softmax_grad() {
  return {.name = "log_softmax_grad",
          .infer = infer_grad<"log_softmax_grad">,
          .host = host_kernel<log_softmax_grad_host<float>, log_softmax_grad_host<double>>,
          .in_place = true};
}

}  // namespace dlt::ops
