// SPDX-License-Identifier: Apache-2.0
// softmax, log_softmax and their derivatives, row by row; may write over input 0.
#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

float log_of(float x) { return log(set1(x))[0]; }

}  // namespace

void run_softmax(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float* x = c.x(0) + i * n;
    float* y = c.y(0) + i * n;
    const float shift = reduce_max(x, n);
    const float total = reduce_sum(n, [&](std::int64_t j, std::int64_t count) {
      const vf e = exp(load_some(x + j, count) - shift);
      store_some(y + j, e, count);
      return e;
    });
    map(y, y, n, [factor = 1.0f / total](vf e) { return e * factor; });
  }
}

void run_log_softmax(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float* x = c.x(0) + i * n;
    const float shift = reduce_max(x, n);
    const float total = reduce_sum(n, [&](std::int64_t j, std::int64_t count) {
      return exp(load_some(x + j, count) - shift);
    });
    map(x, c.y(0) + i * n, n,
        [shift, log_total = log_of(total)](vf v) { return v - shift - log_total; });
  }
}

/// dx = y (dy - sum(y dy))
void run_softmax_grad(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float *y = c.x(0) + i * n, *dy = c.x(1) + i * n;
    float* dx = c.y(0) + i * n;
    const float dot = reduce_sum(n, [&](std::int64_t j, std::int64_t count) {
      return load_some(y + j, count) * load_some(dy + j, count);
    });
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(dx + j, load_some(y + j, n - j) * (load_some(dy + j, n - j) - dot), n - j);
    }
  }
}

/// dx = dy - exp(y) sum(dy)
void run_log_softmax_grad(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t i = 0; i < c.rows; ++i) {
    const float *y = c.x(0) + i * n, *dy = c.x(1) + i * n;
    float* dx = c.y(0) + i * n;
    const float total =
        reduce_sum(n, [&](std::int64_t j, std::int64_t count) { return load_some(dy + j, count); });
    for (std::int64_t j = 0; j < n; j += kLanes) {
      store_some(dx + j, load_some(dy + j, n - j) - exp(load_some(y + j, n - j)) * total, n - j);
    }
  }
}

}  // namespace dlt::cpu::DLT_ISA
