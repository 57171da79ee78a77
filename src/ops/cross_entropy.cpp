// SPDX-License-Identifier: Apache-2.0
// nll and softmax_cross_entropy, with labels as class numbers (i32 [B]) or as target
// distributions (as the predictions, [B, n]).
#include <algorithm>
#include <cmath>
#include <cstdint>

#include "autodiff/graph.h"
#include "base/error.h"
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
using tensor::Shape;

/// The smoothed target distribution: q = (1 - s) target + s / n.
template <typename T>
class Targets {
 public:
  Targets(const tensor::View& labels, std::int64_t num_classes, const Attrs& attrs)
      : num_classes_(num_classes),
        smoothing_(attrs.number("label_smoothing")),
        classes_(labels.type.dtype == DType::i32 ? labels.as<const std::int32_t>() : nullptr),
        rows_(classes_ == nullptr ? labels.as<const T>() : nullptr) {}

  /// errors  Exit::data if the class number is out of range
  void check(std::int64_t sample) const {
    if (classes_ == nullptr || (classes_[sample] >= 0 && classes_[sample] < num_classes_)) return;
    throw Error(Exit::data, cat("cross entropy: the label of sample ", sample, " of the leaf is ",
                                classes_[sample], "; want 0 to ", num_classes_ - 1));
  }
  [[nodiscard]] double q(std::int64_t sample, std::int64_t j) const {
    const double target = classes_ != nullptr
                              ? (classes_[sample] == j ? 1.0 : 0.0)
                              : static_cast<double>(rows_[sample * num_classes_ + j]);
    return (1.0 - smoothing_) * target + smoothing_ / static_cast<double>(num_classes_);
  }

 private:
  std::int64_t num_classes_;
  double smoothing_;
  const std::int32_t* classes_;
  const T* rows_;
};

void check_labels(std::string_view op, std::string_view what, const tensor::TensorType& x,
                  const tensor::TensorType& labels, const Attrs& attrs) {
  expect_float(op, what, x);
  expect_rank(op, what, x, "[B, n]");
  if (x.shape[1] == 0) rule_broken(op, cat(what, " is ", x.text(), "; want n >= 1"));
  const bool classes = labels.dtype == DType::i32 && labels.shape == Shape{x.shape[0]};
  if (!classes && labels != x) {
    rule_broken(op, cat(what, " is ", x.text(), ", labels are ", labels.text(), "; want i32",
                        Shape{x.shape[0]}.text(), " or ", x.text()));
  }
  expect_label_smoothing(op, attrs);
}

void check_per_sample(std::string_view op, std::string_view what, const tensor::TensorType& x,
                      const tensor::TensorType& per_sample) {
  if (per_sample == tensor::TensorType{{x.shape[0]}, x.dtype}) return;
  rule_broken(op, cat("input 0 is ", x.text(), ", ", what, " is ", per_sample.text(), "; want ",
                      tensor::TensorType{{x.shape[0]}, x.dtype}.text()));
}

TypeList infer_nll(Types inputs, const Attrs& attrs) {
  expect_inputs("nll", inputs, 2);
  check_labels("nll", "logp", inputs[0], inputs[1], attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

template <typename T>
void nll_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const Targets<T> targets(args.inputs[1], shape[1], attrs);
  const T* logp = args.inputs[0].as<const T>();
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    targets.check(i);
    double loss = 0;
    for (std::int64_t j = 0; j < shape[1]; ++j) {
      const double q = targets.q(i, j);
      if (q != 0) loss -= q * static_cast<double>(logp[i * shape[1] + j]);  // 0 log 0 = 0
    }
    args.outputs[0].as<T>()[i] = static_cast<T>(loss);
  }
}

TypeList infer_nll_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("nll_grad", inputs, 3);
  check_labels("nll_grad", "logp", inputs[0], inputs[1], attrs);
  check_per_sample("nll_grad", "dloss", inputs[0], inputs[2]);
  return {inputs[0]};
}

template <typename T>
void nll_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const Targets<T> targets(args.inputs[1], shape[1], attrs);
  const T* dloss = args.inputs[2].as<const T>();
  T* dlogp = args.outputs[0].as<T>();
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    for (std::int64_t j = 0; j < shape[1]; ++j) {
      dlogp[i * shape[1] + j] = static_cast<T>(-targets.q(i, j) * static_cast<double>(dloss[i]));
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
  const tensor::TensorType per_sample{{inputs[0].shape[0]}, inputs[0].dtype};
  return {per_sample, per_sample};
}

/// lse = log(sum(exp(x))), loss = sum(q (lse - x))
template <typename T>
void softmax_cross_entropy_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape[1];
  const Targets<T> targets(args.inputs[1], n, attrs);
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    targets.check(i);
    const T* x = args.inputs[0].as<const T>() + i * n;
    const auto largest = static_cast<double>(*std::max_element(x, x + n));
    double sum = 0, loss = 0;
    for (std::int64_t j = 0; j < n; ++j) sum += std::exp(static_cast<double>(x[j]) - largest);
    const double log_sum = std::log(sum);
    for (std::int64_t j = 0; j < n; ++j) {
      const double q = targets.q(i, j);
      if (q != 0) loss += q * (log_sum - (static_cast<double>(x[j]) - largest));
    }
    args.outputs[0].as<T>()[i] = static_cast<T>(loss);
    args.outputs[1].as<T>()[i] = static_cast<T>(largest + log_sum);
  }
}

TypeList infer_softmax_cross_entropy_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("softmax_cross_entropy_grad", inputs, 4);
  check_labels("softmax_cross_entropy_grad", "logits", inputs[0], inputs[1], attrs);
  check_per_sample("softmax_cross_entropy_grad", "lse", inputs[0], inputs[2]);
  check_per_sample("softmax_cross_entropy_grad", "dloss", inputs[0], inputs[3]);
  return {inputs[0]};
}

/// dx = (exp(x - lse) sum(q) - q) dloss; a target distribution need not sum to one.
template <typename T>
void softmax_cross_entropy_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const Shape& shape = args.inputs[0].type.shape;
  const std::int64_t n = shape[1];
  const Targets<T> targets(args.inputs[1], n, attrs);
  for (std::int64_t i = 0; i < shape[0]; ++i) {
    const T* x = args.inputs[0].as<const T>() + i * n;
    T* dx = args.outputs[0].as<T>() + i * n;
    const auto lse = static_cast<double>(args.inputs[2].as<const T>()[i]);
    const auto dloss = static_cast<double>(args.inputs[3].as<const T>()[i]);
    double sum_q = 0;
    for (std::int64_t j = 0; j < n; ++j) sum_q += targets.q(i, j);
    for (std::int64_t j = 0; j < n; ++j) {
      const double p = std::exp(static_cast<double>(x[j]) - lse);
      dx[j] = static_cast<T>((p * sum_q - targets.q(i, j)) * dloss);
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
