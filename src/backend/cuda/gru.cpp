// SPDX-License-Identifier: Apache-2.0
// gru, gru_grad: a product and a cell for each step.
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/recurrent.h"

namespace dlt::cuda {
namespace {

constexpr std::int64_t kGruGates = 3;

class Gru final : public tensor::Kernel {
 public:
  Gru(const DeviceLibraries& libraries, const RecurrentForm& form)
      : form_(form), product_(libraries, form, StepDirection::forward) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return product_.scratch_bytes() + scratch_part(4 * form_.batch * form_.width());
  }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs), out(args.outputs);
    const float *x = in.next(), *weight = in.next(), *bias = in.next_if(form_.bias);
    const float *h0 = in.next_if(form_.initial), *mask = in.next_if(form_.masked);
    float *gates = out.next(), *y = out.next(), *last_h = out.next(), *inner = out.next();
    float* const sums = product_.own_scratch(args);
    const void* prepared = product_.prepare(args, weight);
    if (h0 != nullptr) product_.pack_state(args, h0);
    for (std::int64_t index = 0; index < form_.steps; ++index) {
      const std::int64_t t = form_.step(index);
      const bool starts = index == 0 && h0 == nullptr, ends = index + 1 == form_.steps;
      if (!starts) product_.run(args, prepared, sums);
      GruCell cell{.shape = product_.cell_shape(),
                   .x = x + t * form_.width(),
                   .sums = starts ? nullptr : sums,
                   .bias = bias,
                   .h_before = form_.before(index, y, h0),
                   .gates = gates + t * form_.width(),
                   .y = y + t * form_.units,
                   .inner = inner + t * form_.units,
                   .last_h = ends ? last_h : nullptr,
                   .copy = product_.packed(args)};
      if (mask != nullptr) cell.shape.mask = mask + t;
      run_cell(cell, stream_of(args));
    }
  }

 private:
  RecurrentForm form_;
  StepProduct product_;
};

class GruGrad final : public tensor::Kernel {
 public:
  GruGrad(const DeviceLibraries& libraries, const RecurrentForm& form)
      : form_(form), product_(libraries, form, StepDirection::backward) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return product_.scratch_bytes() + scratch_part(4 * form_.state_floats());
  }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs), out(args.outputs);
    const float *gates = in.next(), *y = in.next(), *inner = in.next(), *weight = in.next();
    const float *h0 = in.next_if(form_.initial), *mask = in.next_if(form_.masked);
    const float *dy = in.next_if(form_.dy), *dlast_h = in.next_if(form_.dlast_h);
    float *dx = out.next(), *dinner = out.next(), *dh0 = out.next_if(form_.initial);
    float* const dh = product_.own_scratch(args);
    const std::int64_t state_bytes = 4 * form_.state_floats();
    dlast_h == nullptr ? args.run.queue->zero(dh, state_bytes)
                       : args.run.queue->copy(dh, dlast_h, state_bytes);
    const void* prepared = product_.prepare(args, weight);
    for (std::int64_t index = form_.steps - 1; index >= 0; --index) {
      const std::int64_t t = form_.step(index);
      GruCellGrad cell{.shape = product_.cell_shape(),
                       .gates = gates + t * form_.width(),
                       .inner = inner + t * form_.units,
                       .dy = dy == nullptr ? nullptr : dy + t * form_.units,
                       .h_before = form_.before(index, y, h0),
                       .dh = dh,
                       .dx = dx + t * form_.width(),
                       .dinner = dinner + t * form_.units,
                       .copy = product_.packed(args)};
      if (mask != nullptr) cell.shape.mask = mask + t;
      run_cell(cell, stream_of(args));
      if (index > 0 || form_.initial) product_.run(args, prepared, dh);
    }
    if (form_.initial) args.run.queue->copy(dh0, dh, state_bytes);
  }

 private:
  RecurrentForm form_;
  StepProduct product_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_gru(const tensor::KernelSpec& spec,
                                         const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, kGruGates, 1);
  return form ? std::make_unique<Gru>(libraries, *form) : nullptr;
}

std::unique_ptr<tensor::Kernel> make_gru_grad(const tensor::KernelSpec& spec,
                                              const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, kGruGates, 3);
  return form ? std::make_unique<GruGrad>(libraries, *form) : nullptr;
}

}  // namespace dlt::cuda
