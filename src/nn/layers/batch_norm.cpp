// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "nn/layers/norm_params.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Normalises each channel (the last axis): in training by the moments of the leaf's samples, which
/// also move the running statistics; in inference by these.
/// source  Ioffe & Szegedy 2015, arXiv:1502.03167
class BatchNorm final : public Layer {
 public:
  BatchNorm(NormOptions options, double momentum) : options_(options), momentum_(momentum) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    autodiff::Graph& graph = context.graph;
    const tensor::Shape shape = graph.shape(x);
    const std::int64_t channels = shape.last();
    const autodiff::ValueId gamma = norm_gamma(context, options_, channels);
    const autodiff::ValueId beta = norm_beta(context, options_, channels);
    const auto statistic = [&](const char* name, InitKind kind) {
      return context.param(name, {channels}, {.kind = kind}, ParamKind::statistic);
    };
    const autodiff::ValueId mean = statistic("running_mean", InitKind::zeros);
    const autodiff::ValueId variance = statistic("running_var", InitKind::ones);
    context.record.running_statistics.push_back({.mean = context.name + ".running_mean",
                                                 .variance = context.name + ".running_var",
                                                 .momentum = momentum_,
                                                 .elements_per_sample = shape.rows() / shape[0]});
    const tensor::Attrs attrs{{"eps", options_.eps}};
    if (context.mode == Mode::inference) {
      return graph.add_one("batch_norm_inference", {x, gamma, beta, mean, variance}, attrs);
    }
    const auto outputs = graph.add("batch_norm", {x, gamma, beta, context.weight}, attrs);
    const auto sums =
        graph.add("batch_norm_statistics", {outputs[1], outputs[3], context.weight, mean});
    context.record.statistic_gradients.push_back({mean, sums[0]});
    context.record.statistic_gradients.push_back({variance, sums[1]});
    return outputs[0];
  }

 private:
  NormOptions options_;
  double momentum_;
};

}  // namespace

std::unique_ptr<Layer> make_batch_norm(config::MapReader& options) {
  const NormOptions norm = read_norm(options);
  return std::make_unique<BatchNorm>(norm, options.number("momentum", {.min = 0, .max = 1}, 0.1));
}

}  // namespace dlt::nn
