// SPDX-License-Identifier: Apache-2.0
// The activation functions as layers of their own.
#include <utility>

#include "nn/activation.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

class ActivationLayer final : public Layer {
 public:
  explicit ActivationLayer(Activation activation) : activation_(std::move(activation)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    return apply_activation(context.graph, activation_, x);
  }

 private:
  Activation activation_;
};

std::unique_ptr<Layer> make_named(const std::string& name, config::MapReader& options) {
  return std::make_unique<ActivationLayer>(read_activation_options(name, options));
}

}  // namespace

/// {name: relu, ...}: here `name` is the function's.
std::unique_ptr<Layer> make_activation(config::MapReader& options) {
  return make_named(options.choice("name", activation_names()), options);
}

std::unique_ptr<Layer> make_gelu(config::MapReader& options) { return make_named("gelu", options); }

std::unique_ptr<Layer> make_leaky_relu(config::MapReader& options) {
  return make_named("leaky_relu", options);
}

std::unique_ptr<Layer> make_relu(config::MapReader& options) { return make_named("relu", options); }

std::unique_ptr<Layer> make_sigmoid(config::MapReader& options) {
  return make_named("sigmoid", options);
}

std::unique_ptr<Layer> make_silu(config::MapReader& options) { return make_named("silu", options); }

std::unique_ptr<Layer> make_softmax(config::MapReader& options) {
  return make_named("softmax", options);
}

std::unique_ptr<Layer> make_softplus(config::MapReader& options) {
  return make_named("softplus", options);
}

std::unique_ptr<Layer> make_tanh(config::MapReader& options) { return make_named("tanh", options); }

}  // namespace dlt::nn
