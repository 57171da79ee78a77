// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/ctc.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>

#include "backend/cpu/routines.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cpu {
namespace {

using tensor::KernelArgs;
using tensor::KernelSpec;

/// Sizes, attributes and the trellis' memory; both kernels go through the samples one by one.
class Ctc {
 public:
  Ctc(const KernelSpec& spec, std::size_t mask, Isa isa)
      : steps_(spec.inputs[0].shape[1]),
        classes_(spec.inputs[0].shape[2]),
        max_labels_(spec.inputs[1].shape[1]),
        stride_(CtcTrellis::padded(2 * max_labels_ + 1) + 2 * CtcTrellis::kMargin),
        mask_(spec.inputs.size() > mask ? static_cast<std::ptrdiff_t>(mask) : -1),
        blank_(static_cast<std::int32_t>(spec.attrs.integer("blank", 0))),
        per_label_(spec.attrs.integer("per_label", 1) != 0),
        zero_infinity_(spec.attrs.integer("zero_infinity") != 0),
        isa_(isa) {}

  [[nodiscard]] std::int64_t scratch_bytes(std::int64_t alpha_rows) const {
    const std::int64_t rows = alpha_rows + 3;  // two of beta, one of skips
    return stride_ * (rows * 8 + 8);           // and one each of floats and states
  }

  /// The trellis of a sample. errors  Exit::data if a label is out of range or the blank
  void prepare(const KernelArgs& args, std::int64_t sample, std::int64_t alpha_rows,
               CtcTrellis& c) const {
    auto* doubles = reinterpret_cast<double*>(args.scratch);
    c.alpha = doubles;
    c.beta = c.alpha + alpha_rows * stride_;
    double* skip = c.beta + 2 * stride_;
    c.emitted = reinterpret_cast<float*>(skip + stride_);
    auto* states = reinterpret_cast<std::int32_t*>(c.emitted + stride_);
    c.logp = args.inputs[0].as<const float>() + sample * steps_ * classes_;
    c.steps = num_steps(args, sample);
    c.classes = classes_;
    c.stride = stride_;
    std::fill_n(c.emitted, stride_, 0.0F);
    std::fill_n(skip, stride_, CtcTrellis::kNever);
    const auto* labels = args.inputs[1].as<const std::int32_t>() + sample * max_labels_;
    std::int64_t n = 0;
    states[n++] = blank_;
    for (std::int64_t i = 0; i < max_labels_ && labels[i] != -1; ++i) {
      if (labels[i] < 0 || labels[i] >= classes_ || labels[i] == blank_) {
        refuse(sample, i, labels[i]);
      }
      if (i > 0 && labels[i] != labels[i - 1]) skip[n] = 0;
      states[n++] = labels[i];
      states[n++] = blank_;
    }
    c.num_states = n;
    c.states = states;
    c.skip = skip;
  }

  [[nodiscard]] double forward(const CtcTrellis& c, std::int64_t alpha_rows) const {
    if (c.steps == 0) return c.num_states == 1 ? 0.0 : CtcTrellis::kNever;
    return isa_ == Isa::avx512 ? avx512::ctc_forward(c, alpha_rows)
                               : avx2::ctc_forward(c, alpha_rows);
  }
  void backward(const CtcTrellis& c, double total, float scale, float* gradient) const {
    if (isa_ == Isa::avx512) {
      avx512::ctc_backward(c, total, scale, gradient);
    } else {
      avx2::ctc_backward(c, total, scale, gradient);
    }
  }
  [[nodiscard]] double divisor(const CtcTrellis& c) const {
    return per_label_ ? static_cast<double>(std::max<std::int64_t>(1, (c.num_states - 1) / 2))
                      : 1.0;
  }
  [[nodiscard]] bool zero_infinity() const { return zero_infinity_; }
  [[nodiscard]] std::int64_t steps() const { return steps_; }
  [[nodiscard]] std::int64_t classes() const { return classes_; }

