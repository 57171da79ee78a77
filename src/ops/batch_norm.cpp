// SPDX-License-Identifier: Apache-2.0
// batch_norm, batch_norm_grad, batch_norm_inference, batch_norm_statistics: along the last axis,
// over all samples whose weight is not 0. source  Ioffe & Szegedy 2015, arXiv:1502.03167
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
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

void check_relu_or_none(std::string_view op, const Attrs& attrs) {
  const std::string word = attrs.word("activation", "none");
  if (word == "none" || word == "relu") return;
  rule_broken(op, cat("activation is ", printable(word), "; want none or relu"));
}

bool has_relu(const Attrs& attrs) { return attrs.word("activation", "none") == "relu"; }

/// Whether there is one input more than `plain`: what is added in front of the activation, or (of
/// the derivative) the output.
bool has_past(std::string_view op, Types inputs, std::size_t plain, const char* name) {
  if (inputs.size() != plain + 1) {
    expect_inputs(op, inputs, plain);
    return false;
  }
  expect_same(op, "x", inputs[0], name, inputs[plain]);
  return true;
}

TypeList infer_batch_norm(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "batch_norm";
  (void)has_past(kOp, inputs, 4, "past");
  expect_samples(kOp, inputs[0]);
  expect_vector(kOp, "gamma", inputs[1], inputs[0].shape.last(), inputs[0].dtype);
  expect_vector(kOp, "beta", inputs[2], inputs[0].shape.last(), inputs[0].dtype);
  expect_vector(kOp, "weight", inputs[3], inputs[0].shape[0], inputs[0].dtype);
  check_eps(kOp, attrs);
  check_relu_or_none(kOp, attrs);
  return {inputs[0], inputs[1], inputs[1], inputs[1]};
}

/// x [B, rows, C] with the samples that count.
template <typename T>
struct Samples {
  const T* x;
  const T* weight;
  std::int64_t batch, rows, channels;
  Samples(const KernelArgs& args, std::size_t weight_index)
      : x(args.inputs[0].as<const T>()), weight(args.inputs[weight_index].as<const T>()) {
    const Shape& shape = args.inputs[0].type.shape;
    batch = shape[0];
    channels = shape.last();
    rows = shape.rows() / batch;
  }
  [[nodiscard]] bool counts(std::int64_t b) const { return weight[b] != T{0}; }
  /// Elements of one channel in all samples that count.
  [[nodiscard]] double num_elements() const {
    std::int64_t samples = 0;
    for (std::int64_t b = 0; b < batch; ++b) samples += counts(b) ? 1 : 0;
    return static_cast<double>(samples * rows);
  }
  /// f(index of the element) for each of them.
  template <typename F>
  void each(std::int64_t c, F f) const {
    for (std::int64_t b = 0; b < batch; ++b) {
      if (!counts(b)) continue;
      for (std::int64_t r = 0; r < rows; ++r) f((b * rows + r) * channels + c);
    }
  }
};

template <typename T>
void batch_norm_host(const KernelArgs& args, const Attrs& attrs) {
  const Samples<T> samples(args, 3);
  const double eps = eps_of(attrs), n = samples.num_elements();
  const bool relu = has_relu(attrs);
  T* y = args.outputs[0].as<T>();
  const T* past = args.inputs.size() > 4 ? args.inputs[4].as<const T>() : nullptr;
  const auto finish = [&](double v, std::int64_t i) {
    // Rounded before the sum, as two ops do.
    const double sum = past == nullptr ? v : static_cast<double>(static_cast<T>(v) + past[i]);
    y[i] = static_cast<T>(relu && sum < 0 ? 0.0 : sum);
  };
  for (std::int64_t i = 0; i < args.outputs[0].numel(); ++i) {
    if (!samples.counts(i / (samples.rows * samples.channels))) finish(0.0, i);
  }
  for (std::int64_t c = 0; c < samples.channels; ++c) {
    const auto gamma = static_cast<double>(args.inputs[1].as<const T>()[c]);
    const auto beta = static_cast<double>(args.inputs[2].as<const T>()[c]);
    double sum = 0, squares = 0;
    samples.each(c, [&](std::int64_t i) { sum += static_cast<double>(samples.x[i]); });
    const double mean = n > 0 ? sum / n : 0.0;
    samples.each(c, [&](std::int64_t i) {
      const double d = static_cast<double>(samples.x[i]) - mean;
      squares += d * d;
    });
    const double variance = n > 0 ? squares / n : 0.0;
    const double inv_std = 1.0 / std::sqrt(variance + eps);
    samples.each(c, [&](std::int64_t i) {
      finish((static_cast<double>(samples.x[i]) - mean) * (gamma * inv_std) + beta, i);
    });
    args.outputs[1].as<T>()[c] = static_cast<T>(mean);
    args.outputs[2].as<T>()[c] = static_cast<T>(inv_std);
    args.outputs[3].as<T>()[c] = static_cast<T>(variance);
  }
}

