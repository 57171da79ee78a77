// SPDX-License-Identifier: Apache-2.0
// lstm, lstm_grad: a step is one product with the packed recurrent weight and one pass over the
// gates.
#include "backend/cpu/recurrent_steps.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kGates = 4;

/// Gates i, f, g, o of one sample at one step from x and the product; h and c move on, and y and
/// cell are copies of them. gates may be x; ahead is a row that is needed next.
struct GateRow {
  const float *x, *product, *ahead;
  float *gates, *h, *c, *y, *cell;
};

struct Gates {
  vf i, f, g, o;
};

/// With e = exp(-|x|), sigmoid is 1 / (1 + e) or e / (1 + e), and tanh ± (1 - e²) / (1 + e²). The
/// four denominators lie between 1 and 2, so one division serves all.
DLT_INLINE Gates activate(vf i, vf f, vf g, vf o) {
  const vf ei = exp(-abs(i)), ef = exp(-abs(f)), eg = exp(-2.0f * abs(g)), eo = exp(-abs(o));
  const vf di = 1.0f + ei, df = 1.0f + ef, dg = 1.0f + eg, d_o = 1.0f + eo;
  const vf dif = di * df, dgo = dg * d_o, inverse = 1.0f / (dif * dgo);
  const vf of_if = inverse * dgo, of_go = inverse * dif;  // 1 / (di df), 1 / (dg do)
  const vf ri = of_if * df, rf = of_if * di, rg = of_go * d_o, ro = of_go * dg;
  return {select(i < 0.0f, ei * ri, ri), select(f < 0.0f, ef * rf, rf),
          select(abs(g) < kTanhNear, tanh_near(g), copy_sign((1.0f - eg) * rg, g)),
          select(o < 0.0f, eo * ro, ro)};
}

void run_gates(const GateRow& r, std::int64_t n) {
  for (std::int64_t j = 0; j < n; j += kLanes) {
    const std::int64_t count = n - j;
    const auto sum = [&](std::int64_t gate) {
      const std::int64_t at = gate * n + j;
      __builtin_prefetch(r.ahead + at);
      return load_some(r.x + at, count) + load_some(r.product + at, count);
    };
    const Gates gates = activate(sum(0), sum(1), sum(2), sum(3));
    const vf c = fma(gates.f, load_some(r.c + j, count), gates.i * gates.g);
    const vf h = gates.o * tanh(c);
    store_some(r.gates + j, gates.i, count);
    store_some(r.gates + n + j, gates.f, count);
    store_some(r.gates + 2 * n + j, gates.g, count);
    store_some(r.gates + 3 * n + j, gates.o, count);
    store_some(r.c + j, c, count);
    store_some(r.cell + j, c, count);
    store_some(r.h + j, h, count);
    store_some(r.y + j, h, count);
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
        float *y = call.y + row * n, *cell = call.cells + row * n;
        if (skipped(call.mask, row)) {
          set_zero(gates, width);
          copy_row(h, y, n);
          copy_row(c, cell, n);
          continue;
        }
        run_gates({call.x + row * width, run.sums + r * width, call.x + next * width, gates, h, c,
                   y, cell},
                  n);
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
