// SPDX-License-Identifier: Apache-2.0
// The arithmetic of element-wise ops: each a struct with apply(a, b, numbers), where ops of one
// input leave b alone. A kernel of its own and a step of fused_pointwise call the same one.
#pragma once

#include <string_view>

#include "backend/cuda/elementary.h"

namespace dlt::cuda {

/// alpha, or factor and offset.
struct StepNumbers {
  float p0 = 0, p1 = 0;
};

#define DLT_STEP_BODY(Name, ...)                                                      \
  struct Name {                                                                       \
    static __device__ float apply([[maybe_unused]] float a, [[maybe_unused]] float b, \
                                  [[maybe_unused]] const StepNumbers& n) {            \
      __VA_ARGS__                                                                     \
    }                                                                                 \
  };

DLT_STEP_BODY(Abs, return fabsf(a);)
DLT_STEP_BODY(Exp, return expf(a);)
DLT_STEP_BODY(Gelu, return a * normal_cdf(a);)
DLT_STEP_BODY(GeluTanh, return a * gelu_gate(a).open;)
DLT_STEP_BODY(LeakyRelu, return a > 0.0f ? a : a * n.p0;)
DLT_STEP_BODY(Log, return logf(a);)
DLT_STEP_BODY(Neg, return -a;)
DLT_STEP_BODY(Relu, return a < 0.0f ? 0.0f : a;)  // NaN stays NaN
DLT_STEP_BODY(Scale, return fmaf(a, n.p0, n.p1);)
DLT_STEP_BODY(Sigmoid, return sigmoid(a);)
DLT_STEP_BODY(Silu, return a * sigmoid(a);)
DLT_STEP_BODY(Softplus, return softplus(a);)
DLT_STEP_BODY(Sqrt, return sqrtf(a);)
DLT_STEP_BODY(Square, return a * a;)
DLT_STEP_BODY(Tanh, return tanhf(a);)

DLT_STEP_BODY(Add, return a + b;)
DLT_STEP_BODY(Div, return a / b;)
DLT_STEP_BODY(Mul, return a * b;)
DLT_STEP_BODY(Sub, return a - b;)

// Derivatives: a is the op's output or input, b the gradient of the output.
DLT_STEP_BODY(AbsGrad, return a > 0.0f ? b : a < 0.0f ? -b : 0.0f;)
DLT_STEP_BODY(GeluGrad, return b * fmaf(a, normal_density(a), normal_cdf(a));)
DLT_STEP_BODY(GeluTanhGrad, {
  const GeluGate gate = gelu_gate(a);
  const float slope = 2.0f * kRootTwoOverPi * fmaf(a * a, 3.0f * kGeluCubic, 1.0f);
  return b * fmaf(a * gate.open * gate.closed, slope, gate.open);
})
DLT_STEP_BODY(LeakyReluGrad, return a > 0.0f ? b : b * n.p0;)
DLT_STEP_BODY(ReluGrad, return a > 0.0f ? b : 0.0f;)
DLT_STEP_BODY(SigmoidGrad, return b * a * (1.0f - a);)
DLT_STEP_BODY(SiluGrad, {
  const float s = sigmoid(a);
  return b * fmaf(s * a, 1.0f - s, s);
})
DLT_STEP_BODY(SoftplusGrad, return b * -expm1f(-a);)
DLT_STEP_BODY(TanhGrad, return b * fmaf(-a, a, 1.0f);)

#undef DLT_STEP_BODY

/// The name of an op's step in pointwise_steps.def.
inline std::string_view step_name(std::string_view op, bool tanh_gelu) {
  if (tanh_gelu && op == "gelu") return "gelu_tanh";
  if (tanh_gelu && op == "gelu_grad") return "gelu_tanh_grad";
  return op;
}

}  // namespace dlt::cuda
