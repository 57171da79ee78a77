// SPDX-License-Identifier: Apache-2.0
// lstm, lstm_grad: a step is one product with the packed recurrent weight and one pass over the
// gates.
#include "backend/cpu/recurrent_steps.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kGates = 4;

/// Gates i, f, g, o of one sample at one step from x and the product; h and c move on. gates may be
/// x; ahead is a row that is needed next.
struct GateRow {
  const float *x, *product, *ahead;
  float *gates, *h, *c;
};

void run_gates(const GateRow& r, std::int64_t n) {
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const std::int64_t count = n - j;
    const auto sum = [&](std::int64_t gate) {
      const std::int64_t at = gate * n + j;
      __builtin_prefetch(r.ahead + at);
      return load_some(r.x + at, count) + load_some(r.product + at, count);
    };
    const vf i = sigmoid(sum(0)), f = sigmoid(sum(1)), g = tanh(sum(2)), o = sigmoid(sum(3));
    const vf c = fma(f, load_some(r.c + j, count), i * g);
    store_some(r.gates + j, i, count);
    store_some(r.gates + n + j, f, count);
    store_some(r.gates + 2 * n + j, g, count);
    store_some(r.gates + 3 * n + j, o, count);
    store_some(r.c + j, c, count);
    store_some(r.h + j, o * tanh(c), count);
  }
}

/// The gradients of one sample at one step: of h and c behind it (dc becomes that before it), and
/// of the sums, twice: d side by side with the other samples, dx in its place, which may be gates.
struct GateGradRow {
  const float *gates, *cell, *cell_before, *dh, *dy, *ahead;  // cell_before, dy: may be null
  float *dc, *d, *dx;
};

void run_gate_grads(const GateGradRow& r, std::int64_t n) {
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const std::int64_t count = n - j;
    const auto gate = [&](std::int64_t index) {
      __builtin_prefetch(r.ahead + index * n + j);
      return load_some(r.gates + index * n + j, count);
    };
    const vf i = gate(0), f = gate(1), g = gate(2), o = gate(3);
    const vf squashed = tanh(load_some(r.cell + j, count));
    const vf dh = load_some(r.dh + j, count) + load_or_zero(r.dy, j, count);
    const vf one = set1(1.0f);
    const vf dc = fma(dh * o, fma(-squashed, squashed, one), load_some(r.dc + j, count));
    const vf di = dc * g * i * (one - i);
    const vf df = dc * load_or_zero(r.cell_before, j, count) * f * (one - f);
    const vf dg = dc * i * fma(-g, g, one);
    const vf d_o = dh * squashed * o * (one - o);
    const auto put = [&](std::int64_t index, vf change) {
      store_some(r.d + index * n + j, change, count);
      store_some(r.dx + index * n + j, change, count);
    };
    put(0, di);
    put(1, df);
    put(2, dg);
    put(3, d_o);
    store_some(r.dc + j, dc * f, count);
  }
}

}  // namespace

void lstm(const LstmCall& call) {
  const std::int64_t n = call.sizes.units, steps = call.sizes.steps, width = kGates * n;
  StepRun run(call.sizes, kGates, call.scratch);
  run.pack(call.weight, run.forward_product());
  while (run.next()) {
    run.load_states(call.h0, run.h);
    run.load_states(call.c0, run.c);
    for (std::int64_t index = 0; index < steps; ++index) {
      const std::int64_t t = run.time(index);
      if (index == 0 && call.h0 == nullptr) {
        set_zero(run.sums, run.rows * width);
      } else {
        gemm(run.forward_product());
      }
      for (std::int64_t r = 0; r < run.rows; ++r) {
        const std::int64_t row = run.row(r, t), next = run.row(r + 1 < run.rows ? r + 1 : r, t);
        float *h = run.h + r * n, *c = run.c + r * n, *gates = call.gates + row * width;
        if (skipped(call.mask, row)) {
          set_zero(gates, width);
        } else {
          run_gates(
              {call.x + row * width, run.sums + r * width, call.x + next * width, gates, h, c}, n);
        }
        copy_row(h, call.y + row * n, n);
        copy_row(c, call.cells + row * n, n);
      }
    }
    run.store_states(run.h, call.last_h);
    run.store_states(run.c, call.last_c);
  }
}

void lstm_grad(const LstmGradCall& call) {
  const std::int64_t n = call.sizes.units, width = kGates * n;
  StepRun run(call.sizes, kGates, call.scratch);
  run.pack(call.weight, run.backward_product());
  while (run.next()) {
    run.load_states(call.dlast_h, run.h);
    run.load_states(call.dlast_c, run.c);
    for (std::int64_t index = call.sizes.steps - 1; index >= 0; --index) {
      const std::int64_t t = run.time(index);
      for (std::int64_t r = 0; r < run.rows; ++r) {
        const std::int64_t row = run.row(r, t), next = run.row(r + 1 < run.rows ? r + 1 : r, t);
        float *dh = run.h + r * n, *d = run.sums + r * width, *dx = call.dx + row * width;
        const float* dy = row_of(call.dy, row, n);
        if (skipped(call.mask, row)) {
          add_row(dy, dh, n);
          set_zero(d, width);
          set_zero(dx, width);
          continue;
        }
        const float* before = index > 0 ? row_of(call.cells, run.row(r, run.time(index - 1)), n)
                                        : row_of(call.c0, run.begin + r, n);
        run_gate_grads({call.gates + row * width, call.cells + row * n, before, dh, dy,
                        call.gates + next * width, run.c + r * n, d, dx},
                       n);
        if (call.mask != nullptr) set_zero(dh, n);
      }
      if (index == 0 && call.dh0 == nullptr) break;
      GemmArgs product = run.backward_product();
      product.accumulate = call.mask != nullptr;
      gemm(product);
    }
    run.store_states(run.h, call.dh0);
    run.store_states(run.c, call.dc0);
  }
}

}  // namespace dlt::cpu::DLT_ISA
