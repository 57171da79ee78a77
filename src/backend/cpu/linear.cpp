// SPDX-License-Identifier: Apache-2.0
// matmul, linear, and what goes with a bias.
#include "backend/cpu/activate.h"
#include "backend/cpu/column_sums.h"
#include "backend/cpu/gemm.h"
#include "backend/cpu/onednn.h"
#include "backend/cpu/routines.h"

namespace dlt::cpu::DLT_ISA {
namespace {

GemmArgs product_of(const Call& c) {
  GemmArgs g;
  g.m = c.rows;
  g.n = c.cols;
  g.k = c.inner;
  g.trans_a = c.trans_a;
  g.trans_b = c.trans_b;
  g.a = c.x(0);
  g.b = c.x(1);
  g.precision = c.precision;
  g.c = c.y(0);
  g.scratch = c.scratch;
  if (c.kept != nullptr && uses_bf16_unit(g)) {
    if (!c.kept_valid) pack_b(g, c.kept);
    g.packed_b = c.kept;
  }
  return g;
}

/// dx = f(y, dy) and its column sums: one pass over memory.
template <typename F>
DLT_INLINE void grad_and_sums(const Call& c, F f) {
  const float *y = c.x(0), *dy = c.x(1);
  float* dx = c.y(0);
  column_sums(c.rows, c.cols, c.y(1), [=](std::int64_t at, std::int64_t count) {
    const vf d = f(load_columns(y + at, count), load_columns(dy + at, count));
    store_columns(dx + at, d, count);
    return d;
  });
}

}  // namespace

void run_matmul(const Call& c) { c.onednn ? onednn_gemm(product_of(c)) : gemm(product_of(c)); }

void run_linear(const Call& c) {
  GemmArgs g = product_of(c);
  g.bias = c.x(2);
  g.relu = c.activation == Activation::relu;
  c.onednn ? onednn_gemm(g) : gemm(g);
  if (c.activation == Activation::relu && !c.onednn) return;  // our own product did it on the way
  activate(c.activation, c.p0, c.y(0), c.numel());
}

void run_bias_add(const Call& c) {
  const float *x = c.x(0), *b = c.x(1);
  float* y = c.y(0);
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(y + i * n + j, load_some(x + i * n + j, n - j) + load_some(b + j, n - j), n - j);
    }
  }
}

void run_bias_grad(const Call& c) {
  const float* dy = c.x(0);
  column_sums(c.rows, c.cols, c.y(0),
              [dy](std::int64_t at, std::int64_t count) { return load_columns(dy + at, count); });
}

void run_activation_bias_grad(const Call& c) {
  switch (c.activation) {
    case Activation::none:
      return grad_and_sums(c, [](vf, vf dy) { return dy; });
    case Activation::relu:
      return grad_and_sums(c, [](vf y, vf dy) { return select(y > 0.0f, dy, vf{}); });
    case Activation::leaky_relu:
      return grad_and_sums(
          c, [alpha = c.p0](vf y, vf dy) { return select(y > 0.0f, dy, dy * alpha); });
    case Activation::tanh:
      return grad_and_sums(c, [](vf y, vf dy) { return dy * fma(-y, y, set1(1.0f)); });
    case Activation::sigmoid:
      return grad_and_sums(c, [](vf y, vf dy) { return dy * y * (1.0f - y); });
    case Activation::softplus:
      return grad_and_sums(c, [](vf y, vf dy) { return dy * one_minus_exp(y); });
  }
}

}  // namespace dlt::cpu::DLT_ISA
