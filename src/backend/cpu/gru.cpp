// SPDX-License-Identifier: Apache-2.0
// gru, gru_grad: a step is one product with the packed recurrent weight and one pass over the
// gates.
#include "backend/cpu/recurrent_steps.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

constexpr std::int64_t kGates = 3;

/// Gates r, z, n of one sample at one step from x and the product; h moves on. gates may be x.
struct GateRow {
  const float *x, *product, *ahead;
  float *gates, *inner, *h;
};

void run_gates(const GateRow& row, std::int64_t units) {
  for (std::int64_t j = 0; j < units; j += kLanes) {
    const std::int64_t count = units - j;
    const auto read = [&](const float* from, std::int64_t gate) {
      return load_some(from + gate * units + j, count);
    };
    for (std::int64_t gate = 0; gate < kGates; ++gate) {
      __builtin_prefetch(row.ahead + gate * units + j);
    }
    const vf r = sigmoid(read(row.x, 0) + read(row.product, 0));
    const vf z = sigmoid(read(row.x, 1) + read(row.product, 1));
    const vf inner = read(row.product, 2);
    const vf n = tanh(fma(r, inner, read(row.x, 2)));
    const vf h = load_some(row.h + j, count);
    store_some(row.gates + j, r, count);
    store_some(row.gates + units + j, z, count);
    store_some(row.gates + 2 * units + j, n, count);
    store_some(row.inner + j, inner, count);
    store_some(row.h + j, fma(z, h - n, n), count);
  }
}

/// The gradients of one sample at one step; dh becomes its part that goes straight to the state
/// before. d holds those of the product, dx those of x, which may be gates.
struct GateGradRow {
  const float *gates, *h_before, *inner, *dy, *ahead;  // h_before, dy: may be null
  float *dh, *d, *dx, *dinner;
};

void run_gate_grads(const GateGradRow& row, std::int64_t units) {
  for (std::int64_t j = 0; j < units; j += kLanes) {
    const std::int64_t count = units - j;
    const auto gate = [&](std::int64_t index) {
      __builtin_prefetch(row.ahead + index * units + j);
      return load_some(row.gates + index * units + j, count);
    };
    const vf r = gate(0), z = gate(1), n = gate(2), one = set1(1.0f);
    const vf dh = load_some(row.dh + j, count) + load_or_zero(row.dy, j, count);
    const vf dn = dh * (one - z) * fma(-n, n, one), dinner = dn * r;
    const vf dr = dn * load_some(row.inner + j, count) * r * (one - r);
    const vf dz = dh * (load_or_zero(row.h_before, j, count) - n) * z * (one - z);
    const auto put = [&](float* to, std::int64_t index, vf change) {
      store_some(to + index * units + j, change, count);
    };
    put(row.d, 0, dr);
    put(row.d, 1, dz);
    put(row.d, 2, dinner);
    put(row.dx, 0, dr);
    put(row.dx, 1, dz);
    put(row.dx, 2, dn);
    store_some(row.dinner + j, dinner, count);
    store_some(row.dh + j, dh * z, count);
  }
}

}  // namespace

void gru(const GruCall& call) {
  const std::int64_t units = call.sizes.units, width = kGates * units;
  StepRun run(call.sizes, kGates, call.scratch);
  run.pack(call.weight, run.forward_product());
  while (run.next()) {
    run.load_states(call.h0, run.h);
    for (std::int64_t index = 0; index < call.sizes.steps; ++index) {
      const std::int64_t t = run.time(index);
      GemmArgs product = run.forward_product();
      product.bias = call.bias;
      gemm(product);
      for (std::int64_t r = 0; r < run.rows; ++r) {
        const std::int64_t row = run.row(r, t), next = run.row(r + 1 < run.rows ? r + 1 : r, t);
        float *h = run.h + r * units, *gates = call.gates + row * width;
        float* inner = call.inner + row * units;
        if (skipped(call.mask, row)) {
          set_zero(gates, width);
          set_zero(inner, units);
        } else {
          run_gates(
              {call.x + row * width, run.sums + r * width, call.x + next * width, gates, inner, h},
              units);
        }
        copy_row(h, call.y + row * units, units);
      }
    }
    run.store_states(run.h, call.last_h);
  }
}

void gru_grad(const GruGradCall& call) {
  const std::int64_t units = call.sizes.units, width = kGates * units;
  StepRun run(call.sizes, kGates, call.scratch);
  run.pack(call.weight, run.backward_product());
  while (run.next()) {
    run.load_states(call.dlast_h, run.h);
    for (std::int64_t index = call.sizes.steps - 1; index >= 0; --index) {
      const std::int64_t t = run.time(index);
      for (std::int64_t r = 0; r < run.rows; ++r) {
        const std::int64_t row = run.row(r, t), next = run.row(r + 1 < run.rows ? r + 1 : r, t);
        float *dh = run.h + r * units, *d = run.sums + r * width, *dx = call.dx + row * width;
        float* dinner = call.dinner + row * units;
        const float* dy = row_of(call.dy, row, units);
        if (skipped(call.mask, row)) {
          add_row(dy, dh, units);
          set_zero(d, width);
          set_zero(dx, width);
          set_zero(dinner, units);
          continue;
        }
        const float* before = index > 0 ? row_of(call.y, run.row(r, run.time(index - 1)), units)
                                        : row_of(call.h0, run.begin + r, units);
        run_gate_grads({call.gates + row * width, before, call.inner + row * units, dy,
                        call.gates + next * width, dh, d, dx, dinner},
                       units);
      }
      if (index == 0 && call.dh0 == nullptr) break;
      GemmArgs product = run.backward_product();
      product.accumulate = true;
      gemm(product);
    }
    run.store_states(run.h, call.dh0);
  }
}

}  // namespace dlt::cpu::DLT_ISA
