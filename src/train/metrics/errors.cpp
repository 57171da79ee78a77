// SPDX-License-Identifier: Apache-2.0
// mae, mse, r2: how far numbers are from their targets, over all outputs.
#include <cmath>

#include "train/metrics/registry.h"

namespace dlt::train {
namespace {

/// use(prediction, target) for each number at a real position; returns how many.
template <typename F>
double for_numbers(const MetricBatch& batch, F use) {
  std::int64_t count = 0;
  for (std::int64_t row = 0; row < batch.rows(); ++row) {
    if (!batch.real(row)) continue;
    for (std::int64_t i = row * batch.width; i < (row + 1) * batch.width; ++i) {
      use(static_cast<double>(batch.predictions[i]), static_cast<double>(batch.values()[i]));
    }
    count += batch.width;
  }
  return static_cast<double>(count);
}

/// Sums: errors (absolute or squared), numbers.
class MeanError final : public Metric {
 public:
  explicit MeanError(bool squared) : squared_(squared) {}
  [[nodiscard]] std::string name() const override { return squared_ ? "mse" : "mae"; }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    sums[1] += for_numbers(batch, [&](double p, double t) {
      sums[0] += squared_ ? (p - t) * (p - t) : std::abs(p - t);
    });
  }

 private:
  bool squared_;
};

/// Sums: squared residuals, targets, squared targets, numbers.
class R2 final : public Metric {
 public:
  [[nodiscard]] std::string name() const override { return "r2"; }
  [[nodiscard]] int num_sums() const override { return 4; }
  [[nodiscard]] double value(const double* sums) const override {
    const double total = sums[2] - sums[1] * sums[1] / sums[3];
    return sums[3] > 0 && total > 0 ? 1.0 - sums[0] / total
                                    : std::numeric_limits<double>::quiet_NaN();
  }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    sums[3] += for_numbers(batch, [&](double p, double t) {
      sums[0] += (p - t) * (p - t);
      sums[1] += t;
      sums[2] += t * t;
    });
  }
};

}  // namespace

std::unique_ptr<Metric> make_mae(config::MapReader&, const MetricContext&) {
  return std::make_unique<MeanError>(false);
}
std::unique_ptr<Metric> make_mse(config::MapReader&, const MetricContext&) {
  return std::make_unique<MeanError>(true);
}
std::unique_ptr<Metric> make_r2(config::MapReader&, const MetricContext&) {
  return std::make_unique<R2>();
}

}  // namespace dlt::train
