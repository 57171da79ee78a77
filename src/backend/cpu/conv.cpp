// SPDX-License-Identifier: Apache-2.0
// Convolutions as matrix products whose first operand is gathered from the image, panel by panel,
// while the product runs.
#include "backend/cpu/conv.h"

#include "backend/cpu/activate.h"
#include "backend/cpu/conv_axis.h"
#include "backend/cpu/gather.h"

namespace dlt::cpu::DLT_ISA {
namespace {

bool is_plain(const ConvAxis& a) {
  return a.kernel == 1 && a.stride == 1 && a.pad == 0 && a.in == a.out;
}

/// The columns of one tap, kept whole: what `gather` reads at tap (r, s).
Gather one_tap(const Gather& all, std::int64_t r, std::int64_t s) {
  Gather tap = all;
  tap.h.first += r * all.h.spread;
  tap.w.first += s * all.w.spread;
  tap.h.taps = tap.w.taps = 1;
  return tap;
}

/// The gradient of the inputs of one group and one phase of the stride.
struct InputGrad {
  const ConvPlan& p;
  const float* weight;  // of the group
  Phase h, w;
  Gather dy;
  float* turned;  // room for the weight as the second operand
  float* scratch;

  [[nodiscard]] const float* tap(std::int64_t r, std::int64_t s) const {
    const std::int64_t row = h.last_tap - r * h.tap_step, column = w.last_tap - s * w.tap_step;
    return weight + (row * p.w.kernel + column) * p.group_in * p.out_channels();
  }
};

/// turned[(r, s, out), in] = weight[tap r, tap s, in, out]
void turn_weight(const InputGrad& d) {
  const std::int64_t width = conv_padded(d.p.group_in);
  float* to = d.turned;
  for (std::int64_t r = 0; r < d.dy.h.taps; ++r) {
    for (std::int64_t s = 0; s < d.dy.w.taps; ++s, to += d.p.group_out * width) {
      pack_transposed(d.tap(r, s), d.p.out_channels(), d.p.group_out, d.p.group_in, to, width);
    }
  }
}

/// Grid rows of a part of the phase: from image `b` on.
struct PanelStart {
  const Gather* gather;
  std::int64_t begin;
};

APanel shifted_panel(const void* context, std::int64_t i, std::int64_t rows, std::int64_t k0,
                     std::int64_t depth, float* room) {
  const PanelStart& start = *static_cast<const PanelStart*>(context);
  return positions_panel(start.gather, start.begin + i, rows, k0, depth, room);
}

/// Rows [begin, begin + rows) of the phase's inputs to c.
void multiply_rows(const InputGrad& d, std::int64_t begin, std::int64_t rows, float* c,
                   std::int64_t ldc) {
  GemmArgs g;
  g.m = rows;
  g.n = d.p.group_in;
  g.c = c;
  g.ldc = ldc;
  g.precision = d.p.precision;
  g.find_a_panel = shifted_panel;
  g.scratch = d.scratch;
  if (conv_turns_weight(d.p)) {
    const PanelStart start{&d.dy, begin};
    g.context = &start;
    g.k = d.dy.columns();
    g.b = d.turned;
    g.ldb = conv_padded(d.p.group_in);
    return gemm(g);
  }
  g.k = d.p.group_out;
  g.trans_b = true;
  g.ldb = d.p.out_channels();
  for (std::int64_t r = 0; r < d.dy.h.taps; ++r) {
    for (std::int64_t s = 0; s < d.dy.w.taps; ++s) {
      const Gather tap = one_tap(d.dy, r, s);
      const PanelStart start{&tap, begin};
      g.context = &start;
      g.b = d.tap(r, s);
      gemm(g);
      g.accumulate = true;
    }
  }
}

/// Calls visit(row of the phase's inputs, first float of that input's channels).
template <typename Visit>
DLT_INLINE void for_each_input(const InputGrad& d, float* dx, std::int64_t begin, std::int64_t rows,
                               Visit visit) {
  GridPoint at(d.dy, begin);
  for (std::int64_t i = 0; i < rows; ++i, at.advance(d.dy, 1)) {
    const std::int64_t y = d.h.begin + at.i * d.p.h.stride, x = d.w.begin + at.j * d.p.w.stride;
    visit(i, dx + ((at.b * d.p.h.in + y) * d.p.w.in + x) * d.p.in_channels());
  }
}

void run_phase(const InputGrad& d, float* dx) {
  const std::int64_t inputs = d.p.batch * d.h.count * d.w.count;
  if (inputs == 0) return;
  if (d.dy.columns() == 0) {  // nobody reads them
    return for_each_input(d, dx, 0, inputs,
                          [&](std::int64_t, float* to) { zero_floats(to, d.p.group_in); });
  }
  if (conv_turns_weight(d.p)) turn_weight(d);
  if (d.p.h.stride == 1 && d.p.w.stride == 1) {
    return multiply_rows(d, 0, inputs, dx, d.p.in_channels());
  }
  InputGrad part = d;
  float* rows = d.scratch;
  part.scratch = d.scratch + conv_padded(kConvChunkRows * d.p.group_in);
  for (std::int64_t begin = 0; begin < inputs; begin += kConvChunkRows) {
    const std::int64_t count = lesser(kConvChunkRows, inputs - begin);
    multiply_rows(part, begin, count, rows, d.p.group_in);
    for_each_input(part, dx, begin, count, [&](std::int64_t i, float* to) {
      copy_floats(rows + i * d.p.group_in, to, d.p.group_in);
    });
  }
}

}  // namespace

void conv2d(const ConvPlan& p, const Memory& m) {
  GemmArgs g;
  g.precision = p.precision;
  g.m = p.out_pixels();
  g.n = p.group_out;
  g.k = p.taps() * p.group_in;
  g.ldb = g.ldc = p.out_channels();
  g.relu = p.activation == Activation::relu;
  g.scratch = m.scratch;
  for (std::int64_t group = 0; group < p.groups; ++group) {
    const Gather x = forward_gather(p, m.x(0), group);
    g.b = m.x(1) + group * p.group_out;
    g.bias = p.biased ? m.x(2) + group * p.group_out : nullptr;
    g.c = m.y(0) + group * p.group_out;
    if (is_plain(p.h) && is_plain(p.w)) {
      g.a = x.image;
      g.lda = p.in_channels();
    } else {
      g.find_a_panel = is_single(x) ? single_positions_panel : positions_panel;
      g.context = &x;
    }
    gemm(g);
  }
  if (!g.relu) activate(p.activation, p.alpha, m.y(0), p.out_pixels() * p.out_channels());
}

void conv2d_input_grad(const ConvPlan& p, const Memory& m) {
  float* scratch = m.scratch;
  float* turned = scratch;
  if (conv_turns_weight(p)) scratch += p.taps() * p.group_out * conv_padded(p.group_in);
  for (std::int64_t group = 0; group < p.groups; ++group) {
    const float* dy = m.x(0) + group * p.group_out;
    for (std::int64_t y = 0; y < p.h.stride; ++y) {
      for (std::int64_t x = 0; x < p.w.stride; ++x) {
        const Phase h = phase_of(p.h, y), w = phase_of(p.w, x);
        const Gather gather{dy, p.out_channels(), p.group_out, h.gather, w.gather};
        run_phase({p, m.x(1) + group * p.group_out, h, w, gather, turned, scratch},
                  m.y(0) + group * p.group_in);
      }
    }
  }
}

void conv2d_weight_grad(const ConvPlan& p, const Memory& m) {
  GemmArgs g;
  g.precision = p.precision;
  g.m = p.taps() * p.group_in;
  g.n = p.group_out;
  g.k = p.out_pixels();
  g.ldb = g.ldc = p.out_channels();
  g.scratch = m.scratch;
  for (std::int64_t group = 0; group < p.groups; ++group) {
    const Gather x = forward_gather(p, m.x(0), group);
    g.find_a_panel = is_single(x) ? single_columns_panel : columns_panel;
    g.context = &x;
    g.b = m.x(1) + group * p.group_out;
    g.c = m.y(0) + group * p.group_out;
    gemm(g);
  }
}

}  // namespace dlt::cpu::DLT_ISA
