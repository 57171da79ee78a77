// SPDX-License-Identifier: Apache-2.0
// global_avg_pool, global_max_pool and their derivatives: one number a channel of each sample, over
// all places or, with a mask [B, T], over those where it is not 0.
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/image_rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

void expect_places(std::string_view op, const tensor::TensorType& x) {
  expect_float(op, "x", x);
  if (x.shape.rank() >= 3 && x.shape.numel() > 0) return;
  rule_broken(op, cat("x is ", x.text(), "; want [B, ..., C] with places between, no size 0"));
}

void expect_pool_mask(std::string_view op, const tensor::TensorType& x,
                      const tensor::TensorType& mask) {
  const tensor::TensorType wanted{{x.shape[0], x.shape[1]}, x.dtype};
  if (x.shape.rank() == 3 && mask == wanted) return;
  rule_broken(op, cat("x is ", x.text(), ", mask is ", mask.text(),
                      "; want x [B, T, C] and mask [B, T] of one dtype"));
}

tensor::TensorType pooled(const tensor::TensorType& x) {
  return {{x.shape[0], x.shape.last()}, x.dtype};
}

template <OpName kName>
tensor::TensorType infer_forward(Types inputs) {
  DLT_CHECK(inputs.size() == 1 || inputs.size() == 2, kName.view());
  expect_places(kName.view(), inputs[0]);
  if (inputs.size() == 2) expect_pool_mask(kName.view(), inputs[0], inputs[1]);
  return pooled(inputs[0]);
}

/// x as [B, places, C].
struct Places {
  std::int64_t batch, places, channels;
  explicit Places(const Shape& x) : batch(x[0]), places(x.rows() / x[0]), channels(x.last()) {}
  [[nodiscard]] std::int64_t at(std::int64_t b, std::int64_t p, std::int64_t c) const {
    return (b * places + p) * channels + c;
  }
};

/// Whether place p of sample b counts; a mask, if there, is the input behind the first.
template <typename T>
bool counts(const KernelArgs& args, const Places& places, std::int64_t b, std::int64_t p) {
  return args.inputs.size() < 2 || args.inputs[1].as<const T>()[b * places.places + p] != T{0};
}

template <typename T>
std::int64_t num_counted(const KernelArgs& args, const Places& places, std::int64_t b) {
  std::int64_t count = 0;
  for (std::int64_t p = 0; p < places.places; ++p) count += counts<T>(args, places, b, p) ? 1 : 0;
  return count;
}

TypeList infer_avg(Types inputs, const Attrs&) {
  return {infer_forward<"global_avg_pool">(inputs)};
}

template <typename T>
void avg_host(const KernelArgs& args, const Attrs&) {
  const Places places(args.inputs[0].type.shape);
  const T* x = args.inputs[0].as<const T>();
  for (std::int64_t b = 0; b < places.batch; ++b) {
    const auto n = static_cast<double>(num_counted<T>(args, places, b));
    for (std::int64_t c = 0; c < places.channels; ++c) {
      double sum = 0;
      for (std::int64_t p = 0; p < places.places; ++p) {
        if (counts<T>(args, places, b, p)) sum += static_cast<double>(x[places.at(b, p, c)]);
      }
      args.outputs[0].as<T>()[b * places.channels + c] = static_cast<T>(n > 0 ? sum / n : 0.0);
    }
  }
}

std::vector<ValueId> avg_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  Attrs attrs;
  set_shape(attrs, graph.shape(node.inputs[0]));
  std::vector<ValueId> inputs = node.inputs;
  inputs[0] = grads[0];
  std::vector<ValueId> result{graph.add_one("global_avg_pool_grad", inputs, std::move(attrs))};
  result.resize(node.inputs.size());
  return result;
}

TypeList infer_avg_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "global_avg_pool_grad";
  DLT_CHECK(inputs.size() == 1 || inputs.size() == 2, kOp);
  const tensor::TensorType x{shape_of(attrs), inputs[0].dtype};
  expect_places(kOp, x);
  if (inputs[0] != pooled(x)) {
    rule_broken(
        kOp, cat("dy is ", inputs[0].text(), ", x is ", x.text(), "; want dy ", pooled(x).text()));
  }
  if (inputs.size() == 2) expect_pool_mask(kOp, x, inputs[1]);
  return {x};
}

