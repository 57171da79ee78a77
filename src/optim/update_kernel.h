// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "optim/optimizer.h"
#include "tensor/backend.h"

namespace dlt::optim {

/// run.scalars of every update kernel begins with these, an optimiser's own follow at kOwnScalars:
///   0 learning_rate, 1 grad_scale, 2 l2 (what is added to the gradient for each unit of p),
///   3 l1, 4 clip_value (infinity: off)
inline constexpr std::size_t kOwnScalars = 5;

struct UpdateScalars {
  double coupled_decay = 0;  // weight decay that is added to the gradient
  std::span<const double> own = {};
};

/// An optimiser's arithmetic: the device's kernel of that name, or the host function where the
/// device has none. Inputs are {grads}, outputs {params, states...}, all f32 of one length, and for
/// a kernel that measures f64 sums [2] behind them.
class UpdateKernel {
 public:
  struct Options {
    std::string_view name;  // "adam_update"
    int num_states = 0;
    bool measures = false;
    tensor::KernelFunction host = nullptr;
  };
  UpdateKernel(const tensor::Backend& backend, const Options& options);

  /// Runs on [args.begin, args.end). Allocates nothing; may be called from several threads for
  /// ranges that do not overlap. sums: of a kernel that measures, else null.
  void run(const UpdateArgs& args, std::span<float* const> states, const UpdateScalars& scalars,
           double* sums = nullptr) const;

 private:
  std::unique_ptr<tensor::Kernel> kernel_;
  std::size_t num_states_;
  bool measures_;
};

/// The gradient that host functions work with, see UpdateArgs.
class HostGradient {
 public:
  explicit HostGradient(std::span<const double> scalars);
  [[nodiscard]] float operator()(float grad, float p) const {
    float g = grad * scale_;
    if (g > clip_) g = clip_;
    if (g < -clip_) g = -clip_;
    return g + l2_ * p + (p > 0 ? l1_ : p < 0 ? -l1_ : 0.0f);
  }

 private:
  float scale_, l2_, l1_, clip_;
};

/// The buffers of a host function.
struct HostBuffers {
  explicit HostBuffers(const tensor::KernelArgs& args);
  [[nodiscard]] float* state(std::size_t i) const { return args->outputs[1 + i].as<float>(); }
  /// Scalar i of the optimiser's own.
  [[nodiscard]] double own(std::size_t i) const { return args->run.scalars[kOwnScalars + i]; }
  [[nodiscard]] float own_f32(std::size_t i) const { return static_cast<float>(own(i)); }
  [[nodiscard]] double learning_rate() const { return args->run.scalars[0]; }
  const tensor::KernelArgs* args;
  HostGradient gradient;
  const float* grads;
  float* params;
  std::int64_t count;
};

}  // namespace dlt::optim
