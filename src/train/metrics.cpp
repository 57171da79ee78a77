// SPDX-License-Identifier: Apache-2.0
#include "train/metrics.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/text.h"
#include "train/metrics/registry.h"

namespace dlt::train {

std::int64_t argmax(const float* row, std::int64_t width) {
  // Sixteen maxima side by side, which compilers turn into vector code.
  constexpr std::int64_t kLanes = 16;
  float best = row[0];
  std::int64_t j = 0;
  if (width >= kLanes) {
    std::array<float, kLanes> lanes{};
    std::copy_n(row, kLanes, lanes.begin());
    for (j = kLanes; j + kLanes <= width; j += kLanes) {
      for (std::int64_t l = 0; l < kLanes; ++l) {
        float& lane = lanes[static_cast<std::size_t>(l)];
        lane = row[j + l] > lane ? row[j + l] : lane;
      }
    }
    best = *std::max_element(lanes.begin(), lanes.end());
  }
  for (; j < width; ++j) best = row[j] > best ? row[j] : best;
  const float* found = std::find(row, row + width, best);
  return found == row + width ? 0 : found - row;  // NaN is equal to nothing
}

namespace {

/// What a metric judges.
enum class Use : std::uint8_t {
  binary,      // two classes, or decisions on numbers
  classes,     // labels
  decisions,   // labels, or numbers that stand for yes or no
  likelihood,  // cross entropy
  spelling,    // ctc
  values,      // numbers
};

bool fits(Use use, const MetricContext& context) {
  const bool spelling = context.blank.has_value();
  const bool classes = context.labels && !spelling;
  switch (use) {
    case Use::binary:
      return !spelling && (!context.labels || context.width == 2);
    case Use::classes:
      return classes;
    case Use::decisions:
      return !spelling;
    case Use::likelihood:
      return classes && context.likelihood;
    case Use::spelling:
      return spelling;
    case Use::values:
      return !context.labels;
  }
  return false;
}

struct MetricDef {
  const char* name;
  Use use;
  std::unique_ptr<Metric> (*make)(config::MapReader& options, const MetricContext& context);
};

const std::vector<MetricDef>& metric_defs() {
  static const std::vector<MetricDef> defs{
#define DLT_METRIC(name, use) {#name, Use::use, make_##name},
#include "train/metrics.def"
#undef DLT_METRIC
  };
  return defs;
}

std::string why_not(Use use) {
  switch (use) {
    case Use::binary:
      return "a metric of two classes";
    case Use::classes:
    case Use::decisions:
      return "a metric of class decisions";
    case Use::likelihood:
      return "a metric of cross_entropy without label_smoothing and class_weights";
    case Use::spelling:
      return "a metric of ctc";
    case Use::values:
      return "a metric of values";
  }
  return "";
}

void refuse_metric(const MetricDef& def, const config::Mark& mark, const std::string& path,
                   const MetricContext& context, config::Diagnostics& diagnostics) {
  std::vector<std::string> legal;
  for (const MetricDef& other : metric_defs()) {
    if (fits(other.use, context)) legal.emplace_back(other.name);
  }
  const std::string targets = !context.labels ? "values"
                              : context.blank ? "spelled labels"
                                              : cat("labels of ", context.width, " classes");
  diagnostics.error(
      mark, path,
      cat("expected a metric that goes with the loss, got '", def.name, "', ", why_not(def.use)),
      cat("with ", context.loss.empty() ? "this loss" : context.loss, ", targets are ", targets,
          "; legal: ", join(legal)));
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
    if (!fits(def.use, context)) {
      refuse_metric(def, mark, path, context, diagnostics);
      return nullptr;
    }
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
