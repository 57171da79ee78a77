// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "train/step_watch.h"
#include "train/trainer.h"

namespace dlt::train {

/// What was wrong with a step, and where. The same on all ranks.
struct TroubleReport {
  std::int64_t step = 0;  // steps done, the bad one included
  Trouble trouble = Trouble::none;
  double loss = 0, zscore = 0;
  std::string parameter;  // first in the flat order (that of the backward pass) whose gradient is
                          // not finite, "" if all are
  int leaf = -1;          // with a loss that is not finite, or a spike's with the largest loss
  int rank = -1;          // that ran it
  std::vector<std::int64_t> rows;  // of the training file, that the leaf holds
  std::string bad_before;  // first parameter that was not finite when the step began, if it was
                           // looked for: then rows and layer are not to blame
  std::optional<BadNumber> number;  // first that is not finite, if the leaves were run again

  /// "the loss is nan", "the gradient is not finite", "the loss 7.1 is a spike (z-score 8.2)"
  [[nodiscard]] std::string what() const;
  /// "leaf 3 (rank 1, rows 5, 17, 29); layer 'dense_1', op matmul, element [0, 3] of [8, 9] is
  /// inf", "" if it is not known.
  [[nodiscard]] std::string where() const;
};

/// Looks at the sums and gradients that the step left. Collective.
[[nodiscard]] TroubleReport describe_trouble(const TrainerParts& parts, Trainer& trainer,
                                             const StepReport& report);

/// Runs the leaves of a step again, looking at every number. The parameters must be those that the
/// step began with; they are of no use afterwards. Collective.
void find_bad_number(const TrainerParts& parts, const data::Dataset& dataset, ModelState& state,
                     TrainerRange range, TroubleReport& report);

/// Rows of a leaf in a step (steps done before it).
[[nodiscard]] std::vector<std::int64_t> leaf_rows(const data::Sampler& sampler, std::int64_t step,
                                                  int leaf);
/// "rows 5, 17, 29": at most 16 of them.
[[nodiscard]] std::string rows_text(const std::vector<std::int64_t>& rows);

}  // namespace dlt::train
