// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct LambOptions {
  double learning_rate = 0.001;
  Betas betas;
  double eps = 1e-6;
  double weight_decay = 0.01;
};

/// The update before it is scaled. scalars as of lamb_update_host
class LambDirection {
 public:
  explicit LambDirection(const HostBuffers& b)
      : eps_(b.own_f32(2)),
        decay_(b.own_f32(3)),
        scale_(static_cast<float>(1.0 / b.own(4))),
        root_(static_cast<float>(1.0 / std::sqrt(b.own(5)))) {}
  [[nodiscard]] float operator()(float p, float m, float v) const {
    return scale_ * m / (std::sqrt(v) * root_ + eps_) + decay_ * p;
  }

 private:
  float eps_, decay_, scale_, root_;
};

/// The kernel "lamb_measure" for devices that have none: m and v of this step, then the sums of
/// squares of params and update.
/// scalars  beta1, beta2, eps, weight decay, 1 - beta1^t, 1 - beta2^t
void lamb_measure_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const LambDirection direction(b);
  const float beta1 = b.own_f32(0), rest1 = static_cast<float>(1.0 - b.own(0));
  const float beta2 = b.own_f32(1), rest2 = static_cast<float>(1.0 - b.own(1));
  float *m = b.state(0), *v = b.state(1);
  double of_params = 0, of_update = 0;
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    m[i] = beta1 * m[i] + rest1 * grad;
    v[i] = beta2 * v[i] + rest2 * (grad * grad);
    const auto p = static_cast<double>(b.params[i]);
    const auto u = static_cast<double>(direction(b.params[i], m[i], v[i]));
    of_params += p * p;
    of_update += u * u;
  }
  auto* sums = args.outputs[3].as<double>();
  sums[0] = of_params;
  sums[1] = of_update;
}

/// The kernel "lamb_update" for devices that have none.
/// scalars  those of lamb_measure, trust ratio
void lamb_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const LambDirection direction(b);
  const auto rate = static_cast<float>(b.learning_rate() * b.own(6));
  const float *m = b.state(0), *v = b.state(1);
  for (std::int64_t i = 0; i < b.count; ++i) {
    b.params[i] -= rate * direction(b.params[i], m[i], v[i]);
  }
}

/// LAMB, in place, for each parameter, t = step + 1:
///   m = beta1·m + (1 − beta1)·g;  v = beta2·v + (1 − beta2)·g²
///   r = m / (1 − beta1^t) / (sqrt(v / (1 − beta2^t)) + eps) + weight_decay·p
///   p -= lr·ratio·r with ratio = ‖p‖ / ‖r‖, 1 if either is 0
/// state   m, v (start at zero)
/// source  You et al. 2020, arXiv:1904.00962, algorithm 2 with φ(z) = z, its eps and decay
class Lamb final : public Optimizer {
 public:
  Lamb(const LambOptions& options, const tensor::Backend& backend)
      : options_(options),
        measure_(
            backend,
            {.name = "lamb_measure", .num_states = 2, .measures = true, .host = lamb_measure_host}),
        update_(backend, {.name = "lamb_update", .num_states = 2, .host = lamb_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"m", "v"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }
  [[nodiscard]] bool adapts() const override { return true; }

  void measure(const UpdateArgs& args, const std::vector<float*>& states,
               double* sums) const override {
    measure_.run(args, states, {.own = scalars(args)}, sums);
  }

  [[nodiscard]] double trust_ratio(const UpdateArgs& /*args*/,
                                   const ParamNorms& norms) const override {
    return norms.param == 0 || norms.update == 0 ? 1.0 : norms.param / norms.update;
  }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    update_.run(args, states, {.own = scalars(args)});
  }

 private:
  [[nodiscard]] std::array<double, 7> scalars(const UpdateArgs& args) const {
    const auto t = static_cast<double>(args.step + 1);
    return {options_.betas.first,
            options_.betas.second,
            options_.eps,
            args.weight_decay.value_or(options_.weight_decay),
            1.0 - std::pow(options_.betas.first, t),
            1.0 - std::pow(options_.betas.second, t),
            args.trust_ratio};
  }

  LambOptions options_;
  UpdateKernel measure_, update_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lamb(config::MapReader& options, const tensor::Backend& backend) {
  LambOptions lamb;
  lamb.learning_rate = read_learning_rate(options, lamb.learning_rate);
  lamb.betas = read_betas(options);
  lamb.eps = read_eps(options, lamb.eps);
  lamb.weight_decay = read_weight_decay(options, lamb.weight_decay);
  return std::make_unique<Lamb>(lamb, backend);
}

}  // namespace dlt::optim
