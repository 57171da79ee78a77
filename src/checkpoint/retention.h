// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace dlt::checkpoint {

/// Which checkpoints of a run stay.
struct RetentionRule {
  int keep = 3;                           // the newest, at least 1
  std::int64_t keep_every = 0;            // steps whose multiples stay for good; 0: none
  std::optional<std::int64_t> best = {};  // this step stays
};

struct Candidate {
  std::int64_t step = 0;
  bool valid = true;
};

/// The steps that go once the checkpoint of `committed` has been verified. It and every newer valid
/// one stay; of the older ones as many as `keep` leaves room for, valid ones first and then the
/// newest, beside those that the rule names. Pure.
[[nodiscard]] std::vector<std::int64_t> steps_to_remove(const std::vector<Candidate>& there,
                                                        std::int64_t committed,
                                                        const RetentionRule& rule);

/// What the next saves will need.
struct ForecastInput {
  std::vector<std::int64_t> there;  // steps of the checkpoints, ascending, the last one committed
  std::int64_t every_steps = 1;     // between the saves to come
  std::int64_t checkpoint_bytes = 0;
  std::uint64_t free_bytes = 0;
  int horizon = 10;  // saves to look ahead
};
/// How many of the next saves fit, one beside the others until it is verified; horizon if all do.
/// Pure.
[[nodiscard]] int saves_that_fit(const ForecastInput& input, const RetentionRule& rule);

}  // namespace dlt::checkpoint
