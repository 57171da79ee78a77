// SPDX-License-Identifier: Apache-2.0
#include "train/metrics.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"

namespace dlt::train {
namespace {

double ratio(double sum, double weight) {
  return weight > 0 ? sum / weight : std::numeric_limits<double>::quiet_NaN();
}

std::int64_t argmax(const float* row, std::int64_t width) {
  return std::max_element(row, row + width) - row;
}

/// Sums: hits, decisions.
class Accuracy final : public Metric {
 public:
  explicit Accuracy(const MetricContext& context) : context_(context) {}
  [[nodiscard]] std::string name() const override { return "accuracy"; }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    const std::int64_t width = batch.width;
    std::int64_t hits = 0;
    if (batch.labels) {
      const auto* labels = static_cast<const std::int32_t*>(batch.targets);
      for (std::int64_t i = 0; i < batch.count; ++i) {
        hits += argmax(batch.predictions + i * width, width) == labels[i] ? 1 : 0;
      }
      sums[0] += static_cast<double>(hits);
      sums[1] += static_cast<double>(batch.count);
      return;
    }
    const auto* targets = static_cast<const float*>(batch.targets);
    for (std::int64_t i = 0; i < batch.count * width; ++i) {
      hits +=
          (static_cast<double>(batch.predictions[i]) > context_.threshold) == (targets[i] > 0.5F)
              ? 1
              : 0;
    }
    sums[0] += static_cast<double>(hits);
    sums[1] += static_cast<double>(batch.count * width);
  }

 private:
  MetricContext context_;
};

/// Sums: samples whose label is among the k largest predictions, samples. Ties go to the lower
/// class.
class TopK final : public Metric {
 public:
  explicit TopK(std::int64_t k) : k_(k) {}
  [[nodiscard]] std::string name() const override { return cat("top_", k_); }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    const auto* labels = static_cast<const std::int32_t*>(batch.targets);
    for (std::int64_t i = 0; i < batch.count; ++i) {
      const float* row = batch.predictions + i * batch.width;
      const std::int64_t label = labels[i];
      std::int64_t better = 0;
      for (std::int64_t c = 0; c < batch.width; ++c) {
        better += row[c] > row[label] || (row[c] == row[label] && c < label) ? 1 : 0;
      }
      sums[0] += better < k_ ? 1.0 : 0.0;
    }
    sums[1] += static_cast<double>(batch.count);
  }

 private:
  std::int64_t k_;
};

/// Sums: errors (absolute or squared), numbers.
class MeanError final : public Metric {
 public:
  explicit MeanError(bool squared) : squared_(squared) {}
  [[nodiscard]] std::string name() const override { return squared_ ? "mse" : "mae"; }
  [[nodiscard]] int num_sums() const override { return 2; }
  [[nodiscard]] double value(const double* sums) const override { return ratio(sums[0], sums[1]); }
  void accumulate(const MetricBatch& batch, double* sums) const override {
    const auto* targets = static_cast<const float*>(batch.targets);
    const std::int64_t n = batch.count * batch.width;
    for (std::int64_t i = 0; i < n; ++i) {
      const double e = static_cast<double>(batch.predictions[i]) - static_cast<double>(targets[i]);
      sums[0] += squared_ ? e * e : std::abs(e);
    }
    sums[1] += static_cast<double>(n);
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
    const auto* targets = static_cast<const float*>(batch.targets);
    const std::int64_t n = batch.count * batch.width;
    for (std::int64_t i = 0; i < n; ++i) {
      const double y = static_cast<double>(targets[i]);
      const double e = static_cast<double>(batch.predictions[i]) - y;
      sums[0] += e * e;
      sums[1] += y;
      sums[2] += y * y;
    }
    sums[3] += static_cast<double>(n);
  }
};

std::unique_ptr<Metric> make_accuracy(config::MapReader&, const MetricContext& context) {
  return std::make_unique<Accuracy>(context);
}

std::unique_ptr<Metric> make_values_only(config::MapReader& reader, const MetricContext& context,
                                         const std::string& name, std::unique_ptr<Metric> metric) {
  if (context.labels) {
    reader.diagnostics().error(reader.mark(""), reader.path(),
                               cat("expected a metric of class labels, got '", name, "'"),
                               "with this loss, targets are class labels; legal: accuracy, top_k");
    return nullptr;
  }
  return metric;
}

