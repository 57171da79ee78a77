// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <span>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct LarsOptions {
  double learning_rate = 0.1;
  double momentum = 0.9;
  double weight_decay = 0;
  double trust_coefficient = 0.001;
  double eps = 1e-8;
};

/// The kernel "lars_measure" for devices that have none: sums of squares of params and gradient.
void lars_measure_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  double of_params = 0, of_gradient = 0;
  for (std::int64_t i = 0; i < b.count; ++i) {
    const auto p = static_cast<double>(b.params[i]);
    const auto g = static_cast<double>(b.gradient(b.grads[i], b.params[i]));
    of_params += p * p;
    of_gradient += g * g;
  }
  auto* sums = args.outputs[1].as<double>();
  sums[0] = of_params;
  sums[1] = of_gradient;
}

/// The kernel "lars_update" for devices that have none.
/// scalars  momentum, weight decay, trust ratio
void lars_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const float momentum = b.own_f32(0), decay = b.own_f32(1);
  const auto rate = static_cast<float>(b.learning_rate() * b.own(2));
  float* buffer = b.state(0);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]) + decay * b.params[i];
    buffer[i] = momentum * buffer[i] + rate * grad;
    b.params[i] -= buffer[i];
  }
}

/// Layer-wise adaptive rate scaling, in place, for each parameter:
///   ratio = trust_coefficient·‖p‖ / (‖g‖ + weight_decay·‖p‖ + eps), 1 if ‖p‖ or ‖g‖ is 0
///   b = momentum·b + lr·ratio·(g + weight_decay·p);  p -= b
/// state   momentum (b, starts at zero)
/// source  You, Gitman & Ginsburg 2017, arXiv:1708.03888, algorithm 1 (trust_coefficient is its η)
class Lars final : public Optimizer {
 public:
  Lars(const LarsOptions& options, const tensor::Backend& backend)
      : options_(options),
        measure_(backend, {.name = "lars_measure", .measures = true, .host = lars_measure_host}),
        update_(backend, {.name = "lars_update", .num_states = 1, .host = lars_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"momentum"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }
  [[nodiscard]] bool adapts() const override { return true; }

  void measure(const UpdateArgs& args, const std::vector<float*>& /*states*/,
               double* sums) const override {
    measure_.run(args, {}, {}, sums);
  }

  [[nodiscard]] double trust_ratio(const UpdateArgs& args, const ParamNorms& norms) const override {
    if (norms.param == 0 || norms.update == 0) return 1.0;
    const double decay = args.weight_decay.value_or(options_.weight_decay);
    return options_.trust_coefficient * norms.param /
           (norms.update + decay * norms.param + options_.eps);
  }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::array<double, 3> own{
        options_.momentum, args.weight_decay.value_or(options_.weight_decay), args.trust_ratio};
    update_.run(args, states, {.own = own});
  }

 private:
  LarsOptions options_;
  UpdateKernel measure_, update_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lars(config::MapReader& options, const tensor::Backend& backend) {
  LarsOptions lars;
  lars.learning_rate = read_learning_rate(options, lars.learning_rate);
  lars.momentum = read_fraction(options, "momentum", lars.momentum);
  lars.weight_decay = read_weight_decay(options);
  lars.trust_coefficient =
      options.number("trust_coefficient", {.min = 0, .min_open = true}, lars.trust_coefficient);
  lars.eps = read_eps(options, lars.eps);
  return std::make_unique<Lars>(lars, backend);
}

}  // namespace dlt::optim
