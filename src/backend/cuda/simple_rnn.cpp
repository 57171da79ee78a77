// SPDX-License-Identifier: Apache-2.0
// simple_rnn, simple_rnn_grad: a product and a cell for each step.
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/recurrent.h"

namespace dlt::cuda {
namespace {

tensor::Activation cell_activation(const tensor::KernelSpec& spec) {
  return spec.attrs.word("activation", "tanh") == "relu" ? tensor::Activation::relu
                                                         : tensor::Activation::tanh;
}

class SimpleRnn final : public tensor::Kernel {
 public:
  SimpleRnn(const DeviceLibraries& libraries, const RecurrentForm& form,
            tensor::Activation activation)
      : form_(form), product_(libraries, form, StepDirection::forward), activation_(activation) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return product_.scratch_bytes() + scratch_part(4 * form_.state_floats());
  }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs), out(args.outputs);
    const float *x = in.next(), *weight = in.next();
    const float *h0 = in.next_if(form_.initial), *mask = in.next_if(form_.masked);
    float *y = out.next(), *last_h = out.next(), *sums = product_.own_scratch(args);
    const void* prepared = product_.prepare(args, weight);
    if (h0 != nullptr) product_.pack_state(args, h0);
    for (std::int64_t index = 0; index < form_.steps; ++index) {
      const std::int64_t t = form_.step(index);
      const bool starts = index == 0 && h0 == nullptr, ends = index + 1 == form_.steps;
      if (!starts) product_.run(args, prepared, sums);
      SimpleCell cell{.shape = product_.cell_shape(),
                      .x = x + t * form_.units,
                      .sums = starts ? nullptr : sums,
                      .h_before = form_.before(index, y, h0),
                      .y = y + t * form_.units,
                      .last_h = ends ? last_h : nullptr,
                      .copy = product_.packed(args),
                      .activation = activation_};
      if (mask != nullptr) cell.shape.mask = mask + t;
      run_cell(cell, stream_of(args));
    }
  }

 private:
  RecurrentForm form_;
  StepProduct product_;
  tensor::Activation activation_;
};

class SimpleRnnGrad final : public tensor::Kernel {
 public:
  SimpleRnnGrad(const DeviceLibraries& libraries, const RecurrentForm& form,
                tensor::Activation activation)
      : form_(form), product_(libraries, form, StepDirection::backward), activation_(activation) {}

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return product_.scratch_bytes() + scratch_part(4 * form_.state_floats());
  }
  [[nodiscard]] std::int64_t kept_bytes() const override { return product_.kept_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    Operands in(args.inputs), out(args.outputs);
    const float *y = in.next(), *weight = in.next(), *mask = in.next_if(form_.masked);
    const float *dy = in.next_if(form_.dy), *dlast_h = in.next_if(form_.dlast_h);
    float *dx = out.next(), *dh0 = out.next_if(form_.initial);
    float* const dh = product_.own_scratch(args);
    const std::int64_t state_bytes = 4 * form_.state_floats();
    dlast_h == nullptr ? args.run.queue->zero(dh, state_bytes)
                       : args.run.queue->copy(dh, dlast_h, state_bytes);
    const void* prepared = product_.prepare(args, weight);
    for (std::int64_t index = form_.steps - 1; index >= 0; --index) {
      const std::int64_t t = form_.step(index);
      SimpleCellGrad cell{.shape = product_.cell_shape(),
                          .y = y + t * form_.units,
                          .dy = dy == nullptr ? nullptr : dy + t * form_.units,
                          .dh = dh,
                          .dx = dx + t * form_.units,
                          .copy = product_.packed(args),
                          .activation = activation_};
      if (mask != nullptr) cell.shape.mask = mask + t;
      run_cell(cell, stream_of(args));
      if (index > 0 || form_.initial) product_.run(args, prepared, dh);
    }
    if (form_.initial) args.run.queue->copy(dh0, dh, state_bytes);
  }

 private:
  RecurrentForm form_;
  StepProduct product_;
  tensor::Activation activation_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_simple_rnn(const tensor::KernelSpec& spec,
                                                const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, 1, 1);
  if (!form) return nullptr;
  return std::make_unique<SimpleRnn>(libraries, *form, cell_activation(spec));
}

std::unique_ptr<tensor::Kernel> make_simple_rnn_grad(const tensor::KernelSpec& spec,
                                                     const DeviceLibraries& libraries) {
  const std::optional<RecurrentForm> form = recurrent_form(spec, 1, 1);
  if (!form) return nullptr;
  return std::make_unique<SimpleRnnGrad>(libraries, *form, cell_activation(spec));
}

}  // namespace dlt::cuda
