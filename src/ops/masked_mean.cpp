// SPDX-License-Identifier: Apache-2.0
// masked_mean: the mean of each row's numbers where a mask is above 0.5.
#include <cstdint>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/labels.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::OpDef;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;

TypeList infer_masked_mean(Types inputs, const Attrs&) {
  expect_inputs("masked_mean", inputs, 2);
  expect_float("masked_mean", "x", inputs[0]);
  expect_rank("masked_mean", "x", inputs[0], "[B, T]");
  expect_same("masked_mean", "x", inputs[0], "mask", inputs[1]);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

TypeList infer_masked_mean_grad(Types inputs, const Attrs&) {
  expect_inputs("masked_mean_grad", inputs, 2);
  expect_float("masked_mean_grad", "mask", inputs[0]);
  expect_rank("masked_mean_grad", "mask", inputs[0], "[B, T]");
  expect_per_sample("masked_mean_grad", inputs[0], "dy", inputs[1]);
  return {inputs[0]};
}

/// 1 / the numbers of a row that count; 0 if none does.
template <typename T>
double share(const T* mask, std::int64_t n) {
  std::int64_t count = 0;
  for (std::int64_t j = 0; j < n; ++j) count += mask[j] > T{0.5} ? 1 : 0;
  return count == 0 ? 0.0 : 1.0 / static_cast<double>(count);
}

template <typename T>
void masked_mean_host(const KernelArgs& args, const Attrs&) {
  const std::int64_t batch = args.outputs[0].numel(), n = args.inputs[0].type.shape[1];
  for (std::int64_t b = 0; b < batch; ++b) {
    const T *x = args.inputs[0].as<const T>() + b * n, *mask = args.inputs[1].as<const T>() + b * n;
    double sum = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += mask[j] > T{0.5} ? static_cast<double>(x[j]) : 0.0;
    args.outputs[0].as<T>()[b] = static_cast<T>(sum * share(mask, n));
  }
}

template <typename T>
void masked_mean_grad_host(const KernelArgs& args, const Attrs&) {
  const std::int64_t batch = args.inputs[1].numel(), n = args.inputs[0].type.shape[1];
  for (std::int64_t b = 0; b < batch; ++b) {
    const T* mask = args.inputs[0].as<const T>() + b * n;
    const double dx = static_cast<double>(args.inputs[1].as<const T>()[b]) * share(mask, n);
    T* out = args.outputs[0].as<T>() + b * n;
    for (std::int64_t j = 0; j < n; ++j) out[j] = static_cast<T>(mask[j] > T{0.5} ? dx : 0.0);
  }
}

std::vector<ValueId> masked_mean_vjp(Graph& graph, const Node& node,
                                     std::span<const ValueId> grads) {
  return {graph.add_one("masked_mean_grad", {node.inputs[1], grads[0]}), ValueId{}};
}

}  // namespace

OpDef make_masked_mean() {
  return {.name = "masked_mean",
          .infer = infer_masked_mean,
          .host = host_kernel<masked_mean_host<float>, masked_mean_host<double>>,
          .vjp = masked_mean_vjp};
}

OpDef make_masked_mean_grad() {
  return {.name = "masked_mean_grad",
          .infer = infer_masked_mean_grad,
          .host = host_kernel<masked_mean_grad_host<float>, masked_mean_grad_host<double>>};
}

}  // namespace dlt::ops