 private:
  [[noreturn]] void refuse(std::int64_t sample, std::int64_t place, std::int32_t label) const {
    throw Error(
        Exit::data,
        cat("ctc: label ", place, " of sample ", sample, " of the leaf is ", label, "; want 0 to ",
            classes_ - 1, ", not the blank, ", blank_, ", and -1 behind the last"),
        "loss.ctc.blank says which class is the blank");
  }
  /// Without a mask all steps, else those it is 1 for, which are the first.
  [[nodiscard]] std::int64_t num_steps(const KernelArgs& args, std::int64_t sample) const {
    if (mask_ < 0) return steps_;
    const auto* real =
        args.inputs[static_cast<std::size_t>(mask_)].as<const float>() + sample * steps_;
    return std::count_if(real, real + steps_, [](float x) { return x > 0.5F; });
  }

  std::int64_t steps_, classes_, max_labels_, stride_;
  std::ptrdiff_t mask_;
  std::int32_t blank_;
  bool per_label_, zero_infinity_;
  Isa isa_;
};

class CtcLoss final : public tensor::Kernel {
 public:
  CtcLoss(const KernelSpec& spec, Isa isa) : ctc_(spec, 2, isa) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return ctc_.scratch_bytes(2); }
  void run(const KernelArgs& args) const override {
    const std::int64_t samples = args.outputs[0].numel();
    for (std::int64_t b = 0; b < samples; ++b) {
      CtcTrellis c;
      float& loss = args.outputs[0].as<float>()[b];
      ctc_.prepare(args, b, 2, c);
      const double total = ctc_.forward(c, 2);
      loss = static_cast<float>(-total / ctc_.divisor(c));
      if (total < CtcTrellis::kImpossible) {
        loss = ctc_.zero_infinity() ? 0.0F : std::numeric_limits<float>::infinity();
      }
    }
  }

 private:
  Ctc ctc_;
};

class CtcLossGrad final : public tensor::Kernel {
 public:
  CtcLossGrad(const KernelSpec& spec, Isa isa) : ctc_(spec, 3, isa) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return ctc_.scratch_bytes(ctc_.steps());
  }
  void run(const KernelArgs& args) const override {
    const std::int64_t sample_numel = ctc_.steps() * ctc_.classes();
    std::fill_n(args.outputs[0].as<float>(), args.outputs[0].numel(), 0.0F);
    for (std::int64_t b = 0; b < args.inputs[2].numel(); ++b) {
      CtcTrellis c;
      float* gradient = args.outputs[0].as<float>() + b * sample_numel;
      ctc_.prepare(args, b, ctc_.steps(), c);
      const double total = ctc_.forward(c, ctc_.steps());
      if (c.steps == 0) continue;
      if (total < CtcTrellis::kImpossible) {  // no gradient, or the NaN of inf - inf
        const float value = ctc_.zero_infinity() ? 0.0F : std::numeric_limits<float>::quiet_NaN();
        std::fill_n(gradient, c.steps * ctc_.classes(), value);
        continue;
      }
      const auto dloss = static_cast<double>(args.inputs[2].as<const float>()[b]);
      ctc_.backward(c, total, static_cast<float>(dloss / ctc_.divisor(c)), gradient);
    }
  }

 private:
  Ctc ctc_;
};

bool serves_ctc(const KernelSpec& spec) {
  const auto wide = [](const tensor::TensorType& type) {
    return type.dtype != DType::f32 && type.dtype != DType::i32;
  };
  return std::none_of(spec.inputs.begin(), spec.inputs.end(), wide);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_ctc_loss(const KernelSpec& spec, Isa isa) {
  return serves_ctc(spec) ? std::make_unique<CtcLoss>(spec, isa) : nullptr;
}

std::unique_ptr<tensor::Kernel> make_ctc_loss_grad(const KernelSpec& spec, Isa isa) {
  return serves_ctc(spec) ? std::make_unique<CtcLossGrad>(spec, isa) : nullptr;
}

}  // namespace dlt::cpu
