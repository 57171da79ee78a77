// SPDX-License-Identifier: Apache-2.0
// The element-wise losses of values (see sample_loss.h).
#include <algorithm>
#include <cmath>

#include "base/text.h"
#include "ops/activation.h"
#include "ops/defs.h"
#include "ops/labels.h"
#include "ops/sample_loss.h"

namespace dlt::ops {
namespace {

using autodiff::OpDef;
using tensor::Attrs;

struct Mean {
  static constexpr bool kSumsRows = false;
};

template <typename>
struct Mse : Mean {
  explicit Mse(const Attrs&) {}
  [[nodiscard]] double value(double p, double t) const { return (p - t) * (p - t); }
  [[nodiscard]] double slope(double p, double t) const { return 2.0 * (p - t); }
};

template <typename>
struct Mae : Mean {
  explicit Mae(const Attrs&) {}
  [[nodiscard]] double value(double p, double t) const { return std::abs(p - t); }
  [[nodiscard]] double slope(double p, double t) const { return p > t ? 1.0 : p < t ? -1.0 : 0.0; }
};

double delta_of(const Attrs& attrs) { return attrs.number("delta", 1.0); }

/// source  Huber 1964, "Robust estimation of a location parameter"
template <typename>
struct Huber : Mean {
  double delta;
  explicit Huber(const Attrs& attrs) : delta(delta_of(attrs)) {}
  [[nodiscard]] double value(double p, double t) const {
    const double d = std::abs(p - t);
    return d <= delta ? 0.5 * d * d : delta * (d - 0.5 * delta);
  }
  [[nodiscard]] double slope(double p, double t) const { return std::clamp(p - t, -delta, delta); }
};

/// log cosh(d) = |d| + log(1 + exp(-2 |d|)) - log 2
template <typename>
struct LogCosh : Mean {
  explicit LogCosh(const Attrs&) {}
  [[nodiscard]] double value(double p, double t) const {
    const double d = std::abs(p - t);
    if (d < 0.25) {  // where the terms above cancel
      const double s = std::sinh(0.5 * d);
      return std::log1p(2.0 * s * s);
    }
    return d + std::log1p(std::exp(-2.0 * d)) - std::log(2.0);
  }
  [[nodiscard]] double slope(double p, double t) const { return std::tanh(p - t); }
};

/// A target of 0 stands for -1.
double sign_target(double t) { return t == 0 ? -1.0 : t; }

template <typename>
struct Hinge : Mean {
  explicit Hinge(const Attrs&) {}
  [[nodiscard]] double value(double p, double t) const {
    return std::max(0.0, 1.0 - sign_target(t) * p);
  }
  [[nodiscard]] double slope(double p, double t) const {
    return sign_target(t) * p < 1.0 ? -sign_target(t) : 0.0;
  }
};

template <typename>
struct SquaredHinge : Mean {
  explicit SquaredHinge(const Attrs&) {}
  [[nodiscard]] double value(double p, double t) const {
    const double gap = std::max(0.0, 1.0 - sign_target(t) * p);
    return gap * gap;
  }
  [[nodiscard]] double slope(double p, double t) const {
    return -2.0 * sign_target(t) * std::max(0.0, 1.0 - sign_target(t) * p);
  }
};

/// exp(x) - t x of the logarithm x of a rate; with log_input 0, r - t log(r + 1e-8) of the rate r.
template <typename>
struct Poisson : Mean {
  static constexpr double kSmall = 1e-8;  // as PyTorch has it
  bool log_input;
  explicit Poisson(const Attrs& attrs) : log_input(attrs.integer("log_input", 1) != 0) {}
  [[nodiscard]] double value(double p, double t) const {
    return log_input ? std::exp(p) - t * p : p - t * std::log(p + kSmall);
  }
  [[nodiscard]] double slope(double p, double t) const {
    return log_input ? std::exp(p) - t : 1.0 - t / (p + kSmall);
  }
};

double smoothed(double t, double smoothing) { return t * (1.0 - smoothing) + 0.5 * smoothing; }

/// Probabilities are kept off 0 and 1 as Keras does it, in the dtype of the prediction; beyond the
/// limits the derivative is zero.
template <typename T>
struct Bce : Mean {
  static constexpr double kLow = 1e-7;
  static constexpr double kHigh = static_cast<double>(static_cast<T>(1.0 - kLow));
  double smoothing;
  explicit Bce(const Attrs& attrs) : smoothing(attrs.number("label_smoothing")) {}
  [[nodiscard]] double value(double p, double t) const {
    const double target = smoothed(t, smoothing), q = std::clamp(p, kLow, kHigh);
    return -(target * std::log(q) + (1.0 - target) * std::log1p(-q));
  }
  [[nodiscard]] double slope(double p, double t) const {
    if (p < kLow || p > kHigh) return 0.0;
    return (p - smoothed(t, smoothing)) / (p * (1.0 - p));
  }
};

/// -(t log s(x) + (1 - t) log(1 - s(x))) = softplus(x) - t x
template <typename>
struct BceWithLogits : Mean {
  double smoothing;
  explicit BceWithLogits(const Attrs& attrs) : smoothing(attrs.number("label_smoothing")) {}
  [[nodiscard]] double value(double x, double t) const {
    return softplus(x, 0) - smoothed(t, smoothing) * x;
  }
  [[nodiscard]] double slope(double x, double t) const {
    return sigmoid(x, 0) - smoothed(t, smoothing);
  }
};

double gamma_of(const Attrs& attrs) { return attrs.number("gamma", 2.0); }

/// (alpha t + (1 - alpha)(1 - t)) (1 - p_t)^gamma bce(x, t), p_t = p t + (1 - p)(1 - t).
/// source  Lin et al. 2017, arXiv:1708.02002
template <typename>
struct BinaryFocal : Mean {
  double alpha, gamma;
  explicit BinaryFocal(const Attrs& attrs)
      : alpha(attrs.number("alpha", 0.25)), gamma(gamma_of(attrs)) {}
  [[nodiscard]] double weight(double t) const { return alpha * t + (1.0 - alpha) * (1.0 - t); }
  [[nodiscard]] static double miss(double x, double t) {
    return sigmoid(-x, 0) * t + sigmoid(x, 0) * (1.0 - t);
  }
  [[nodiscard]] double value(double x, double t) const {
    return weight(t) * std::pow(miss(x, t), gamma) * (softplus(x, 0) - t * x);
  }
  [[nodiscard]] double slope(double x, double t) const {
    const double p = sigmoid(x, 0), m = miss(x, t), bce = softplus(x, 0) - t * x;
    const double dm = m > 0 ? -p * sigmoid(-x, 0) * (2.0 * t - 1.0) / m : 0.0;
    return weight(t) * std::pow(m, gamma) * ((p - t) + bce * gamma * dm);
  }
};

/// t (log t - logp), summed over the last axis.
template <typename>
struct Kl {
  static constexpr bool kSumsRows = true;
  explicit Kl(const Attrs&) {}
  [[nodiscard]] double value(double logp, double t) const {
    return t > 0 ? t * (std::log(t) - logp) : 0.0;
  }
  [[nodiscard]] double slope(double, double t) const { return -t; }
};

}  // namespace

void check_sample_loss(std::string_view op, Types inputs, const Attrs& attrs) {
  const tensor::TensorType &pred = inputs[0], &target = inputs[1];
  expect_float(op, "pred", pred);
  expect_same(op, "pred", pred, "target", target);
  if (pred.shape.rank() == 0) rule_broken(op, "pred is a scalar; want [B, ...]");
  if (pred.shape.without_front().numel() == 0) {
    rule_broken(op, cat("pred is ", pred.text(), "; want no size 0 behind the batch"));
  }
  expect_number(op, "delta", delta_of(attrs), delta_of(attrs) > 0, "delta > 0");
  expect_number(op, "gamma", gamma_of(attrs), gamma_of(attrs) >= 0, "gamma >= 0");
  expect_label_smoothing(op, attrs);
}

#define DLT_SAMPLE_LOSS(name, Type)                                     \
  OpDef make_##name() { return loss_op<#name, #name "_grad", Type>(); } \
  OpDef make_##name##_grad() { return loss_grad_op<#name "_grad", Type>(); }

DLT_SAMPLE_LOSS(bce_loss, Bce)
DLT_SAMPLE_LOSS(bce_with_logits_loss, BceWithLogits)
DLT_SAMPLE_LOSS(binary_focal_loss, BinaryFocal)
DLT_SAMPLE_LOSS(hinge_loss, Hinge)
DLT_SAMPLE_LOSS(huber_loss, Huber)
DLT_SAMPLE_LOSS(kl_loss, Kl)
DLT_SAMPLE_LOSS(log_cosh_loss, LogCosh)
DLT_SAMPLE_LOSS(mae_loss, Mae)
DLT_SAMPLE_LOSS(mse_loss, Mse)
DLT_SAMPLE_LOSS(poisson_loss, Poisson)
DLT_SAMPLE_LOSS(squared_hinge_loss, SquaredHinge)

#undef DLT_SAMPLE_LOSS

}  // namespace dlt::ops
