// SPDX-License-Identifier: Apache-2.0
#include <array>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct SgdOptions {
  double learning_rate = 0.01;
  double momentum = 0;
  bool nesterov = false;
  double weight_decay = 0;
};

/// The kernel "sgd_update" for devices that have none.
/// scalars  momentum, nesterov (0 or 1)
void sgd_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const auto learning_rate = static_cast<float>(b.learning_rate());
  const float momentum = b.own_f32(0);
  const bool nesterov = b.own(1) != 0;
  float* buffer = args.outputs.size() > 1 ? b.state(0) : nullptr;
  for (std::int64_t i = 0; i < b.count; ++i) {
    float grad = b.gradient(b.grads[i], b.params[i]);
    if (buffer != nullptr) {
      buffer[i] = momentum * buffer[i] + grad;
      grad = nesterov ? grad + momentum * buffer[i] : buffer[i];
    }
    b.params[i] -= learning_rate * grad;
  }
}

/// Stochastic gradient descent, in place:
///   g = gradient + weight_decay·p;  b = momentum·b + g;  p -= lr·(nesterov ? g + momentum·b : b)
/// state   momentum (b, starts at zero), only if momentum is not 0
/// source  PyTorch torch.optim.SGD with dampening 0 (Sutskever et al. 2013 for Nesterov's form)
class Sgd final : public Optimizer {
 public:
  Sgd(const SgdOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend, {.name = "sgd_update",
                          .num_states = options.momentum != 0 ? 1 : 0,
                          .host = sgd_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override {
    if (options_.momentum == 0) return {};
    return {"momentum"};
  }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::array<double, 2> own{options_.momentum, options_.nesterov ? 1.0 : 0.0};
    kernel_.run(args, states,
                {.coupled_decay = args.weight_decay.value_or(options_.weight_decay), .own = own});
  }

 private:
  SgdOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(config::MapReader& options, const tensor::Backend& backend) {
  SgdOptions sgd;
  sgd.learning_rate = read_learning_rate(options, sgd.learning_rate);
  sgd.momentum = read_fraction(options, "momentum", 0.0);
  sgd.nesterov = options.boolean("nesterov", false);
  sgd.weight_decay = read_weight_decay(options);
  if (sgd.nesterov && sgd.momentum == 0) {
    options.error("nesterov", "expected a momentum above 0 beside it, got none",
                  "set momentum: 0.9, or leave nesterov out");
  }
  return std::make_unique<Sgd>(sgd, backend);
}

}  // namespace dlt::optim
