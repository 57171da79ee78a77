// SPDX-License-Identifier: Apache-2.0
// Connectionist temporal classification: minus the log of the probability, summed over all paths,
// that log-probabilities [B, T, C] spell the labels [B, L].
// source  Graves et al. 2006, "Connectionist temporal classification", section 4.1
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/labels.h"

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::OpDef;
using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::TensorType;

constexpr double kNever = -std::numeric_limits<double>::infinity();

double log_sum(double a, double b) {
  const double high = std::max(a, b), low = std::min(a, b);
  return low == kNever ? high : high + std::log1p(std::exp(low - high));
}

/// One sample's trellis: states are blank, label, blank, label, ..., blank.
template <typename T>
class Trellis {
 public:
  Trellis(const T* logp, std::int64_t steps, std::int64_t classes, std::int64_t blank)
      : logp_(logp), steps_(steps), classes_(classes), blank_(blank) {}

  /// Takes the labels up to the first -1. errors  Exit::data if one is out of range or the blank
  void read(const std::int32_t* labels, std::int64_t max_labels, std::int64_t sample) {
    states_.assign(1, blank_);
    for (std::int64_t i = 0; i < max_labels && labels[i] != -1; ++i) {
      if (labels[i] < 0 || labels[i] >= classes_ || labels[i] == blank_) {
        throw Error(Exit::data, cat("ctc: label ", i, " of sample ", sample, " of the leaf is ",
                                    labels[i], "; want 0 to ", classes_ - 1, ", not the blank, ",
                                    blank_, ", and -1 behind the last"));
      }
      states_.push_back(labels[i]);
      states_.push_back(blank_);
    }
  }
  [[nodiscard]] std::int64_t num_states() const {
    return static_cast<std::int64_t>(states_.size());
  }
  [[nodiscard]] std::int64_t num_labels() const { return (num_states() - 1) / 2; }

  /// alpha(t, s): log-probability of all ways to be in s after step t.
  [[nodiscard]] std::vector<double> forward() const {
    const std::int64_t n = num_states();
    std::vector<double> alpha(static_cast<std::size_t>(steps_ * n), kNever);
    const auto at = [&](std::int64_t t, std::int64_t s) -> double& {
      return alpha[static_cast<std::size_t>(t * n + s)];
    };
    for (std::int64_t s = 0; s < std::min<std::int64_t>(n, 2); ++s) at(0, s) = p(0, s);
    for (std::int64_t t = 1; t < steps_; ++t) {
      for (std::int64_t s = 0; s < n; ++s) {
        double sum = at(t - 1, s);
        if (s >= 1) sum = log_sum(sum, at(t - 1, s - 1));
        if (may_skip(s)) sum = log_sum(sum, at(t - 1, s - 2));
        at(t, s) = sum + p(t, s);
      }
    }
    return alpha;
  }
  /// beta(t, s): log-probability of all ways from s at step t, that step not counted, to the end.
  [[nodiscard]] std::vector<double> backward() const {
    const std::int64_t n = num_states();
    std::vector<double> beta(static_cast<std::size_t>(steps_ * n), kNever);
    const auto at = [&](std::int64_t t, std::int64_t s) -> double& {
      return beta[static_cast<std::size_t>(t * n + s)];
    };
    for (std::int64_t s = std::max<std::int64_t>(0, n - 2); s < n; ++s) at(steps_ - 1, s) = 0;
    for (std::int64_t t = steps_ - 2; t >= 0; --t) {
      for (std::int64_t s = 0; s < n; ++s) {
        double sum = at(t + 1, s) + p(t + 1, s);
        if (s + 1 < n) sum = log_sum(sum, at(t + 1, s + 1) + p(t + 1, s + 1));
        if (s + 2 < n && may_skip(s + 2)) sum = log_sum(sum, at(t + 1, s + 2) + p(t + 1, s + 2));
        at(t, s) = sum;
      }
    }
    return beta;
  }
  /// Log-probability of the labels.
  [[nodiscard]] double total(const std::vector<double>& alpha) const {
    const std::size_t end = alpha.size();
    return num_states() == 1 ? alpha[end - 1] : log_sum(alpha[end - 1], alpha[end - 2]);
  }
  [[nodiscard]] std::int64_t state(std::int64_t s) const {
    return states_[static_cast<std::size_t>(s)];
  }

 private:
  [[nodiscard]] double p(std::int64_t t, std::int64_t s) const {
    return static_cast<double>(logp_[t * classes_ + state(s)]);
  }
  [[nodiscard]] bool may_skip(std::int64_t s) const {
    return s >= 2 && state(s) != blank_ && state(s) != state(s - 2);
  }

  const T* logp_;
  std::int64_t steps_, classes_, blank_;
  std::vector<std::int64_t> states_;
};

std::int64_t blank_of(const Attrs& attrs) { return attrs.integer("blank", 0); }

/// One sample's number of steps: without a mask all, else those the mask is 1 for (at the front).
template <typename T>
std::int64_t num_steps(const KernelArgs& args, std::size_t mask, std::int64_t sample) {
  const std::int64_t steps = args.inputs[0].type.shape[1];
  if (args.inputs.size() <= mask) return steps;
  const T* real = args.inputs[mask].as<const T>() + sample * steps;
  return std::count_if(real, real + steps, [](T x) { return x > T{0.5}; });
}

double loss_divisor(const Attrs& attrs, std::int64_t num_labels) {
  if (attrs.integer("per_label", 1) == 0) return 1.0;
  return static_cast<double>(std::max<std::int64_t>(1, num_labels));
}

