// SPDX-License-Identifier: Apache-2.0
// nll and softmax_cross_entropy of predictions [B, ..., n], with labels as class numbers
// (i32 [B, ...]) or as target distributions (as the predictions).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
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

/// The target distribution of each row, q = w (keep · target + rest): keep and rest from
/// label_smoothing, w the class weights.
template <typename T>
class Targets {
 public:
  Targets(const tensor::View& labels, const LabelRows& rows, const Attrs& attrs)
      : rows_(rows),
        keep_(1.0 - attrs.number("label_smoothing")),
        rest_(attrs.number("label_smoothing") / static_cast<double>(rows.n)),
        weights_(attrs.numbers("class_weights")) {
    if (labels.type.dtype == DType::i32) {
      labels_.emplace(labels, rows, attrs);
    } else {
      distributions_ = labels.as<const T>();
    }
  }

  [[nodiscard]] bool counts(std::int64_t row) const { return !labels_ || labels_->counts(row); }
  /// errors  Exit::data if the class number is out of range
  void check(std::int64_t row) const {
    if (labels_) labels_->check(row);
  }
  [[nodiscard]] double share(std::int64_t sample) const {
    return labels_ ? labels_->share(sample) : 1.0 / static_cast<double>(rows_.per_sample);
  }
  [[nodiscard]] double q(std::int64_t row, std::int64_t j) const {
    const double target = labels_ ? (labels_->at(row) == j ? 1.0 : 0.0)
                                  : static_cast<double>(distributions_[row * rows_.n + j]);
    const double weight = weights_.empty() ? 1.0 : weights_[static_cast<std::size_t>(j)];
    return weight * (keep_ * target + rest_);
  }

 private:
  LabelRows rows_;
  double keep_, rest_;
  std::vector<double> weights_;
  std::optional<Labels> labels_;
  const T* distributions_ = nullptr;
};

void check_labels(std::string_view op, std::string_view what, const tensor::TensorType& x,
                  const tensor::TensorType& labels, const Attrs& attrs) {
  expect_label_rows(op, what, x);
  const tensor::TensorType classes{shape_of_labels(x.shape), DType::i32};
  if (labels != classes && labels != x) {
    rule_broken(op, cat(what, " is ", x.text(), ", labels are ", labels.text(), "; want ",
                        classes.text(), " or ", x.text()));
  }
  expect_label_smoothing(op, attrs);
  expect_class_weights(op, x.shape.last(), attrs);
}

TypeList infer_nll(Types inputs, const Attrs& attrs) {
  expect_inputs("nll", inputs, 2);
  check_labels("nll", "logp", inputs[0], inputs[1], attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

/// Each sample's mean of loss(row) over its rows that count.
template <typename T, typename F>
void sample_losses(const LabelRows& rows, const Targets<T>& targets, T* out, F loss) {
  for (std::int64_t b = 0; b < rows.samples; ++b) {
    double sum = 0;
    for (std::int64_t row = b * rows.per_sample; row < (b + 1) * rows.per_sample; ++row) {
      if (!targets.counts(row)) continue;
      targets.check(row);
      sum += loss(row);
    }
    out[b] = static_cast<T>(sum * targets.share(b));
  }
}

template <typename T>
void nll_host(const KernelArgs& args, const Attrs& attrs) {
  const LabelRows rows(args.inputs[0].type.shape);
  const Targets<T> targets(args.inputs[1], rows, attrs);
  const T* logp = args.inputs[0].as<const T>();
  sample_losses(rows, targets, args.outputs[0].as<T>(), [&](std::int64_t row) {
    double loss = 0;
    for (std::int64_t j = 0; j < rows.n; ++j) {
      const double q = targets.q(row, j);
      if (q != 0) loss -= q * static_cast<double>(logp[row * rows.n + j]);  // 0 log 0 = 0
    }
    return loss;
  });
}

TypeList infer_nll_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("nll_grad", inputs, 3);
  check_labels("nll_grad", "logp", inputs[0], inputs[1], attrs);
  expect_per_sample("nll_grad", inputs[0], "dloss", inputs[2]);
  return {inputs[0]};
}

template <typename T>
void nll_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const LabelRows rows(args.inputs[0].type.shape);
  const Targets<T> targets(args.inputs[1], rows, attrs);
  const T* dloss = args.inputs[2].as<const T>();
  T* dlogp = args.outputs[0].as<T>();
  for (std::int64_t row = 0; row < rows.rows(); ++row) {
    const std::int64_t b = row / rows.per_sample;
    const double factor =
        targets.counts(row) ? targets.share(b) * static_cast<double>(dloss[b]) : 0.0;
    for (std::int64_t j = 0; j < rows.n; ++j) {
      dlogp[row * rows.n + j] = static_cast<T>(-targets.q(row, j) * factor);
    }
  }
}

std::vector<ValueId> nll_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  return {graph.add_one("nll_grad", {node.inputs[0], node.inputs[1], grads[0]}, Attrs(node.attrs)),
          ValueId{}};
}

