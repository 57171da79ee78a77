// SPDX-License-Identifier: Apache-2.0
// cosine_similarity_loss: minus the cosine of prediction and target along the last axis, averaged
// over the rows of a sample. Each is divided by max(|x|, 1e-6), as Keras normalises.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/text.h"
#include "ops/defs.h"
#include "ops/labels.h"
#include "ops/sample_loss.h"

namespace dlt::ops {
namespace {

using autodiff::OpDef;
using tensor::Attrs;
using tensor::KernelArgs;

constexpr double kSmallest = 1e-6;

/// Of one row: 1 / max(|x|, 1e-6) of both, and the cosine.
struct Cosine {
  double prediction = 0, target = 0, cosine = 0;
  bool tiny = false;  // the prediction's norm is below the limit, so it does not change

  template <typename T>
  Cosine(const T* p, const T* t, std::int64_t n) {
    double pp = 0, tt = 0, pt = 0;
    for (std::int64_t j = 0; j < n; ++j) {
      const auto a = static_cast<double>(p[j]), b = static_cast<double>(t[j]);
      pp += a * a;
      tt += b * b;
      pt += a * b;
    }
    tiny = std::sqrt(pp) < kSmallest;
    prediction = 1.0 / std::max(std::sqrt(pp), kSmallest);
    target = 1.0 / std::max(std::sqrt(tt), kSmallest);
    cosine = pt * prediction * target;
  }
};

void check_cosine(std::string_view op, Types inputs) {
  expect_label_rows(op, "pred", inputs[0]);
  expect_same(op, "pred", inputs[0], "target", inputs[1]);
}

TypeList infer_cosine(Types inputs, const Attrs&) {
  expect_inputs("cosine_similarity_loss", inputs, 2);
  check_cosine("cosine_similarity_loss", inputs);
  return {{{inputs[0].shape[0]}, inputs[0].dtype}};
}

TypeList infer_cosine_grad(Types inputs, const Attrs&) {
  expect_inputs("cosine_similarity_loss_grad", inputs, 3);
  check_cosine("cosine_similarity_loss_grad", inputs);
  expect_per_sample("cosine_similarity_loss_grad", inputs[0], "dloss", inputs[2]);
  return {inputs[0]};
}

template <typename T>
void loss_host(const KernelArgs& args, const Attrs&) {
  const LabelRows rows(args.inputs[0].type.shape);
  const T *p = args.inputs[0].as<const T>(), *t = args.inputs[1].as<const T>();
  for (std::int64_t b = 0; b < rows.samples; ++b) {
    double sum = 0;
    for (std::int64_t row = b * rows.per_sample; row < (b + 1) * rows.per_sample; ++row) {
      sum += Cosine(p + row * rows.n, t + row * rows.n, rows.n).cosine;
    }
    args.outputs[0].as<T>()[b] = static_cast<T>(-sum / static_cast<double>(rows.per_sample));
  }
}

/// d cosine / dp = (t/|t| - cosine p/|p|) / |p|
template <typename T>
void grad_host(const KernelArgs& args, const Attrs&) {
  const LabelRows rows(args.inputs[0].type.shape);
  for (std::int64_t row = 0; row < rows.rows(); ++row) {
    const T* p = args.inputs[0].as<const T>() + row * rows.n;
    const T* t = args.inputs[1].as<const T>() + row * rows.n;
    T* dp = args.outputs[0].as<T>() + row * rows.n;
    const Cosine c(p, t, rows.n);
    const auto dloss = static_cast<double>(args.inputs[2].as<const T>()[row / rows.per_sample]);
    const double scale = -dloss / static_cast<double>(rows.per_sample) * c.prediction;
    const double along = c.tiny ? 0.0 : c.cosine * c.prediction;
    for (std::int64_t j = 0; j < rows.n; ++j) {
      dp[j] = static_cast<T>(
          scale * (static_cast<double>(t[j]) * c.target - static_cast<double>(p[j]) * along));
    }
  }
}

}  // namespace

OpDef make_cosine_similarity_loss() {
  return {.name = "cosine_similarity_loss",
          .infer = infer_cosine,
          .host = host_kernel<loss_host<float>, loss_host<double>>,
          .vjp = loss_vjp<"cosine_similarity_loss_grad">};
}

OpDef make_cosine_similarity_loss_grad() {
  return {.name = "cosine_similarity_loss_grad",
          .infer = infer_cosine_grad,
          .host = host_kernel<grad_host<float>, grad_host<double>>,
          .in_place = true};
}

}  // namespace dlt::ops