std::unique_ptr<Metric> make_mae(config::MapReader& reader, const MetricContext& context) {
  return make_values_only(reader, context, "mae", std::make_unique<MeanError>(false));
}
std::unique_ptr<Metric> make_mse(config::MapReader& reader, const MetricContext& context) {
  return make_values_only(reader, context, "mse", std::make_unique<MeanError>(true));
}
std::unique_ptr<Metric> make_r2(config::MapReader& reader, const MetricContext& context) {
  return make_values_only(reader, context, "r2", std::make_unique<R2>());
}

std::unique_ptr<Metric> make_top_k(config::MapReader& reader, const MetricContext& context) {
  const std::int64_t k =
      reader.integer("k", {.min = 1, .max = std::max<std::int64_t>(context.width, 1)},
                     std::min<std::int64_t>(5, context.width));
  if (!context.labels) {
    reader.diagnostics().error(reader.mark(""), reader.path(),
                               "expected a loss of class labels for 'top_k'",
                               "top_k goes with cross_entropy");
    return nullptr;
  }
  return std::make_unique<TopK>(k);
}

struct MetricDef {
  const char* name;
  std::unique_ptr<Metric> (*make)(config::MapReader& options, const MetricContext& context);
};

const std::vector<MetricDef>& metric_defs() {
  static const std::vector<MetricDef> defs{
#define DLT_METRIC(name) {#name, make_##name},
#include "train/metrics.def"
#undef DLT_METRIC
  };
  return defs;
}

std::unique_ptr<Metric> read_one(const config::Node& item, const std::string& path,
                                 const MetricContext& context, config::Diagnostics& diagnostics) {
  std::string name = item.scalar;
  const config::Node* options = nullptr;
  config::Mark mark = item.mark;
  if (item.kind == config::Kind::map && item.entries.size() == 1) {
    name = item.entries.front().key;
    mark = item.entries.front().key_mark;
    options = &item.entries.front().value;
  } else if (item.kind != config::Kind::scalar) {
    diagnostics.error(item.mark, path, "expected the name of a metric",
                      cat("legal: ", join(metric_names())));
    return nullptr;
  }
  for (const MetricDef& def : metric_defs()) {
    if (name != def.name) continue;
    config::MapReader reader(options, cat(path, ".", name), mark, diagnostics);
    auto metric = def.make(reader, context);
    reader.finish();
    return metric;
  }
  const std::string near = nearest(name, metric_names());
  diagnostics.error(mark, path, cat("expected the name of a metric, got '", printable(name), "'"),
                    cat(near.empty() ? "" : cat("did you mean '", near, "'?  "),
                        "legal: ", join(metric_names())));
  return nullptr;
}

}  // namespace

std::vector<std::string> metric_names() {
  std::vector<std::string> names;
  for (const MetricDef& def : metric_defs()) names.emplace_back(def.name);
  return names;
}

std::vector<std::unique_ptr<Metric>> read_metrics(const config::Node* node,
                                                  const MetricContext& context,
                                                  config::Diagnostics& diagnostics) {
  std::vector<std::unique_ptr<Metric>> metrics;
  if (node == nullptr || node->kind == config::Kind::null) return metrics;
  if (node->kind != config::Kind::sequence) {
    diagnostics.error(node->mark, "metrics", "expected a list of metrics, as [accuracy]",
                      cat("legal: ", join(metric_names())));
    return metrics;
  }
  for (std::size_t i = 0; i < node->items.size(); ++i) {
    const config::Node& item = node->items[i];
    // The loss is always reported; listing it is not a mistake.
    if (item.kind == config::Kind::scalar && item.scalar == "loss") continue;
    auto metric = read_one(item, cat("metrics.", i), context, diagnostics);
    if (metric == nullptr) continue;
    const auto same = [&](const auto& other) { return other->name() == metric->name(); };
    if (std::any_of(metrics.begin(), metrics.end(), same)) {
      diagnostics.error(item.mark, cat("metrics.", i),
                        cat("'", metric->name(), "' is listed twice"));
      continue;
    }
    metrics.push_back(std::move(metric));
  }
  return metrics;
}

}  // namespace dlt::train
