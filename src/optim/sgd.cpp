// SPDX-License-Identifier: Apache-2.0
#include <array>

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
/// scalars  learning_rate, grad_scale, momentum, nesterov (0 or 1), weight_decay
void sgd_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const auto scalar = [&](std::size_t i) { return static_cast<float>(args.run.scalars[i]); };
  const float learning_rate = scalar(0), grad_scale = scalar(1), momentum = scalar(2);
  const bool nesterov = scalar(3) != 0;
  const float weight_decay = scalar(4);
  const float* grads = args.inputs[0].as<const float>();
  auto* params = args.outputs[0].as<float>();
  auto* buffer = args.outputs.size() > 1 ? args.outputs[1].as<float>() : nullptr;
  const std::int64_t count = args.outputs[0].numel();
  for (std::int64_t i = 0; i < count; ++i) {
    float grad = grads[i] * grad_scale + weight_decay * params[i];
    if (buffer != nullptr) {
      buffer[i] = momentum * buffer[i] + grad;
      grad = nesterov ? grad + momentum * buffer[i] : buffer[i];
    }
    params[i] -= learning_rate * grad;
  }
}

/// Stochastic gradient descent, in place:
///   g = grad_scale·grad + weight_decay·p;  b = momentum·b + g;  p -= lr·(nesterov ? g + momentum·b
///   : b)
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
    const std::array<double, 5> scalars{args.learning_rate, args.grad_scale, options_.momentum,
                                        options_.nesterov ? 1.0 : 0.0, options_.weight_decay};
    kernel_.run(args, states, scalars);
  }

 private:
  SgdOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_sgd(config::MapReader& options, const tensor::Backend& backend) {
  SgdOptions sgd;
  sgd.learning_rate = options.number("learning_rate", {.min = 0}, sgd.learning_rate);
  sgd.momentum = options.number("momentum", {.min = 0, .max = 1, .max_open = true}, 0.0);
  sgd.nesterov = options.boolean("nesterov", false);
  sgd.weight_decay = options.number("weight_decay", {.min = 0}, 0.0);
  if (sgd.nesterov && sgd.momentum == 0) {
    options.error("nesterov", "expected a momentum above 0 beside it, got none",
                  "set momentum: 0.9, or leave nesterov out");
  }
  return std::make_unique<Sgd>(sgd, backend);
}

}  // namespace dlt::optim
