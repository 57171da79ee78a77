// SPDX-License-Identifier: Apache-2.0
// simple_rnn, simple_rnn_grad, and the gradient of every recurrent weight.
#include "backend/cpu/recurrent_steps.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

void run_row(const SimpleRnnCall& call, const float* x, const float* product, float* h) {
  const std::int64_t n = call.sizes.units;
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const vf sum = load_some(x + j, n - j) + load_some(product + j, n - j);
    store_some(h + j, call.relu ? max(vf{}, sum) : tanh(sum), n - j);
  }
}

void run_row_grad(const SimpleRnnGradCall& call, std::int64_t row, const float* dh, float* d) {
  const std::int64_t n = call.sizes.units;
  const float *y = call.y + row * n, *dy = row_of(call.dy, row, n);
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const vf h = load_some(y + j, n - j);
    const vf up = load_some(dh + j, n - j) + load_or_zero(dy, j, n - j);
    const vf change = call.relu ? select(h > 0.0f, up, vf{}) : up * fma(-h, h, set1(1.0f));
    store_some(d + j, change, n - j);
    store_some(call.dx + row * n + j, change, n - j);
  }
}

/// The states before the steps, as columns of a transposed operand.
APanel find_states(const void* context, std::int64_t i, std::int64_t rows, std::int64_t k0,
                   std::int64_t depth, float* room) {
  const auto& call = *static_cast<const RecurrentWeightGradCall*>(context);
  const RecurrentSizes& s = call.sizes;
  const std::int64_t step = s.reverse ? 1 : -1, first = s.reverse ? s.steps - 1 : 0;
  std::int64_t b = k0 / s.steps, t = k0 % s.steps;
  for (std::int64_t k = 0; k < depth; ++k) {
    const float* from =
        t != first ? call.y + (k0 + k + step) * s.units : row_of(call.h0, b, s.units);
    store_some(room + k * rows, load_or_zero(from, i, rows), rows);
    if (++t == s.steps) {
      t = 0;
      ++b;
    }
  }
  return {room, rows, true};
}

}  // namespace

void simple_rnn(const SimpleRnnCall& call) {
  const std::int64_t n = call.sizes.units;
  StepRun run(call.sizes, 1, call.scratch);
  run.pack(call.weight, run.forward_product());
  while (run.next()) {
    run.load_states(call.h0, run.h);
    for (std::int64_t index = 0; index < call.sizes.steps; ++index) {
      gemm(run.forward_product());
      for (std::int64_t r = 0; r < run.rows; ++r) {
        const std::int64_t row = run.row(r, run.time(index));
        float* h = run.h + r * n;
        if (!skipped(call.mask, row)) run_row(call, call.x + row * n, run.sums + r * n, h);
        copy_row(h, call.y + row * n, n);
      }
    }
    run.store_states(run.h, call.last_h);
  }
}

void simple_rnn_grad(const SimpleRnnGradCall& call) {
  const std::int64_t n = call.sizes.units;
  StepRun run(call.sizes, 1, call.scratch);
  run.pack(call.weight, run.backward_product());
  while (run.next()) {
    run.load_states(call.dlast_h, run.h);
    for (std::int64_t index = call.sizes.steps - 1; index >= 0; --index) {
      for (std::int64_t r = 0; r < run.rows; ++r) {
        const std::int64_t row = run.row(r, run.time(index));
        float *dh = run.h + r * n, *d = run.sums + r * n;
        if (skipped(call.mask, row)) {
          add_row(row_of(call.dy, row, n), dh, n);
          set_zero(d, n);
          set_zero(call.dx + row * n, n);
          continue;
        }
        run_row_grad(call, row, dh, d);
        if (call.mask != nullptr) set_zero(dh, n);
      }
      if (index == 0 && call.dh0 == nullptr) break;
      GemmArgs product = run.backward_product();
      product.accumulate = call.mask != nullptr;
      gemm(product);
    }
    run.store_states(run.h, call.dh0);
  }
}

void recurrent_weight_grad(const RecurrentWeightGradCall& call) {
  GemmArgs g;
  g.m = call.sizes.units;
  g.n = call.inner != nullptr ? call.width - call.sizes.units : call.width;
  g.k = call.sizes.batch * call.sizes.steps;
  g.precision = call.sizes.precision;
  g.find_a_panel = find_states;
  g.context = &call;
  g.b = call.d;
  g.ldb = call.width;
  g.c = call.dweight;
  g.ldc = call.width;
  g.scratch = call.scratch;
  gemm(g);
  if (call.inner == nullptr) return;
  g.c += g.n;
  g.n = call.sizes.units;
  g.b = call.inner;
  g.ldb = g.n;
  gemm(g);
}

}  // namespace dlt::cpu::DLT_ISA
