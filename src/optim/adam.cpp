// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "base/text.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

enum class Decay : std::uint8_t { l2, decoupled };

struct AdamOptions {
  double learning_rate = 0.001;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  Decay decay = Decay::l2;
};

/// The kernel "adam_update" for devices that have none.
/// scalars  learning_rate, grad_scale, beta1, beta2, eps, l2_weight_decay, decoupled_weight_decay,
///          bias_correction1, bias_correction2
void adam_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const std::span<const double> s = args.run.scalars;
  const auto grad_scale = static_cast<float>(s[1]);
  const auto beta1 = static_cast<float>(s[2]), rest1 = static_cast<float>(1.0 - s[2]);
  const auto beta2 = static_cast<float>(s[3]), rest2 = static_cast<float>(1.0 - s[3]);
  const auto eps = static_cast<float>(s[4]), l2 = static_cast<float>(s[5]);
  const auto keep = static_cast<float>(1.0 - s[0] * s[6]);
  const auto step_size = static_cast<float>(s[0] / s[7]);
  const auto root_correction = static_cast<float>(1.0 / std::sqrt(s[8]));
  const float* grads = args.inputs[0].as<const float>();
  auto* params = args.outputs[0].as<float>();
  auto* m = args.outputs[1].as<float>();
  auto* v = args.outputs[2].as<float>();
  const std::int64_t count = args.outputs[0].numel();
  for (std::int64_t i = 0; i < count; ++i) {
    const float grad = grads[i] * grad_scale + l2 * params[i];
    m[i] = beta1 * m[i] + rest1 * grad;
    v[i] = beta2 * v[i] + rest2 * (grad * grad);
    const float denominator = std::sqrt(v[i]) * root_correction + eps;
    params[i] = keep * params[i] - step_size * (m[i] / denominator);
  }
}

/// Adam update of every parameter of a range, in place, t = step + 1:
///   g = grad_scale·grad (+ weight_decay·p for adam);  p *= 1 − lr·weight_decay (adamw)
///   m = beta1·m + (1 − beta1)·g;  v = beta2·v + (1 − beta2)·g²
///   p -= lr / (1 − beta1^t) · m / (sqrt(v) / sqrt(1 − beta2^t) + eps)
/// state   m, v (start at zero)
/// source  Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019,
///         arXiv:1711.05101, algorithm 2, for adamw; the place of eps is that of PyTorch's
///         torch.optim.Adam and AdamW
class Adam final : public Optimizer {
 public:
  Adam(const AdamOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "adam_update", .num_states = 2, .host = adam_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"m", "v"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const auto t = static_cast<double>(args.step + 1);
    const bool l2 = options_.decay == Decay::l2;
    const std::array<double, 9> scalars{args.learning_rate,
                                        args.grad_scale,
                                        options_.beta1,
                                        options_.beta2,
                                        options_.eps,
                                        l2 ? options_.weight_decay : 0.0,
                                        l2 ? 0.0 : options_.weight_decay,
                                        1.0 - std::pow(options_.beta1, t),
                                        1.0 - std::pow(options_.beta2, t)};
    kernel_.run(args, states, scalars);
  }

 private:
  AdamOptions options_;
  UpdateKernel kernel_;
};

std::unique_ptr<Optimizer> make(config::MapReader& options, const tensor::Backend& backend,
                                AdamOptions adam) {
  const std::size_t mistakes = options.diagnostics().size();
  const std::vector<double> betas = options.numbers("betas", {.min = 0, .max = 1, .max_open = true},
                                                    std::vector<double>{adam.beta1, adam.beta2});
  if (betas.size() == 2) {
    adam.beta1 = betas[0];
    adam.beta2 = betas[1];
  } else if (options.diagnostics().size() == mistakes) {
    options.error("betas", cat("expected a list of two numbers, got ", betas.size()),
                  "the decay of the mean and of the mean square: [0.9, 0.999]");
  }
  adam.eps = options.number("eps", {.min = 0, .min_open = true}, adam.eps);
  adam.learning_rate = options.number("learning_rate", {.min = 0}, adam.learning_rate);
  adam.weight_decay = options.number("weight_decay", {.min = 0}, adam.weight_decay);
  return std::make_unique<Adam>(adam, backend);
}

}  // namespace

std::unique_ptr<Optimizer> make_adam(config::MapReader& options, const tensor::Backend& backend) {
  return make(options, backend, {});
}

std::unique_ptr<Optimizer> make_adamw(config::MapReader& options, const tensor::Backend& backend) {
  return make(options, backend, {.weight_decay = 0.01, .decay = Decay::decoupled});
}

}  // namespace dlt::optim
