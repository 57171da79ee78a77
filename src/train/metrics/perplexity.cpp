// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include "train/metrics/registry.h"

namespace dlt::train {
namespace {

/// exp of the mean cross entropy of a label. Sums: cross entropy, labels. A sample's loss is a mean
/// over its labels, so it counts as many times.
class Perplexity final : public Metric {
 public:
  explicit Perplexity(const MetricContext& context) : ignored_(context.ignored) {}
  [[nodiscard]] std::string name() const override { return "perplexity"; }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override {
    return std::exp(ratio(sums[0], sums[1]));
  }
  [[nodiscard]] bool reads_predictions() const override { return false; }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    for (std::int64_t b = 0; b < batch.count; ++b) {
      std::int64_t labels = 0;
      for (std::int64_t row = b * batch.positions; row < (b + 1) * batch.positions; ++row) {
        labels += batch.real(row) && batch.classes()[row] != ignored_ ? 1 : 0;
      }
      sums[0] += static_cast<double>(batch.losses[b]) * static_cast<double>(labels);
      sums[1] += static_cast<double>(labels);
    }
  }

 private:
  std::optional<std::int64_t> ignored_;
};

}  // namespace

std::unique_ptr<Metric> make_perplexity(config::MapReader&, const MetricContext& context) {
  return std::make_unique<Perplexity>(context);
}

}  // namespace dlt::train
