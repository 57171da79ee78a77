// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

enum class Decay : std::uint8_t { l2, decoupled };

struct AdamOptions {
  double learning_rate = 0.001;
  Betas betas;
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  Decay decay = Decay::l2;
};

/// The kernel "adam_update" for devices that have none.
/// scalars  beta1, beta2, eps, decoupled weight decay, 1 - beta1^t, 1 - beta2^t
void adam_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const float beta1 = b.own_f32(0), rest1 = static_cast<float>(1.0 - b.own(0));
  const float beta2 = b.own_f32(1), rest2 = static_cast<float>(1.0 - b.own(1));
  const float eps = b.own_f32(2);
  const auto keep = static_cast<float>(1.0 - b.learning_rate() * b.own(3));
  const auto step_size = static_cast<float>(b.learning_rate() / b.own(4));
  const auto root_correction = static_cast<float>(1.0 / std::sqrt(b.own(5)));
  float *m = b.state(0), *v = b.state(1);
  float* v_max = args.outputs.size() > 3 ? b.state(2) : nullptr;
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    m[i] = beta1 * m[i] + rest1 * grad;
    v[i] = beta2 * v[i] + rest2 * (grad * grad);
    float square = v[i];
    if (v_max != nullptr) square = v_max[i] = std::max(v_max[i], square);
    const float denominator = std::sqrt(square) * root_correction + eps;
    b.params[i] = keep * b.params[i] - step_size * (m[i] / denominator);
  }
}

/// Adam update of every parameter of a range, in place, t = step + 1:
///   g = gradient (+ weight_decay·p for adam);  p *= 1 − lr·weight_decay (adamw)
///   m = beta1·m + (1 − beta1)·g;  v = beta2·v + (1 − beta2)·g²
///   p -= lr / (1 − beta1^t) · m / (sqrt(v) / sqrt(1 − beta2^t) + eps)
/// and with amsgrad the largest v so far in the place of v.
/// state   m, v, v_max with amsgrad (start at zero)
/// source  Kingma & Ba 2015, arXiv:1412.6980, algorithm 1; Loshchilov & Hutter 2019,
///         arXiv:1711.05101, algorithm 2, for adamw; Reddi et al. 2018, arXiv:1904.09237, for
///         amsgrad; the place of eps is that of PyTorch's torch.optim.Adam and AdamW
class Adam final : public Optimizer {
 public:
  Adam(const AdamOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "adam_update",
                          .num_states = options.amsgrad ? 3 : 2,
                          .host = adam_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override {
    if (options_.amsgrad) return {"m", "v", "v_max"};
    return {"m", "v"};
  }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const auto t = static_cast<double>(args.step + 1);
    const bool l2 = options_.decay == Decay::l2;
    const double decay = args.weight_decay.value_or(options_.weight_decay);
    const std::array<double, 6> own{options_.betas.first,
                                    options_.betas.second,
                                    options_.eps,
                                    l2 ? 0.0 : decay,
                                    1.0 - std::pow(options_.betas.first, t),
                                    1.0 - std::pow(options_.betas.second, t)};
    kernel_.run(args, states, {.coupled_decay = l2 ? decay : 0.0, .own = own});
  }

 private:
  AdamOptions options_;
  UpdateKernel kernel_;
};

std::unique_ptr<Optimizer> make(config::MapReader& options, const tensor::Backend& backend,
                                AdamOptions adam) {
  adam.betas = read_betas(options);
  adam.eps = read_eps(options, adam.eps);
  adam.learning_rate = read_learning_rate(options, adam.learning_rate);
  adam.weight_decay = read_weight_decay(options, adam.weight_decay);
  adam.amsgrad = options.boolean("amsgrad", false);
  return std::make_unique<Adam>(adam, backend);
}

}  // namespace

std::unique_ptr<Optimizer> make_adam(config::MapReader& options, const tensor::Backend& backend) {
  return make(options, backend, {});
}

std::unique_ptr<Optimizer> make_adamw(config::MapReader& options, const tensor::Backend& backend) {
  AdamOptions adamw;
  adamw.weight_decay = 0.01;
  adamw.decay = Decay::decoupled;
  return make(options, backend, adamw);
}

}  // namespace dlt::optim
