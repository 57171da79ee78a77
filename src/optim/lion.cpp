// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct LionOptions {
  double learning_rate = 1e-4;
  Betas betas{.first = 0.9, .second = 0.99};
  double weight_decay = 0;
};

float sign(float x) { return x > 0 ? 1.0f : x < 0 ? -1.0f : 0.0f; }

/// The kernel "lion_update" for devices that have none.
/// scalars  beta1, beta2, decoupled weight decay
void lion_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const float beta1 = b.own_f32(0), rest1 = static_cast<float>(1.0 - b.own(0));
  const float beta2 = b.own_f32(1), rest2 = static_cast<float>(1.0 - b.own(1));
  const auto learning_rate = static_cast<float>(b.learning_rate());
  const auto keep = static_cast<float>(1.0 - b.learning_rate() * b.own(2));
  float* m = b.state(0);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    const float direction = sign(beta1 * m[i] + rest1 * grad);
    m[i] = beta2 * m[i] + rest2 * grad;
    b.params[i] = keep * b.params[i] - learning_rate * direction;
  }
}

/// Lion, in place:
///   c = sign(beta1·m + (1 − beta1)·g);  p = (1 − lr·weight_decay)·p − lr·c
///   m = beta2·m + (1 − beta2)·g
/// state   m (starts at zero)
/// source  Chen et al. 2023, arXiv:2302.06675, program 1 (betas and the decoupled decay are its)
class Lion final : public Optimizer {
 public:
  Lion(const LionOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "lion_update", .num_states = 1, .host = lion_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override { return {"m"}; }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::array<double, 3> own{options_.betas.first, options_.betas.second,
                                    args.weight_decay.value_or(options_.weight_decay)};
    kernel_.run(args, states, {.own = own});
  }

 private:
  LionOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_lion(config::MapReader& options, const tensor::Backend& backend) {
  LionOptions lion;
  lion.learning_rate = read_learning_rate(options, lion.learning_rate);
  lion.betas = read_betas(options, lion.betas);
  lion.weight_decay = read_weight_decay(options);
  return std::make_unique<Lion>(lion, backend);
}

}  // namespace dlt::optim
