// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct AdagradOptions {
  double learning_rate = 0.01;
  double lr_decay = 0;
  double initial_accumulator_value = 0;
  double eps = 1e-10;
  double weight_decay = 0;
};

/// The kernel "adagrad_update" for devices that have none.
/// scalars  eps, initial_accumulator_value, 1 + steps done · lr_decay
void adagrad_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const auto step_size = static_cast<float>(b.learning_rate() / b.own(2));
  const float eps = b.own_f32(0), initial = b.own_f32(1);
  float* sum = b.state(0);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    sum[i] += grad * grad;
    b.params[i] -= step_size * (grad / (std::sqrt(sum[i] + initial) + eps));
  }
}

/// Adagrad, in place, t = step + 1:
///   g = gradient + weight_decay·p;  s += g²
///   p -= lr / (1 + (t − 1)·lr_decay) · g / (sqrt(s + initial_accumulator_value) + eps)
/// state   sum (s, starts at zero: the initial value is not part of it)
/// source  Duchi et al. 2011, JMLR 12; PyTorch torch.optim.Adagrad
class Adagrad final : public Optimizer {
 public:
  Adagrad(const AdagradOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "adagrad_update", .num_states = 1, .host = adagrad_update_host}) {
  }

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"sum"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::array<double, 3> own{options_.eps, options_.initial_accumulator_value,
                                    1.0 + static_cast<double>(args.step) * options_.lr_decay};
    kernel_.run(args, states,
                {.coupled_decay = args.weight_decay.value_or(options_.weight_decay), .own = own});
  }

 private:
  AdagradOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adagrad(config::MapReader& options,
                                        const tensor::Backend& backend) {
  AdagradOptions adagrad;
  adagrad.learning_rate = read_learning_rate(options, adagrad.learning_rate);
  adagrad.lr_decay = options.number("lr_decay", {.min = 0}, 0.0);
  adagrad.initial_accumulator_value = options.number("initial_accumulator_value", {.min = 0}, 0.0);
  adagrad.eps = read_eps(options, adagrad.eps);
  adagrad.weight_decay = read_weight_decay(options);
  return std::make_unique<Adagrad>(adagrad, backend);
}

}  // namespace dlt::optim
