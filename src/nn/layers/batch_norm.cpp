// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "nn/layers/norm_params.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// Normalises each channel (the last axis): in training by the moments of the leaf's samples (with
/// sync: of all samples of the step), which also move the running statistics; in inference by
/// these. Of sequences with a mask the positions that are not padding count; padding gives 0.
/// source  Ioffe & Szegedy 2015, arXiv:1502.03167
class BatchNorm final : public Layer {
 public:
  BatchNorm(NormOptions options, double momentum, bool sync)
      : options_(options), momentum_(momentum), sync_(sync) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    autodiff::Graph& graph = context.graph;
    const tensor::Shape shape = graph.shape(x);
    Values v{.x = x, .weight = context.weight};
    v.gamma = norm_gamma(context, options_, shape.last());
    v.beta = norm_beta(context, options_, shape.last());
    RunningStatistics statistics{.mean = context.name + ".running_mean",
                                 .variance = context.name + ".running_var",
                                 .momentum = momentum_,
                                 .elements_per_sample = shape.rows() / shape[0],
                                 .synchronised = sync_};
    v.mean = statistic(context, "running_mean", shape.last(), InitKind::zeros);
    v.variance = statistic(context, "running_var", shape.last(), InitKind::ones);
    const bool masked = has_padding(context, shape);
    if (masked) {
      statistics.num_positions = context.name + ".num_positions";
      v.positions = statistic(context, "num_positions", 1, InitKind::zeros);
    }
    context.record.running_statistics.push_back(std::move(statistics));
    const tensor::Attrs attrs{{"eps", options_.eps}};
    if (context.mode == Mode::inference) {
      return graph.add_one("batch_norm_inference", {x, v.gamma, v.beta, v.mean, v.variance}, attrs);
    }
    if (masked) take_positions(context, v);
    const autodiff::ValueId y =
        sync_ ? build_synchronised(context, v, attrs) : build_by_leaf(context, v, attrs);
    return masked ? reshaped(graph, y, shape) : y;
  }

 private:
  struct Values {
    autodiff::ValueId x, gamma, beta, mean, variance;
    autodiff::ValueId positions = {};  // the parameter num_positions; invalid: samples count whole
    autodiff::ValueId weight = {};     // of each sample, or of each position
  };

  static autodiff::ValueId statistic(BuildContext& context, const char* name, std::int64_t size,
                                     InitKind kind) {
    return context.param(name, {size}, {.kind = kind}, ParamKind::statistic);
  }
  static autodiff::ValueId reshaped(autodiff::Graph& graph, autodiff::ValueId x,
                                    const tensor::Shape& shape) {
    const std::span<const std::int64_t> dims = shape.dims();
    return graph.add_one("reshape", {x},
                         {{"shape", std::vector<std::int64_t>(dims.begin(), dims.end())}});
  }
  /// Whether x is a sequence [B, T, C] of which some positions are padding.
  static bool has_padding(const BuildContext& context, const tensor::Shape& shape) {
    return context.mask.valid() && shape.rank() == 3 &&
           context.graph.shape(context.mask)[1] == shape[1];
  }

  /// Positions take the part of samples: x [B T, C], with the sample's weight or, in padding, 0.
  static void take_positions(BuildContext& context, Values& v) {
    autodiff::Graph& graph = context.graph;
    const tensor::Shape shape = graph.shape(v.x);
    const std::int64_t batch = shape[0], length = shape[1];
    const autodiff::ValueId ones = graph.add_one(
        "fill", {}, {{"shape", std::vector<std::int64_t>{1, length}}, {"value", 1.0}});
    const autodiff::ValueId spread =
        graph.add_one("matmul", {reshaped(graph, context.weight, {batch, 1}), ones});
    v.weight = reshaped(graph, graph.add_one("mul", {spread, context.mask}), {batch * length});
    v.x = reshaped(graph, v.x, {batch * length, shape[2]});
  }

  /// The moments of the leaf's samples or positions.
  [[nodiscard]] static autodiff::ValueId build_by_leaf(BuildContext& context, const Values& v,
                                                       const tensor::Attrs& attrs) {
    autodiff::Graph& graph = context.graph;
    const auto outputs = graph.add("batch_norm", {v.x, v.gamma, v.beta, v.weight}, attrs);
    const auto sums =
        graph.add("batch_norm_statistics", {outputs[1], outputs[3], v.weight, v.mean});
    context.record.statistic_gradients.push_back({v.mean, sums[0]});
    context.record.statistic_gradients.push_back({v.variance, sums[1]});
    if (!v.positions.valid()) return outputs[0];
    const std::int64_t count = graph.shape(v.weight).numel();
    context.record.statistic_gradients.push_back(
        {v.positions, graph.add_one("sum_rows", {reshaped(graph, v.weight, {1, count})})});
    return outputs[0];
  }

  /// The moments of all leaves of the step, their sums centred on the running mean.
  [[nodiscard]] static autodiff::ValueId build_synchronised(BuildContext& context, const Values& v,
                                                            const tensor::Attrs& attrs) {
    autodiff::Graph& graph = context.graph;
    const tensor::Shape shape = graph.shape(v.x);
    const std::int64_t channels = shape.last();
    const autodiff::ValueId part = graph.add_one("batch_moments", {v.x, v.weight, v.mean});
    const auto add_statistic = [&](autodiff::ValueId param, std::int64_t begin, std::int64_t size) {
      const autodiff::ValueId sums =
          graph.add_one("slice", {part}, {{"begin", begin}, {"size", size}});
      const double per_sample = static_cast<double>(shape.rows() / shape[0]);
      context.record.statistic_gradients.push_back(
          {param, graph.add_one("scale", {sums}, {{"factor", 1.0 / per_sample}})});
    };
    add_statistic(v.mean, 0, channels);
    add_statistic(v.variance, channels, channels);
    if (v.positions.valid()) add_statistic(v.positions, 2 * channels, 1);
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
