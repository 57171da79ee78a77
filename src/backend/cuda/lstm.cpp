// SPDX-License-Identifier: Apache-2.0
// lstm, lstm_grad: a product and a cell for each step.
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/recurrent.h"

namespace dlt::cuda {
namespace {

constexpr std::int64_t kLstmGates = 4;

class Lstm final : public tensor::Kernel {
 public:
  Lstm(const DeviceLibraries& libraries, const RecurrentForm& form)
      : form_(form), product_(libraries, form, StepDirection::forward) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return product_.scratch_bytes() + scratch_part(4 * form_.batch * form_.width());
  }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs), out(args.outputs);
    const float *x = in.next(), *weight = in.next();
    const float *h0 = in.next_if(form_.initial), *c0 = in.next_if(form_.initial);
    const float* mask = in.next_if(form_.masked);
    float *gates = out.next(), *y = out.next(), *last_h = out.next(), *last_c = out.next();
    float *cells = out.next(), *sums = product_.own_scratch(args);
    const void* prepared = product_.prepare(args, weight);
    if (h0 != nullptr) product_.pack_state(args, h0);
    for (std::int64_t index = 0; index < form_.steps; ++index) {
      const std::int64_t t = form_.step(index);
      const bool starts = index == 0 && h0 == nullptr, ends = index + 1 == form_.steps;
      if (!starts) product_.run(args, prepared, sums);
      LstmCell cell{.shape = product_.cell_shape(),
                    .x = x + t * form_.width(),
                    .sums = starts ? nullptr : sums,
                    .h_before = form_.before(index, y, h0),
                    .c_before = form_.before(index, cells, c0),
                    .gates = gates + t * form_.width(),
                    .y = y + t * form_.units,
                    .cells = cells + t * form_.units,
                    .last_h = ends ? last_h : nullptr,
                    .last_c = ends ? last_c : nullptr,
                    .copy = product_.packed(args)};
      if (mask != nullptr) cell.shape.mask = mask + t;
      run_cell(cell, stream_of(args));
    }
  }

 private:
  RecurrentForm form_;
  StepProduct product_;
};

class LstmGrad final : public tensor::Kernel {
 public:
  LstmGrad(const DeviceLibraries& libraries, const RecurrentForm& form)
      : form_(form), product_(libraries, form, StepDirection::backward) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return product_.scratch_bytes() + 2 * scratch_part(4 * form_.state_floats());
  }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs), out(args.outputs);
    const float *gates = in.next(), *cells = in.next(), *weight = in.next();
    const float *c0 = in.next_if(form_.initial), *mask = in.next_if(form_.masked);
    const float* dy = in.next_if(form_.dy);
    const float *dlast_h = in.next_if(form_.dlast_h), *dlast_c = in.next_if(form_.dlast_c);
    float *dx = out.next(), *dh0 = out.next_if(form_.initial), *dc0 = out.next_if(form_.initial);
    float* const dh = product_.own_scratch(args);
    float* const dc = dh + scratch_part(4 * form_.state_floats()) / 4;
    start(args, dlast_h, dh);
    start(args, dlast_c, dc);
    const void* prepared = product_.prepare(args, weight);
    for (std::int64_t index = form_.steps - 1; index >= 0; --index) {
      const std::int64_t t = form_.step(index);
      LstmCellGrad cell{.shape = product_.cell_shape(),
                        .gates = gates + t * form_.width(),
                        .cells = cells + t * form_.units,
                        .dy = dy == nullptr ? nullptr : dy + t * form_.units,
                        .c_before = form_.before(index, cells, c0),
                        .dh = dh,
                        .dc = dc,
                        .dx = dx + t * form_.width(),
                        .copy = product_.packed(args)};
      if (mask != nullptr) cell.shape.mask = mask + t;
      run_cell(cell, stream_of(args));
      if (index > 0 || form_.initial) product_.run(args, prepared, dh);
    }
    if (!form_.initial) return;
    args.run.queue->copy(dh0, dh, 4 * form_.state_floats());
    args.run.queue->copy(dc0, dc, 4 * form_.state_floats());
  }

 private:
  void start(const tensor::KernelArgs& args, const float* from, float* to) const {
    const std::int64_t bytes = 4 * form_.state_floats();
    from == nullptr ? args.run.queue->zero(to, bytes) : args.run.queue->copy(to, from, bytes);
  }
  RecurrentForm form_;
  StepProduct product_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_lstm(const tensor::KernelSpec& spec,
                                          const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, kLstmGates, 1);
  return form ? std::make_unique<Lstm>(libraries, *form) : nullptr;
}

std::unique_ptr<tensor::Kernel> make_lstm_grad(const tensor::KernelSpec& spec,
                                               const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, kLstmGates, 2);
  return form ? std::make_unique<LstmGrad>(libraries, *form) : nullptr;
}

}  // namespace dlt::cuda
