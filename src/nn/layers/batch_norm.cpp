// SPDX-License-Identifier: Apache-2.0
#include <string>

#include "nn/layers/norm_params.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Normalises each channel (the last axis): in training by the moments of the leaf's samples (with
/// sync: of all samples of the step), which also move the running statistics; in inference by
/// these. source  Ioffe & Szegedy 2015, arXiv:1502.03167
class BatchNorm final : public Layer {
 public:
  BatchNorm(NormOptions options, double momentum, bool sync)
      : options_(options), momentum_(momentum), sync_(sync) {}

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
                                                 .elements_per_sample = shape.rows() / shape[0],
                                                 .synchronised = sync_});
    const tensor::Attrs attrs{{"eps", options_.eps}};
    if (context.mode == Mode::inference) {
      return graph.add_one("batch_norm_inference", {x, gamma, beta, mean, variance}, attrs);
    }
    if (sync_) return build_synchronised(context, {x, gamma, beta, mean, variance}, attrs);
    const auto outputs = graph.add("batch_norm", {x, gamma, beta, context.weight}, attrs);
    const auto sums =
        graph.add("batch_norm_statistics", {outputs[1], outputs[3], context.weight, mean});
    context.record.statistic_gradients.push_back({mean, sums[0]});
    context.record.statistic_gradients.push_back({variance, sums[1]});
    return outputs[0];
  }

 private:
  struct Values {
    autodiff::ValueId x, gamma, beta, mean, variance;
  };
  /// The moments of all leaves of the step, their sums centred on the running mean.
  [[nodiscard]] static autodiff::ValueId build_synchronised(BuildContext& context, const Values& v,
                                                            const tensor::Attrs& attrs) {
    autodiff::Graph& graph = context.graph;
    const tensor::Shape shape = graph.shape(v.x);
    const std::int64_t channels = shape.last();
    const autodiff::ValueId part = graph.add_one("batch_moments", {v.x, context.weight, v.mean});
    const auto statistic = [&](autodiff::ValueId param, std::int64_t begin) {
      const autodiff::ValueId sums =
          graph.add_one("slice", {part}, {{"begin", begin}, {"size", channels}});
      const double per_sample = static_cast<double>(shape.rows() / shape[0]);
      context.record.statistic_gradients.push_back(
          {param, graph.add_one("scale", {sums}, {{"factor", 1.0 / per_sample}})});
    };
    statistic(v.mean, 0);
    statistic(v.variance, channels);
    const autodiff::ValueId whole = graph.add_one("sync_sum", {part});
    return graph.add_one("batch_norm_moments", {v.x, v.gamma, v.beta, whole, v.mean}, attrs);
  }

  NormOptions options_;
  double momentum_;
  bool sync_;
};

}  // namespace

std::unique_ptr<Layer> make_batch_norm(config::MapReader& options) {
  const NormOptions norm = read_norm(options);
  const double momentum = options.number("momentum", {.min = 0, .max = 1}, 0.1);
  return std::make_unique<BatchNorm>(norm, momentum, options.boolean("sync", false));
}

}  // namespace dlt::nn