TypeList infer_softmax_cross_entropy(Types inputs, const Attrs& attrs) {
  expect_inputs("softmax_cross_entropy", inputs, 2);
  check_labels("softmax_cross_entropy", "logits", inputs[0], inputs[1], attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype},
          {shape_of_labels(inputs[0].shape), inputs[0].dtype}};
}

/// lse = log(sum(exp(x))), loss = sum(q (lse - x))
template <typename T>
void softmax_cross_entropy_host(const KernelArgs& args, const Attrs& attrs) {
  const LabelRows rows(args.inputs[0].type.shape);
  const std::int64_t n = rows.n;
  const Targets<T> targets(args.inputs[1], rows, attrs);
  std::fill_n(args.outputs[1].as<T>(), rows.rows(), T{0});  // where a label does not count
  sample_losses(rows, targets, args.outputs[0].as<T>(), [&](std::int64_t row) {
    const T* x = args.inputs[0].as<const T>() + row * n;
    const auto largest = static_cast<double>(*std::max_element(x, x + n));
    double sum = 0, loss = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += std::exp(static_cast<double>(x[j]) - largest);
    const double log_sum = std::log(sum);
    for (std::int64_t j = 0; j < n; ++j) {
      const double q = targets.q(row, j);
      if (q != 0) loss += q * (log_sum - (static_cast<double>(x[j]) - largest));
    }
    args.outputs[1].as<T>()[row] = static_cast<T>(largest + log_sum);
    return loss;
  });
}

TypeList infer_softmax_cross_entropy_grad(Types inputs, const Attrs& attrs) {
  constexpr std::string_view kName = "softmax_cross_entropy_grad";
  expect_inputs(kName, inputs, 4);
  check_labels(kName, "logits", inputs[0], inputs[1], attrs);
  const tensor::TensorType lse{shape_of_labels(inputs[0].shape), inputs[0].dtype};
  if (inputs[2] != lse) {
    rule_broken(kName, cat("logits is ", inputs[0].text(), ", lse is ", inputs[2].text(), "; want ",
                           lse.text()));
  }
  expect_per_sample(kName, inputs[0], "dloss", inputs[3]);
  return {inputs[0]};
}

/// dx = (exp(x - lse) sum(q) - q) dloss; a target distribution need not sum to one.
template <typename T>
void softmax_cross_entropy_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const LabelRows rows(args.inputs[0].type.shape);
  const std::int64_t n = rows.n;
  const Targets<T> targets(args.inputs[1], rows, attrs);
  for (std::int64_t row = 0; row < rows.rows(); ++row) {
    const T* x = args.inputs[0].as<const T>() + row * n;
    T* dx = args.outputs[0].as<T>() + row * n;
    if (!targets.counts(row)) {
      std::fill_n(dx, n, T{0});
      continue;
    }
    const std::int64_t b = row / rows.per_sample;
    const auto lse = static_cast<double>(args.inputs[2].as<const T>()[row]);
    const double factor = static_cast<double>(args.inputs[3].as<const T>()[b]) * targets.share(b);
    double sum_q = 0;
    for (std::int64_t j = 0; j < n; ++j) sum_q += targets.q(row, j);
    for (std::int64_t j = 0; j < n; ++j) {
      const double p = std::exp(static_cast<double>(x[j]) - lse);
      dx[j] = static_cast<T>((p * sum_q - targets.q(row, j)) * factor);
    }
  }
}

std::vector<ValueId> softmax_cross_entropy_vjp(Graph& graph, const Node& node,
                                               std::span<const ValueId> grads) {
  DLT_CHECK(grads[0].valid() && !grads[1].valid(), "lse is there for the gradient only");
  return {
      graph.add_one("softmax_cross_entropy_grad",
                    {node.inputs[0], node.inputs[1], node.outputs[1], grads[0]}, Attrs(node.attrs)),
      ValueId{}};
}

}  // namespace

OpDef make_nll() {
  return {.name = "nll",
          .infer = infer_nll,
          .host = host_kernel<nll_host<float>, nll_host<double>>,
          .vjp = nll_vjp};
}

OpDef make_nll_grad() {
  return {.name = "nll_grad",
          .infer = infer_nll_grad,
          .host = host_kernel<nll_grad_host<float>, nll_grad_host<double>>,
          .in_place = true};
}

OpDef make_softmax_cross_entropy() {
  return {
      .name = "softmax_cross_entropy",
      .infer = infer_softmax_cross_entropy,
      .host = host_kernel<softmax_cross_entropy_host<float>, softmax_cross_entropy_host<double>>,
      .vjp = softmax_cross_entropy_vjp};
}

OpDef make_softmax_cross_entropy_grad() {
  return {.name = "softmax_cross_entropy_grad",
          .infer = infer_softmax_cross_entropy_grad,
          .host = host_kernel<softmax_cross_entropy_grad_host<float>,
                              softmax_cross_entropy_grad_host<double>>,
          .in_place = true};
}

}  // namespace dlt::ops
