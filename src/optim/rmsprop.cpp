// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct RmspropOptions {
  double learning_rate = 0.01;
  double alpha = 0.99;
  double eps = 1e-8;
  double momentum = 0;
  bool centered = false;
  double weight_decay = 0;
  [[nodiscard]] int num_states() const { return 1 + (momentum != 0 ? 1 : 0) + (centered ? 1 : 0); }
};

/// The kernel "rmsprop_update" for devices that have none.
/// scalars  alpha, eps, momentum, centered (0 or 1)
void rmsprop_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const auto learning_rate = static_cast<float>(b.learning_rate());
  const float alpha = b.own_f32(0), rest = static_cast<float>(1.0 - b.own(0));
  const float eps = b.own_f32(1), momentum = b.own_f32(2);
  const bool has_momentum = b.own(2) != 0;
  float* square = b.state(0);
  float* buffer = has_momentum ? b.state(1) : nullptr;
  float* mean = b.own(3) != 0 ? b.state(has_momentum ? 2 : 1) : nullptr;
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    square[i] = alpha * square[i] + rest * (grad * grad);
    float variance = square[i];
    if (mean != nullptr) {
      mean[i] = alpha * mean[i] + rest * grad;
      variance = std::max(0.0f, variance - mean[i] * mean[i]);
    }
    float move = grad / (std::sqrt(variance) + eps);
    if (buffer != nullptr) move = buffer[i] = momentum * buffer[i] + move;
    b.params[i] -= learning_rate * move;
  }
}

/// RMSprop, in place:
///   g = gradient + weight_decay·p;  s = alpha·s + (1 − alpha)·g²
///   a = alpha·a + (1 − alpha)·g and s − a² in the place of s, if centered
///   d = g / (sqrt(s) + eps);  b = momentum·b + d, if there is momentum;  p -= lr·b (or d)
/// state   square_avg (s), momentum (b), grad_avg (a), those that are used; start at zero
/// source  Tieleman & Hinton 2012, lecture 6.5; Graves 2013, arXiv:1308.0850, for the centred form;
///         PyTorch torch.optim.RMSprop
class Rmsprop final : public Optimizer {
 public:
  Rmsprop(const RmspropOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "rmsprop_update",
                          .num_states = options.num_states(),
                          .host = rmsprop_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override {
    std::vector<std::string> names{"square_avg"};
    if (options_.momentum != 0) names.emplace_back("momentum");
    if (options_.centered) names.emplace_back("grad_avg");
    return names;
  }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::array<double, 4> own{options_.alpha, options_.eps, options_.momentum,
                                    options_.centered ? 1.0 : 0.0};
    kernel_.run(args, states,
                {.coupled_decay = args.weight_decay.value_or(options_.weight_decay), .own = own});
  }

 private:
  RmspropOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_rmsprop(config::MapReader& options,
                                        const tensor::Backend& backend) {
  RmspropOptions rmsprop;
  rmsprop.learning_rate = read_learning_rate(options, rmsprop.learning_rate);
  rmsprop.alpha = read_fraction(options, "alpha", rmsprop.alpha);
  rmsprop.eps = read_eps(options, rmsprop.eps);
  rmsprop.momentum = read_fraction(options, "momentum", 0.0);
  rmsprop.centered = options.boolean("centered", false);
  rmsprop.weight_decay = read_weight_decay(options);
  return std::make_unique<Rmsprop>(rmsprop, backend);
}

}  // namespace dlt::optim