template <typename T>
void ctc_host(const KernelArgs& args, const Attrs& attrs) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t max_labels = args.inputs[1].type.shape[1];
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    const std::int64_t steps = num_steps<T>(args, 2, b);
    Trellis<T> trellis(args.inputs[0].as<const T>() + b * shape[1] * shape[2], steps, shape[2],
                       blank_of(attrs));
    trellis.read(args.inputs[1].as<const std::int32_t>() + b * max_labels, max_labels, b);
    double total = trellis.num_labels() == 0 ? 0.0 : kNever;
    if (steps > 0) total = trellis.total(trellis.forward());
    double loss = -total / loss_divisor(attrs, trellis.num_labels());
    if (total == kNever && attrs.integer("zero_infinity") != 0) loss = 0;
    args.outputs[0].as<T>()[b] = static_cast<T>(loss);
  }
}

/// d loss / d logp(t, c) = - the probability of being in a state of class c at t.
template <typename T>
void ctc_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t max_labels = args.inputs[1].type.shape[1], classes = shape[2];
  std::fill_n(args.outputs[0].as<T>(), shape.numel(), T{0});
  std::vector<double> posterior(static_cast<std::size_t>(classes));
  for (std::int64_t b = 0; b < shape[0]; ++b) {
    const std::int64_t steps = num_steps<T>(args, 3, b);
    Trellis<T> trellis(args.inputs[0].as<const T>() + b * shape[1] * classes, steps, classes,
                       blank_of(attrs));
    trellis.read(args.inputs[1].as<const std::int32_t>() + b * max_labels, max_labels, b);
    if (steps == 0) continue;
    const std::vector<double> alpha = trellis.forward(), beta = trellis.backward();
    const double total = trellis.total(alpha);
    if (total == kNever && attrs.integer("zero_infinity") != 0) continue;
    const double scale = static_cast<double>(args.inputs[2].as<const T>()[b]) /
                         loss_divisor(attrs, trellis.num_labels());
    T* out = args.outputs[0].as<T>() + b * shape[1] * classes;
    for (std::int64_t t = 0; t < steps; ++t) {
      std::fill(posterior.begin(), posterior.end(), 0.0);
      for (std::int64_t s = 0; s < trellis.num_states(); ++s) {
        const auto at = static_cast<std::size_t>(t * trellis.num_states() + s);
        posterior[static_cast<std::size_t>(trellis.state(s))] +=
            std::exp(alpha[at] + beta[at] - total);
      }
      for (std::int64_t c = 0; c < classes; ++c) {
        out[t * classes + c] = static_cast<T>(-scale * posterior[static_cast<std::size_t>(c)]);
      }
    }
  }
}

void check_ctc(std::string_view op, Types inputs, std::size_t mask, const Attrs& attrs) {
  expect_float(op, "logp", inputs[0]);
  expect_rank(op, "logp", inputs[0], "[B, T, C]");
  const tensor::Shape& shape = inputs[0].shape;
  const TensorType& labels = inputs[1];
  if (labels.dtype != DType::i32 || labels.shape.rank() != 2 || labels.shape[0] != shape[0]) {
    rule_broken(op, cat("logp is ", inputs[0].text(), ", labels are ", labels.text(),
                        "; want i32 [B, L] of the same B"));
  }
  const TensorType wanted{{shape[0], shape[1]}, inputs[0].dtype};
  if (inputs.size() > mask && inputs[mask] != wanted) {
    rule_broken(op, cat("logp is ", inputs[0].text(), ", mask is ", inputs[mask].text(), "; want ",
                        wanted.text()));
  }
  const auto blank = static_cast<double>(blank_of(attrs));
  expect_number(op, "blank", blank, blank >= 0 && blank < static_cast<double>(shape[2]),
                cat("0 <= blank < ", shape[2]));
}

TypeList infer_ctc(Types inputs, const Attrs& attrs) {
  expect_inputs("ctc_loss", inputs.first(std::min<std::size_t>(2, inputs.size())), 2);
  DLT_CHECK(inputs.size() <= 3, "ctc_loss: too many inputs");
  check_ctc("ctc_loss", inputs, 2, attrs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

TypeList infer_ctc_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("ctc_loss_grad", inputs.first(std::min<std::size_t>(3, inputs.size())), 3);
  DLT_CHECK(inputs.size() <= 4, "ctc_loss_grad: too many inputs");
  check_ctc("ctc_loss_grad", inputs, 3, attrs);
  expect_per_sample("ctc_loss_grad", inputs[0], "dloss", inputs[2]);
  return {inputs[0]};
}

std::vector<ValueId> ctc_vjp(Graph& graph, const Node& node, std::span<const ValueId> grads) {
  std::vector<ValueId> inputs{node.inputs[0], node.inputs[1], grads[0]};
  std::vector<ValueId> result{ValueId{}, ValueId{}};
  if (node.inputs.size() > 2) {
    inputs.push_back(node.inputs[2]);
    result.emplace_back();
  }
  result[0] = graph.add_one("ctc_loss_grad", inputs, Attrs(node.attrs));
  return result;
}

}  // namespace

OpDef make_ctc_loss() {
  return {.name = "ctc_loss",
          .infer = infer_ctc,
          .host = host_kernel<ctc_host<float>, ctc_host<double>>,
          .vjp = ctc_vjp};
}

OpDef make_ctc_loss_grad() {
  return {.name = "ctc_loss_grad",
          .infer = infer_ctc_grad,
          .host = host_kernel<ctc_grad_host<float>, ctc_grad_host<double>>};
}

}  // namespace dlt::ops
