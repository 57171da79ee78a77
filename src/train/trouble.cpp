// SPDX-License-Identifier: Apache-2.0
#include "train/trouble.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/text.h"
#include "data/convert.h"

namespace dlt::train {
namespace {

constexpr std::size_t kMost_rows = 16;

/// What each rank knows of the worst of its leaves and of its gradients.
struct Finding {
  double loss = 0;  // mean over the leaf
  std::int64_t leaf = -1;
  std::int64_t bad_loss = 0;
  std::int64_t entry = std::numeric_limits<std::int64_t>::max();  // of the flat layout
};

Finding look(const TrainerParts& parts, Trainer& trainer) {
  Finding out;
  const ddp::LeafRange leaves = trainer.rank_leaves();
  for (int leaf = leaves.begin; leaf < leaves.end && out.bad_loss == 0; ++leaf) {
    const std::span<const double> sums = trainer.leaf_sums(leaf);
    const bool bad = !std::isfinite(sums[0]);
    const double loss = mean_loss(sums);
    if (!bad && out.leaf >= 0 && !(loss > out.loss)) continue;
    out.loss = loss;
    out.leaf = leaf;
    out.bad_loss = bad ? 1 : 0;
  }
  const auto& entries = parts.program.layout().entries;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const float* values = trainer.reduced_gradients() + entries[i].offset;
    if (data::find_non_finite(values, entries[i].numel) < 0) continue;
    out.entry = static_cast<std::int64_t>(i);
    break;
  }
  return out;
}

}  // namespace

std::vector<std::int64_t> leaf_rows(const data::Sampler& sampler, std::int64_t step, int leaf) {
  std::vector<std::int64_t> rows(static_cast<std::size_t>(sampler.leaf_capacity()));
  rows.resize(static_cast<std::size_t>(sampler.leaf_rows(step, leaf, rows)));
  return rows;
}

std::string rows_text(const std::vector<std::int64_t>& rows) {
  std::vector<std::string> words;
  for (std::size_t i = 0; i < std::min(rows.size(), kMost_rows); ++i) words.push_back(cat(rows[i]));
  return cat(rows.size() == 1 ? "row " : "rows ", join(words),
             rows.size() > kMost_rows ? cat(" and ", rows.size() - kMost_rows, " more") : "");
}

std::string TroubleReport::what() const {
  switch (trouble) {
    case Trouble::spike:
      return cat("the loss ", loss, " is a spike (z-score ", zscore, ")");
    case Trouble::listed:
      return "it is listed as one to skip";
    case Trouble::nonfinite:
    case Trouble::none:
      break;
  }
  return std::isfinite(loss) ? "the gradient is not finite" : cat("the loss is ", loss);
}

std::string TroubleReport::where() const {
  if (!bad_before.empty()) {
    return cat("parameter '", bad_before, "' was not finite before, by an earlier step's gradient");
  }
  std::vector<std::string> out;
  if (leaf >= 0) out.push_back(cat("leaf ", leaf, " (rank ", rank, ", ", rows_text(rows), ")"));
  if (number) out.push_back(number->text());
  if (!parameter.empty()) {
    out.push_back(cat("first gradient that is not finite: '", parameter, "'"));
  }
  return join(out, "; ");
}

TroubleReport describe_trouble(const TrainerParts& parts, Trainer& trainer,
                               const StepReport& report) {
  TroubleReport out{.step = report.step + 1,
                    .trouble = report.trouble,
                    .loss = mean_loss(report.sums),
                    .zscore = report.zscore};
  if (report.trouble == Trouble::listed) return out;
  const Finding mine = look(parts, trainer);
  std::vector<Finding> all(static_cast<std::size_t>(parts.comm.world_size()));
  parts.comm.allgather(&mine, all.data(), sizeof mine);
  const Finding* worst = nullptr;
  auto entry = std::numeric_limits<std::int64_t>::max();
  for (const Finding& one : all) {
    entry = std::min(entry, one.entry);
    if (one.leaf < 0 || (worst != nullptr && worst->bad_loss != 0)) continue;
    if (worst == nullptr || one.bad_loss != 0 || one.loss > worst->loss) worst = &one;
  }
  const auto& entries = parts.program.layout().entries;
  if (entry < static_cast<std::int64_t>(entries.size())) {
    out.parameter = entries[static_cast<std::size_t>(entry)].name;
  }
  if (worst == nullptr || (worst->bad_loss == 0 && report.trouble != Trouble::spike)) return out;
  out.leaf = static_cast<int>(worst->leaf);
  out.rank = static_cast<int>(worst - all.data());
  out.rows = leaf_rows(trainer.sampler(), report.step, out.leaf);
  return out;
}

void find_bad_number(const TrainerParts& parts, const data::Dataset& dataset, ModelState& state,
                     TrainerRange range, TroubleReport& report) {
  NumberWatch watch(range.num_leaves);
  watch.begin_step(true);
  TrainerParts watched = parts;
  watched.watch = &watch;
  range.first_step = report.step - 1;
  range.end_step = report.step;
  Trainer trainer(watched, dataset, state, range);
  (void)trainer.step({});
  // Numbers and texts of the lowest leaf, hence rank, that has a bad one.
  struct Found {
    std::int64_t leaf = std::numeric_limits<std::int64_t>::max();
    std::int64_t element = 0, backward = 0;
    double value = 0;
    tensor::Shape shape;
  } mine;
  const std::optional<BadNumber> bad = watch.first_bad();
  if (bad) {
    mine = {bad->leaf, bad->element, bad->backward ? 1 : 0, bad->value, bad->shape};
  }
  std::vector<Found> all(static_cast<std::size_t>(parts.comm.world_size()));
  parts.comm.allgather(&mine, all.data(), sizeof mine);
  const std::vector<std::string> layers =
      comm::allgather_text(parts.comm, bad ? bad->layer : std::string());
  const std::vector<std::string> ops =
      comm::allgather_text(parts.comm, bad ? bad->op : std::string());
  const auto first = std::min_element(
      all.begin(), all.end(), [](const Found& a, const Found& b) { return a.leaf < b.leaf; });
  if (first->leaf == std::numeric_limits<std::int64_t>::max()) return;
  const auto rank = static_cast<std::size_t>(first - all.begin());
  report.number = BadNumber{.leaf = static_cast<int>(first->leaf),
                            .layer = layers[rank],
                            .op = ops[rank],
                            .backward = first->backward != 0,
                            .element = first->element,
                            .shape = first->shape,
                            .value = first->value};
  report.leaf = report.number->leaf;
  report.rank = static_cast<int>(rank);
  report.rows = leaf_rows(trainer.sampler(), report.step - 1, report.leaf);
}

}  // namespace dlt::train
