// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct NadamOptions {
  double learning_rate = 0.002;
  Betas betas;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum_decay = 0.004;
  bool decoupled_weight_decay = false;
};

/// The kernel "nadam_update" for devices that have none.
/// scalars  beta1, beta2, eps, decoupled weight decay, 1 - beta2^t, step size of the gradient, of m
void nadam_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const float beta1 = b.own_f32(0), rest1 = static_cast<float>(1.0 - b.own(0));
  const float beta2 = b.own_f32(1), rest2 = static_cast<float>(1.0 - b.own(1));
  const float eps = b.own_f32(2), by_grad = b.own_f32(5), by_m = b.own_f32(6);
  const auto keep = static_cast<float>(1.0 - b.learning_rate() * b.own(3));
  const auto root_correction = static_cast<float>(1.0 / std::sqrt(b.own(4)));
  float *m = b.state(0), *v = b.state(1);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    m[i] = beta1 * m[i] + rest1 * grad;
    v[i] = beta2 * v[i] + rest2 * (grad * grad);
    const float denominator = std::sqrt(v[i]) * root_correction + eps;
    b.params[i] = keep * b.params[i] - (by_grad * grad + by_m * m[i]) / denominator;
  }
}

/// Adam with Nesterov's momentum, in place, t = step + 1:
///   mu_t = beta1·(1 − 0.96^(t·momentum_decay) / 2);  M_t = Π mu_i for i = 1 .. t
///   g = gradient + weight_decay·p, or p *= 1 − lr·weight_decay if decoupled_weight_decay
///   m = beta1·m + (1 − beta1)·g;  v = beta2·v + (1 − beta2)·g²
///   p -= lr·((1 − mu_t) / (1 − M_t)·g + mu_(t+1) / (1 − M_(t+1))·m)
///        / (sqrt(v / (1 − beta2^t)) + eps)
/// state   m, v (start at zero); M_t is computed from t
/// source  Dozat 2016, "Incorporating Nesterov Momentum into Adam"; PyTorch torch.optim.NAdam
class Nadam final : public Optimizer {
 public:
  Nadam(const NadamOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "nadam_update", .num_states = 2, .host = nadam_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"m", "v"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::int64_t t = args.step + 1;
    const double product = momentum_product(t);
    const double next = momentum(t + 1);
    const bool decoupled = options_.decoupled_weight_decay;
    const double decay = args.weight_decay.value_or(options_.weight_decay);
    const std::array<double, 7> own{options_.betas.first,
                                    options_.betas.second,
                                    options_.eps,
                                    decoupled ? decay : 0.0,
                                    1.0 - std::pow(options_.betas.second, static_cast<double>(t)),
                                    args.learning_rate * (1.0 - momentum(t)) / (1.0 - product),
                                    args.learning_rate * next / (1.0 - product * next)};
    kernel_.run(args, states, {.coupled_decay = decoupled ? 0.0 : decay, .own = own});
  }

 private:
  [[nodiscard]] double momentum(std::int64_t t) const {
    const double exponent = static_cast<double>(t) * options_.momentum_decay;
    return options_.betas.first * (1.0 - 0.5 * std::pow(0.96, exponent));
  }
  [[nodiscard]] double momentum_product(std::int64_t t) const {
    // One minus a product this small is 1 to the last bit: the loop is short for every t.
    constexpr double kNothing = 1e-17;
    double product = 1.0;
    for (std::int64_t i = 1; i <= t && product > kNothing; ++i) product *= momentum(i);
    return product;
  }

  NadamOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_nadam(config::MapReader& options, const tensor::Backend& backend) {
  NadamOptions nadam;
  nadam.learning_rate = read_learning_rate(options, nadam.learning_rate);
  nadam.betas = read_betas(options);
  nadam.eps = read_eps(options, nadam.eps);
  nadam.weight_decay = read_weight_decay(options);
  nadam.momentum_decay = options.number("momentum_decay", {.min = 0}, nadam.momentum_decay);
  nadam.decoupled_weight_decay = options.boolean("decoupled_weight_decay", false);
  return std::make_unique<Nadam>(nadam, backend);
}

}  // namespace dlt::optim
