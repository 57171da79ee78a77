// SPDX-License-Identifier: Apache-2.0
// batch_moments, batch_norm_moments, sync_sum: batch_norm in three pieces, so that the sums of all
// leaves can be added between the first and the last. m [2C + 1] holds, over all samples of weight
// 1, Σ (x - shift), Σ (x - shift)² for each channel, and the number of elements of a channel.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/norm_rules.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;
using tensor::TensorType;

TensorType moments_type(const TensorType& x) { return {Shape{2 * x.shape.last() + 1}, x.dtype}; }

TypeList infer_batch_moments(Types inputs, const Attrs&) {
  constexpr std::string_view kOp = "batch_moments";
  expect_inputs(kOp, inputs, 3);
  expect_samples(kOp, inputs[0]);
  expect_vector(kOp, "weight", inputs[1], inputs[0].shape[0], inputs[0].dtype);
  expect_vector(kOp, "shift", inputs[2], inputs[0].shape.last(), inputs[0].dtype);
  return {moments_type(inputs[0])};
}

/// x [batch, rows, channels]
struct MomentSizes {
  std::int64_t batch, rows, channels;
  explicit MomentSizes(const Shape& x) : batch(x[0]), rows(x.rows() / x[0]), channels(x.last()) {}
};

template <typename T>
double at(const KernelArgs& args, std::size_t input, std::int64_t i) {
  return static_cast<double>(args.inputs[input].as<const T>()[i]);
}

template <typename T>
void batch_moments_host(const KernelArgs& args, const Attrs&) {
  const MomentSizes s(args.inputs[0].type.shape);
  T* m = args.outputs[0].as<T>();
  double n = 0;
  for (std::int64_t b = 0; b < s.batch; ++b) n += at<T>(args, 1, b) != 0 ? 1.0 : 0.0;
  for (std::int64_t c = 0; c < s.channels; ++c) {
    double sum = 0, squares = 0;
    for (std::int64_t i = 0; i < s.batch * s.rows; ++i) {
      if (at<T>(args, 1, i / s.rows) == 0) continue;
      const double d = at<T>(args, 0, i * s.channels + c) - at<T>(args, 2, c);
      sum += d;
      squares += d * d;
    }
    m[c] = static_cast<T>(sum);
    m[s.channels + c] = static_cast<T>(squares);
  }
  m[2 * s.channels] = static_cast<T>(n * static_cast<double>(s.rows));
}

std::vector<ValueId> batch_moments_vjp(Graph& graph, const Node& node,
                                       std::span<const ValueId> grads) {
  std::vector<ValueId> inputs = node.inputs;
  inputs.push_back(grads[0]);
  return {graph.add_one("batch_moments_grad", inputs), {}, {}};
}

TypeList infer_batch_moments_grad(Types inputs, const Attrs&) {
  constexpr std::string_view kOp = "batch_moments_grad";
  expect_inputs(kOp, inputs, 4);
  (void)infer_batch_moments(inputs.first(3), {});
  expect_vector(kOp, "dm", inputs[3], 2 * inputs[0].shape.last() + 1, inputs[0].dtype);
  return {inputs[0]};
}

/// dx = weight (dΣ₁ + 2 (x - shift) dΣ₂)
template <typename T>
void batch_moments_grad_host(const KernelArgs& args, const Attrs&) {
  const MomentSizes s(args.inputs[0].type.shape);
  T* dx = args.outputs[0].as<T>();
  for (std::int64_t i = 0; i < s.batch * s.rows; ++i) {
    const bool counts = at<T>(args, 1, i / s.rows) != 0;
    for (std::int64_t c = 0; c < s.channels; ++c) {
      const double d = at<T>(args, 0, i * s.channels + c) - at<T>(args, 2, c);
      const double g = at<T>(args, 3, c) + 2 * d * at<T>(args, 3, s.channels + c);
      dx[i * s.channels + c] = counts ? static_cast<T>(g) : T{0};
    }
  }
}

TypeList infer_batch_norm_moments(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "batch_norm_moments";
  expect_inputs(kOp, inputs, 5);
  expect_samples(kOp, inputs[0]);
  const std::int64_t channels = inputs[0].shape.last();
  constexpr const char* kNames[] = {"gamma", "beta", "m", "shift"};
  for (std::size_t i = 0; i < 4; ++i) {
    expect_vector(kOp, kNames[i], inputs[1 + i], i == 2 ? 2 * channels + 1 : channels,
                  inputs[0].dtype);
  }
  check_eps(kOp, attrs);
  return {inputs[0]};
}

/// The moments of channel c.
struct Moments {
  double n, shift, variance, inv_std;
  template <typename T>
  static Moments of(const T* m, std::int64_t channels, std::int64_t c, double eps) {
    const double n = static_cast<double>(m[2 * channels]);
    const double shift = n > 0 ? static_cast<double>(m[c]) / n : 0;
    const double squares = n > 0 ? static_cast<double>(m[channels + c]) / n : 0;
    const double v = std::max(squares - shift * shift, 0.0);  // less is rounding
    return {n, shift, v, 1.0 / std::sqrt(v + eps)};
  }
};

template <typename T>
void batch_norm_moments_host(const KernelArgs& args, const Attrs& attrs) {
  const MomentSizes s(args.inputs[0].type.shape);
  T* y = args.outputs[0].as<T>();
  for (std::int64_t c = 0; c < s.channels; ++c) {
    const Moments k = Moments::of(args.inputs[3].as<const T>(), s.channels, c, eps_of(attrs));
    const double mean = at<T>(args, 4, c) + k.shift;
    for (std::int64_t i = c; i < s.batch * s.rows * s.channels; i += s.channels) {
      y[i] = static_cast<T>((at<T>(args, 0, i) - mean) * (at<T>(args, 1, c) * k.inv_std) +
                            at<T>(args, 2, c));
    }
  }
}