std::vector<ValueId> batch_norm_vjp(Graph& graph, const Node& node,
                                    std::span<const ValueId> grads) {
  DLT_CHECK(!grads[1].valid() && !grads[2].valid() && !grads[3].valid(),
            "batch_norm: no derivative by its statistics");
  const bool past = node.inputs.size() > 4, cut = past && has_relu(node.attrs);
  std::vector<ValueId> inputs{node.inputs[0],  grads[0],        node.inputs[1], node.inputs[2],
                              node.outputs[1], node.outputs[2], node.inputs[3]};
  if (cut) inputs.push_back(node.outputs[0]);
  const std::vector<ValueId> d = graph.add("batch_norm_grad", std::move(inputs), Attrs(node.attrs));
  std::vector<ValueId> result{d[0], d[1], d[2], {}};
  if (past) result.push_back(cut ? d[3] : grads[0]);
  return result;
}

TypeList infer_batch_norm_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "batch_norm_grad";
  const bool past = has_past(kOp, inputs, 7, "y");
  DLT_CHECK(!past || has_relu(attrs), "batch_norm_grad: y is there for relu");
  expect_samples(kOp, inputs[0]);
  expect_same(kOp, "x", inputs[0], "dy", inputs[1]);
  constexpr const char* kNames[] = {"gamma", "beta", "mean", "inv_std"};
  for (std::size_t i = 0; i < 4; ++i) {
    expect_vector(kOp, kNames[i], inputs[2 + i], inputs[0].shape.last(), inputs[0].dtype);
  }
  expect_vector(kOp, "weight", inputs[6], inputs[0].shape[0], inputs[0].dtype);
  check_relu_or_none(kOp, attrs);
  TypeList types{inputs[0], inputs[2], inputs[2]};
  if (past) types.push_back(inputs[0]);
  return types;
}

/// dx = gamma inv_std (dy - mean(dy) - x̂ mean(dy x̂)) with dy 0 where relu cut the output off; that
/// dy is the gradient of past.
template <typename T>
void batch_norm_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Samples<T> samples(args, 6);
  const bool relu = has_relu(attrs);
  const double n = samples.num_elements();
  const auto at = [&](std::size_t input, std::int64_t i) {
    return static_cast<double>(args.inputs[input].as<const T>()[i]);
  };
  T* dx = args.outputs[0].as<T>();
  const bool past = args.inputs.size() > 7;
  for (std::int64_t i = 0; past && i < args.inputs[1].numel(); ++i) {
    args.outputs[3].as<T>()[i] = at(7, i) > 0 ? args.inputs[1].as<const T>()[i] : T{0};
  }
  for (std::int64_t c = 0; c < samples.channels; ++c) {
    const double gamma = at(2, c), beta = at(3, c), mean = at(4, c), inv_std = at(5, c);
    const auto slope = [&](std::int64_t i) {
      if (past) return static_cast<double>(args.outputs[3].as<T>()[i]);
      const bool cut = relu && (at(0, i) - mean) * (gamma * inv_std) + beta <= 0;
      return cut ? 0.0 : at(1, i);
    };
    double sum = 0, product = 0;
    samples.each(c, [&](std::int64_t i) {
      sum += slope(i);
      product += slope(i) * ((at(0, i) - mean) * inv_std);
    });
    for (std::int64_t b = 0; b < samples.batch; ++b) {
      for (std::int64_t r = 0; r < samples.rows; ++r) {
        const std::int64_t i = (b * samples.rows + r) * samples.channels + c;
        const double normal = (at(0, i) - mean) * inv_std;
        dx[i] = samples.counts(b)
                    ? static_cast<T>(gamma * inv_std * (slope(i) - sum / n - normal * product / n))
                    : T{0};
      }
    }
    args.outputs[1].as<T>()[c] = static_cast<T>(product);
    args.outputs[2].as<T>()[c] = static_cast<T>(sum);
  }
}