template <typename T>
void avg_grad_host(const KernelArgs& args, const Attrs&) {
  const Places places(args.outputs[0].type.shape);
  T* dx = args.outputs[0].as<T>();
  for (std::int64_t b = 0; b < places.batch; ++b) {
    const auto n = static_cast<double>(num_counted<T>(args, places, b));
    for (std::int64_t p = 0; p < places.places; ++p) {
      const bool counted = counts<T>(args, places, b, p);
      for (std::int64_t c = 0; c < places.channels; ++c) {
        const auto dy = static_cast<double>(args.inputs[0].as<const T>()[b * places.channels + c]);
        dx[places.at(b, p, c)] = counted ? static_cast<T>(dy / n) : T{0};
      }
    }
  }
}

TypeList infer_max(Types inputs, const Attrs&) {
  const tensor::TensorType y = infer_forward<"global_max_pool">(inputs);
  return {y, {y.shape, DType::i32}};
}

/// The largest place, the first of equal ones; NaN is the largest of all. Without places 0, index
/// -1.
template <typename T>
void max_host(const KernelArgs& args, const Attrs&) {
  const Places places(args.inputs[0].type.shape);
  for (std::int64_t b = 0; b < places.batch; ++b) {
    for (std::int64_t c = 0; c < places.channels; ++c) {
      T best{0};
      std::int32_t index = -1;
      for (std::int64_t p = 0; p < places.places; ++p) {
        const T value = args.inputs[0].as<const T>()[places.at(b, p, c)];
        if (!counts<T>(args, places, b, p) || std::isnan(best)) continue;
        if (index >= 0 && !(value > best) && !std::isnan(value)) continue;
        best = value;
        index = static_cast<std::int32_t>(p);
      }
      args.outputs[0].as<T>()[b * places.channels + c] = best;
      args.outputs[1].as<std::int32_t>()[b * places.channels + c] = index;
    }
  }
}

std::vector<ValueId> max_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  Attrs attrs;
  set_shape(attrs, graph.shape(node.inputs[0]));
  std::vector<ValueId> result{
      graph.add_one("global_max_pool_grad", {grads[0], node.outputs[1]}, std::move(attrs))};
  result.resize(node.inputs.size());
  return result;
}

TypeList infer_max_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "global_max_pool_grad";
  expect_inputs(kOp, inputs, 2);
  const tensor::TensorType x{shape_of(attrs), inputs[0].dtype};
  expect_places(kOp, x);
  if (inputs[0] != pooled(x) || inputs[1] != tensor::TensorType{pooled(x).shape, DType::i32}) {
    rule_broken(kOp, cat("dy is ", inputs[0].text(), ", index is ", inputs[1].text(), ", x is ",
                         x.text(), "; want dy ", pooled(x).text(), " and an i32 index like it"));
  }
  return {x};
}

template <typename T>
void max_grad_host(const KernelArgs& args, const Attrs&) {
  const Places places(args.outputs[0].type.shape);
  T* dx = args.outputs[0].as<T>();
  for (std::int64_t b = 0; b < places.batch; ++b) {
    for (std::int64_t p = 0; p < places.places; ++p) {
      for (std::int64_t c = 0; c < places.channels; ++c) {
        const std::int64_t i = b * places.channels + c;
        const bool chosen = args.inputs[1].as<const std::int32_t>()[i] == p;
        dx[places.at(b, p, c)] = chosen ? args.inputs[0].as<const T>()[i] : T{0};
      }
    }
  }
}

}  // namespace

autodiff::OpDef make_global_avg_pool() {
  return {.name = "global_avg_pool",
          .infer = infer_avg,
          .host = host_kernel<avg_host<float>, avg_host<double>>,
          .vjp = avg_vjp};
}

autodiff::OpDef make_global_avg_pool_grad() {
  return {.name = "global_avg_pool_grad",
          .infer = infer_avg_grad,
          .host = host_kernel<avg_grad_host<float>, avg_grad_host<double>>};
}

autodiff::OpDef make_global_max_pool() {
  return {.name = "global_max_pool",
          .infer = infer_max,
          .host = host_kernel<max_host<float>, max_host<double>>,
          .vjp = max_vjp};
}

autodiff::OpDef make_global_max_pool_grad() {
  return {.name = "global_max_pool_grad",
          .infer = infer_max_grad,
          .host = host_kernel<max_grad_host<float>, max_grad_host<double>>};
}

}  // namespace dlt::ops