/// shift gets no gradient: y does not depend on it, only its rounding does.
std::vector<ValueId> batch_norm_moments_vjp(Graph& graph, const Node& node,
                                            std::span<const ValueId> grads) {
  const std::vector<ValueId> d =
      graph.add("batch_norm_moments_grad",
                {node.inputs[0], grads[0], node.inputs[1], node.inputs[3], node.inputs[4]},
                Attrs(node.attrs));
  return {d[0], d[1], d[2], d[3], {}};
}

TypeList infer_batch_norm_moments_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "batch_norm_moments_grad";
  expect_inputs(kOp, inputs, 5);
  expect_samples(kOp, inputs[0]);
  expect_same(kOp, "x", inputs[0], "dy", inputs[1]);
  const std::int64_t channels = inputs[0].shape.last();
  expect_vector(kOp, "gamma", inputs[2], channels, inputs[0].dtype);
  expect_vector(kOp, "m", inputs[3], 2 * channels + 1, inputs[0].dtype);
  expect_vector(kOp, "shift", inputs[4], channels, inputs[0].dtype);
  check_eps(kOp, attrs);
  return {inputs[0], inputs[2], inputs[2], inputs[3]};
}

/// dx = γ r dy; dγ = Σ dy x̂; dβ = Σ dy; with r = (v + ε)^-½, dmean = -γ r dβ, dv = -½ γ r² dγ:
/// dΣ₁ = (dmean - 2 dv Σ₁/n) / n, dΣ₂ = dv / n, dn = -Σ (n dΣ₁ Σ₁ + n dΣ₂ Σ₂) / n²
template <typename T>
void batch_norm_moments_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const MomentSizes s(args.inputs[0].type.shape);
  const T* m = args.inputs[3].as<const T>();
  T *dx = args.outputs[0].as<T>(), *dm = args.outputs[3].as<T>();
  double dn = 0;
  for (std::int64_t c = 0; c < s.channels; ++c) {
    const Moments k = Moments::of(m, s.channels, c, eps_of(attrs));
    const double mean = at<T>(args, 4, c) + k.shift, gamma = at<T>(args, 2, c);
    double sum = 0, product = 0;
    for (std::int64_t i = c; i < s.batch * s.rows * s.channels; i += s.channels) {
      const double dy = at<T>(args, 1, i);
      sum += dy;
      product += dy * (at<T>(args, 0, i) - mean) * k.inv_std;
      dx[i] = static_cast<T>(gamma * k.inv_std * dy);
    }
    args.outputs[1].as<T>()[c] = static_cast<T>(product);
    args.outputs[2].as<T>()[c] = static_cast<T>(sum);
    const double dv = k.variance > 0 ? -0.5 * gamma * k.inv_std * k.inv_std * product : 0.0;
    const double dshift = -gamma * k.inv_std * sum - 2 * dv * k.shift;
    dm[c] = static_cast<T>(k.n > 0 ? dshift / k.n : 0);
    dm[s.channels + c] = static_cast<T>(k.n > 0 ? dv / k.n : 0);
    if (k.n <= 0) continue;
    dn -= (dshift * static_cast<double>(m[c]) + dv * static_cast<double>(m[s.channels + c])) /
          (k.n * k.n);
  }
  dm[2 * s.channels] = static_cast<T>(dn);
}

template <typename T>
void sync_sum_host(const KernelArgs& args, const Attrs&) {
  std::copy_n(args.inputs[0].as<const T>(), args.inputs[0].numel(), args.outputs[0].as<T>());
}

/// Every leaf's sum has every leaf's part in it, so a part's gradient is the sum of all.
std::vector<ValueId> sync_sum_vjp(Graph& graph, const Node&, std::span<const ValueId> grads) {
  return {graph.add_one("sync_sum", {grads[0]})};
}

}  // namespace

autodiff::OpDef make_batch_moments() {
  return {.name = "batch_moments",
          .infer = infer_batch_moments,
          .host = host_kernel<batch_moments_host<float>, batch_moments_host<double>>,
          .vjp = batch_moments_vjp};
}

autodiff::OpDef make_batch_moments_grad() {
  return {.name = "batch_moments_grad",
          .infer = infer_batch_moments_grad,
          .host = host_kernel<batch_moments_grad_host<float>, batch_moments_grad_host<double>>};
}

autodiff::OpDef make_batch_norm_moments() {
  return {.name = "batch_norm_moments",
          .infer = infer_batch_norm_moments,
          .host = host_kernel<batch_norm_moments_host<float>, batch_norm_moments_host<double>>,
          .vjp = batch_norm_moments_vjp};
}

autodiff::OpDef make_batch_norm_moments_grad() {
  return {
      .name = "batch_norm_moments_grad",
      .infer = infer_batch_norm_moments_grad,
      .host =
          host_kernel<batch_norm_moments_grad_host<float>, batch_norm_moments_grad_host<double>>};
}

autodiff::OpDef make_sync_sum() {
  return {.name = "sync_sum",
          .infer = infer_unary<"sync_sum">,
          .host = host_kernel<sync_sum_host<float>, sync_sum_host<double>>,
          .vjp = sync_sum_vjp,
          .sync = true};
}

}  // namespace dlt::ops
