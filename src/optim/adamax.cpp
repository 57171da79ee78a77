// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct AdamaxOptions {
  double learning_rate = 0.002;
  Betas betas;
  double eps = 1e-8;
  double weight_decay = 0;
};

/// The kernel "adamax_update" for devices that have none.
/// scalars  beta1, beta2, eps, 1 - beta1^t
void adamax_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const float beta1 = b.own_f32(0), rest1 = static_cast<float>(1.0 - b.own(0));
  const float beta2 = b.own_f32(1), eps = b.own_f32(2);
  const auto step_size = static_cast<float>(b.learning_rate() / b.own(3));
  float *m = b.state(0), *u = b.state(1);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    m[i] = beta1 * m[i] + rest1 * grad;
    u[i] = std::max(beta2 * u[i], std::abs(grad) + eps);
    b.params[i] -= step_size * (m[i] / u[i]);
  }
}

/// Adamax, in place, t = step + 1:
///   g = gradient + weight_decay·p;  m = beta1·m + (1 − beta1)·g;  u = max(beta2·u, |g| + eps)
///   p -= lr / (1 − beta1^t) · m / u
/// state   m, u (start at zero)
/// source  Kingma & Ba 2015, arXiv:1412.6980, algorithm 2; eps as in PyTorch torch.optim.Adamax
class Adamax final : public Optimizer {
 public:
  Adamax(const AdamaxOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "adamax_update", .num_states = 2, .host = adamax_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"m", "u"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const auto t = static_cast<double>(args.step + 1);
    const std::array<double, 4> own{options_.betas.first, options_.betas.second, options_.eps,
                                    1.0 - std::pow(options_.betas.first, t)};
    kernel_.run(args, states,
                {.coupled_decay = args.weight_decay.value_or(options_.weight_decay), .own = own});
  }

 private:
  AdamaxOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamax(config::MapReader& options, const tensor::Backend& backend) {
  AdamaxOptions adamax;
  adamax.learning_rate = read_learning_rate(options, adamax.learning_rate);
  adamax.betas = read_betas(options);
  adamax.eps = read_eps(options, adamax.eps);
  adamax.weight_decay = read_weight_decay(options);
  return std::make_unique<Adamax>(adamax, backend);
}

}  // namespace dlt::optim
