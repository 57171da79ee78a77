// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <cmath>

#include "optim/options.h"
#include "optim/registry.h"
#include "optim/update_kernel.h"

namespace dlt::optim {
namespace {

struct AdadeltaOptions {
  double learning_rate = 1.0;
  double rho = 0.9;
  double eps = 1e-6;
  double weight_decay = 0;
};

/// The kernel "adadelta_update" for devices that have none.
/// scalars  rho, eps
void adadelta_update_host(const tensor::KernelArgs& args, const tensor::Attrs& /*attrs*/) {
  const HostBuffers b(args);
  const auto learning_rate = static_cast<float>(b.learning_rate());
  const float rho = b.own_f32(0), rest = static_cast<float>(1.0 - b.own(0)), eps = b.own_f32(1);
  float *square = b.state(0), *delta = b.state(1);
  for (std::int64_t i = 0; i < b.count; ++i) {
    const float grad = b.gradient(b.grads[i], b.params[i]);
    square[i] = rho * square[i] + rest * (grad * grad);
    const float move = std::sqrt(delta[i] + eps) / std::sqrt(square[i] + eps) * grad;
    delta[i] = rho * delta[i] + rest * (move * move);
    b.params[i] -= learning_rate * move;
  }
}

/// Adadelta, in place:
///   g = gradient + weight_decay·p;  s = rho·s + (1 − rho)·g²
///   d = sqrt(u + eps) / sqrt(s + eps)·g;  u = rho·u + (1 − rho)·d²;  p -= lr·d
/// state   square_avg (s), acc_delta (u), start at zero
/// source  Zeiler 2012, arXiv:1212.5701, algorithm 1; lr as in PyTorch torch.optim.Adadelta
class Adadelta final : public Optimizer {
 public:
  Adadelta(const AdadeltaOptions& options, const tensor::Backend& backend)
      : options_(options),
        kernel_(backend,
                {.name = "adadelta_update", .num_states = 2, .host = adadelta_update_host}) {}

  [[nodiscard]] std::vector<std::string> state_names() const override {
    return {"square_avg", "acc_delta"};
  }
  [[nodiscard]] double learning_rate() const override { return options_.learning_rate; }

  void update(const UpdateArgs& args, const std::vector<float*>& states) const override {
    const std::array<double, 2> own{options_.rho, options_.eps};
    kernel_.run(args, states,
                {.coupled_decay = args.weight_decay.value_or(options_.weight_decay), .own = own});
  }

 private:
  AdadeltaOptions options_;
  UpdateKernel kernel_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adadelta(config::MapReader& options,
                                         const tensor::Backend& backend) {
  AdadeltaOptions adadelta;
  adadelta.learning_rate = read_learning_rate(options, adadelta.learning_rate);
  adadelta.rho = read_fraction(options, "rho", adadelta.rho);
  adadelta.eps = read_eps(options, adadelta.eps);
  adadelta.weight_decay = read_weight_decay(options);
  return std::make_unique<Adadelta>(adadelta, backend);
}

}  // namespace dlt::optim
