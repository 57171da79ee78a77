// SPDX-License-Identifier: Apache-2.0
#include "train/leaf_runner.h"

#include <algorithm>

namespace dlt::train {

int SumLayout::size() const {
  int n = 2;
  if (metrics == nullptr) return n;
  for (const auto& metric : *metrics) n += metric->num_sums();
  return n;
}

std::vector<std::pair<std::string, double>> SumLayout::values(std::span<const double> sums) const {
  std::vector<std::pair<std::string, double>> out{{"loss", loss(sums)}};
  std::size_t at = 2;
  if (metrics == nullptr) return out;
  for (const auto& metric : *metrics) {
    out.emplace_back(metric->name(), metric->value(sums.data() + at));
    at += static_cast<std::size_t>(metric->num_sums());
  }
  return out;
}

LeafRunner::LeafRunner(const autodiff::Program& program, tensor::Backend& backend,
                       const float* params, SumLayout sums, std::uint64_t seed)
    : executor_(program, backend, params),
      layout_(sums),
      seed_(seed),
      has_loss_(program.graph().outputs().contains("loss")),
      sums_(static_cast<std::size_t>(sums.size())) {}

std::span<const double> LeafRunner::run(const data::LeafBatch& batch, std::uint64_t epoch,
                                        float* gradients, autodiff::GradientSink* sink) {
  executor_.bind_input("input", batch.inputs);
  if (has_loss_) executor_.bind_input("target", batch.targets);
  if (gradients != nullptr) {
    executor_.bind_input("weight", batch.weights);
    executor_.bind_gradients(gradients);
  }
  executor_.run({.seed = seed_, .epoch = epoch, .sample_ids = batch.sample_ids, .scalars = {}},
                sink);
  if (has_loss_) add_up(batch);
  return sums_;
}

void LeafRunner::add_up(const data::LeafBatch& batch) {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  const auto* losses = executor_.output("loss").as<float>();
  for (std::int64_t i = 0; i < batch.count; ++i) {
    sums_[0] += static_cast<double>(losses[i]) * static_cast<double>(batch.weights[i]);
    sums_[1] += static_cast<double>(batch.weights[i]);
  }
  if (layout_.metrics == nullptr) return;
  const tensor::View predictions = prediction();
  const MetricBatch view{.predictions = predictions.as<float>(),
                         .targets = batch.targets,
                         .labels = layout_.labels,
                         .count = batch.count,
                         .width = predictions.numel() / predictions.type.shape[0]};
  double* at = sums_.data() + 2;
  for (const auto& metric : *layout_.metrics) {
    metric->accumulate(view, at);
    at += metric->num_sums();
  }
}

}  // namespace dlt::train
