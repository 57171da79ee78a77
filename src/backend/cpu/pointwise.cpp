// SPDX-License-Identifier: Apache-2.0
// Element-wise ops. An output may be the very memory of an input: each element is read before it is
// written.
#include <cstddef>

#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr float kRootTwoOverPi = 0.797884560802865356f, kCubic = 0.044715f;

}  // namespace

void run_relu(const Call& c) {
  map(c, [](vf x) { return max(vf{}, x); });
}
void run_leaky_relu(const Call& c) {
  map(c, [alpha = c.p0](vf x) { return select(x > 0.0f, x, x * alpha); });
}
void run_tanh(const Call& c) {
  map(c, [](vf x) { return tanh(x); });
}
void run_sigmoid(const Call& c) {
  map(c, [](vf x) { return sigmoid(x); });
}
void run_softplus(const Call& c) {
  map(c, [](vf x) { return softplus(x); });
}
void run_silu(const Call& c) {
  map(c, [](vf x) { return x * sigmoid(x); });
}
void run_gelu(const Call& c) {
  if (c.tanh_gelu) {
    map(c, [](vf x) { return x * gelu_gate(x).open; });
  } else {
    map(c, [](vf x) { return x * normal_cdf(x); });
  }
}
void run_exp(const Call& c) {
  map(c, [](vf x) { return exp(x); });
}
void run_log(const Call& c) {
  map(c, [](vf x) { return log(x); });
}
void run_neg(const Call& c) {
  map(c, [](vf x) { return -x; });
}
void run_square(const Call& c) {
  map(c, [](vf x) { return x * x; });
}
void run_abs(const Call& c) {
  map(c, [](vf x) { return abs(x); });
}
void run_sqrt(const Call& c) {
  map(c, [](vf x) { return sqrt(x); });
}
void run_scale(const Call& c) {
  map(c, [factor = c.p0, offset = c.p1](vf x) { return fma(x, set1(factor), set1(offset)); });
}
void run_copy(const Call& c) {
  if (c.in[0] != c.out[0])
    __builtin_memcpy(c.out[0], c.in[0], static_cast<std::size_t>(c.numel()) * 4);
}
void run_sync_sum(const Call& c) { run_copy(c); }
void run_fill(const Call& c) {
  float* y = c.y(0);
  for (std::int64_t i = 0; i < c.numel(); ++i) y[i] = c.p0;
}

void run_add(const Call& c) {
  map2(c, [](vf a, vf b) { return a + b; });
}
void run_sub(const Call& c) {
  map2(c, [](vf a, vf b) { return a - b; });
}
void run_mul(const Call& c) {
  map2(c, [](vf a, vf b) { return a * b; });
}
void run_div(const Call& c) {
  map2(c, [](vf a, vf b) { return a / b; });
}

// From the op's output y.
void run_relu_grad(const Call& c) {
  map2(c, [](vf y, vf dy) { return select(y > 0.0f, dy, vf{}); });
}
void run_leaky_relu_grad(const Call& c) {
  map2(c, [alpha = c.p0](vf y, vf dy) { return select(y > 0.0f, dy, dy * alpha); });
}
void run_tanh_grad(const Call& c) {
  map2(c, [](vf y, vf dy) { return dy * fma(-y, y, set1(1.0f)); });
}
void run_sigmoid_grad(const Call& c) {
  map2(c, [](vf y, vf dy) { return dy * y * (1.0f - y); });
}
void run_softplus_grad(const Call& c) {
  map2(c, [](vf y, vf dy) { return dy * one_minus_exp(y); });
}

// From the op's input x.
void run_silu_grad(const Call& c) {
  map2(c, [](vf x, vf dy) {
    const vf s = sigmoid(x);
    return dy * fma(s * x, 1.0f - s, s);
  });
}
void run_gelu_grad(const Call& c) {
  if (c.tanh_gelu) {
    map2(c, [](vf x, vf dy) {
      const GeluGate gate = gelu_gate(x);
      const vf slope = 2.0f * kRootTwoOverPi * fma(x * x, set1(3.0f * kCubic), set1(1.0f));
      return dy * fma(x * gate.open * gate.closed, slope, gate.open);
    });
  } else {
    map2(c, [](vf x, vf dy) { return dy * fma(x, normal_density(x), normal_cdf(x)); });
  }
}
void run_abs_grad(const Call& c) {
  map2(c, [](vf x, vf dy) { return select(x > 0.0f, dy, select(x < 0.0f, -dy, vf{})); });
}

}  // namespace dlt::cpu::DLT_ISA