TypeList infer_batch_norm_inference(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kOp = "batch_norm_inference";
  (void)has_past(kOp, inputs, 5, "past");
  expect_samples(kOp, inputs[0]);
  constexpr const char* kNames[] = {"gamma", "beta", "mean", "variance"};
  for (std::size_t i = 0; i < 4; ++i) {
    expect_vector(kOp, kNames[i], inputs[1 + i], inputs[0].shape.last(), inputs[0].dtype);
  }
  check_eps(kOp, attrs);
  check_relu_or_none(kOp, attrs);
  return {inputs[0]};
}

template <typename T>
void batch_norm_inference_host(const KernelArgs& args, const Attrs& attrs) {
  const double eps = eps_of(attrs);
  const bool relu = has_relu(attrs);
  const std::int64_t channels = args.inputs[0].type.shape.last(), count = args.inputs[0].numel();
  const auto at = [&](std::size_t input, std::int64_t i) {
    return static_cast<double>(args.inputs[input].as<const T>()[i]);
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t c = i % channels;
    double v = (at(0, i) - at(3, c)) * (at(1, c) / std::sqrt(at(4, c) + eps)) + at(2, c);
    if (args.inputs.size() > 5) {
      v = static_cast<double>(static_cast<T>(v) + args.inputs[5].as<const T>()[i]);
    }
    args.outputs[0].as<T>()[i] = static_cast<T>(relu && v < 0 ? 0.0 : v);
  }
}

TypeList infer_batch_norm_statistics(Types inputs, const Attrs&) {
  constexpr std::string_view kOp = "batch_norm_statistics";
  expect_inputs(kOp, inputs, 4);
  expect_float(kOp, "mean", inputs[0]);
  expect_rank(kOp, "mean", inputs[0], "[C]");
  expect_same(kOp, "mean", inputs[0], "variance", inputs[1]);
  expect_rank(kOp, "weight", inputs[2], "[B]");
  expect_vector(kOp, "weight", inputs[2], inputs[2].shape[0], inputs[0].dtype);
  expect_same(kOp, "mean", inputs[0], "running_mean", inputs[3]);
  return {inputs[0], inputs[0]};
}

template <typename T>
void batch_norm_statistics_host(const KernelArgs& args, const Attrs&) {
  double weight = 0;
  for (std::int64_t b = 0; b < args.inputs[2].numel(); ++b) {
    weight += static_cast<double>(args.inputs[2].as<const T>()[b]);
  }
  for (std::int64_t c = 0; c < args.inputs[0].numel(); ++c) {
    const double shift = static_cast<double>(args.inputs[0].as<const T>()[c]) -
                         static_cast<double>(args.inputs[3].as<const T>()[c]);
    const auto variance = static_cast<double>(args.inputs[1].as<const T>()[c]);
    args.outputs[0].as<T>()[c] = static_cast<T>(weight * shift);
    args.outputs[1].as<T>()[c] = static_cast<T>(weight * (variance + shift * shift));
  }
}

}  // namespace

autodiff::OpDef make_batch_norm() {
  return {.name = "batch_norm",
          .infer = infer_batch_norm,
          .host = host_kernel<batch_norm_host<float>, batch_norm_host<double>>,
          .vjp = batch_norm_vjp};
}

autodiff::OpDef make_batch_norm_grad() {
  return {.name = "batch_norm_grad",
          .infer = infer_batch_norm_grad,
          .host = host_kernel<batch_norm_grad_host<float>, batch_norm_grad_host<double>>,
          .in_place = true,
          .also_in_place = {.output = 3, .input = 7}};
}

autodiff::OpDef make_batch_norm_inference() {
  return {.name = "batch_norm_inference",
          .infer = infer_batch_norm_inference,
          .host = host_kernel<batch_norm_inference_host<float>, batch_norm_inference_host<double>>,
          .in_place = true};
}

autodiff::OpDef make_batch_norm_statistics() {
  return {
      .name = "batch_norm_statistics",
      .infer = infer_batch_norm_statistics,
      .host = host_kernel<batch_norm_statistics_host<float>, batch_norm_statistics_host<double>>};
}

}  // namespace dlt::ops
