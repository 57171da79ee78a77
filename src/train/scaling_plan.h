// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "ddp/scaling.h"
#include "train/session.h"

namespace dlt::train {

/// weak: every rank keeps the config's batch and leaves, so that the batch grows with the ranks.
/// strong: the config's batch and leaves are shared by the ranks.
enum class Scaling : std::uint8_t { weak, strong };

struct PlanOptions {
  std::string config_path = {};
  std::vector<std::string> overrides = {};
  std::vector<int> ranks = {};
  int ranks_per_host = 1;
  double bandwidth_gbps = 0;  // of a host's link
  double latency_us = 0;
  double message_us = 1;
  std::optional<double> memory_gb_per_s = {};  // of a host; none: measured here
  std::optional<double> step_ms = {};          // of one rank; none: measured here
  std::optional<Scaling> scaling = {};         // none: strong where train.leaves is a number
};

struct ScalingRow {
  int ranks = 1;
  std::int64_t global_batch_size = 0;
  std::int64_t num_buckets = 0;
  ddp::Prediction time = {};
  double efficiency = 1;  // of one rank's samples a second, times the ranks
  double samples_per_s = 0;
};

/// What `dltrain plan` tells.
struct ScalingPlan {
  std::string name = {};
  Scaling scaling = Scaling::weak;
  int threads = 1, leaves_per_rank = 1;  // of one rank alone
  double coding_s = 0;                   // of two ranks: compressing and getting back
  int ranks_per_host = 1;
  std::int64_t leaf_samples = 1, gradient_bytes = 0;
  std::int64_t leaf_flops = 0, leaf_kernels = 0;
  std::int64_t update_bytes = 0;  // an update reads and writes, at least
  bool measured = false;
  double bandwidth_gbps = 0, latency_us = 0;
  ddp::StepProfile profile = {};
  std::vector<ScalingRow> rows = {};      // the first is one rank
  std::vector<int> too_many = {};         // ranks asked for that a fixed batch has no leaves for
  std::vector<std::string> remarks = {};  // what settings make of the columns
};

[[nodiscard]] ScalingPlan make_scaling_plan(const Surroundings& around, const PlanOptions& options);

[[nodiscard]] std::string scaling_table(const ScalingPlan& plan);
[[nodiscard]] std::string scaling_json(const ScalingPlan& plan);
/// A picture of two parts: where a step's time goes, and efficiency, over the ranks.
[[nodiscard]] std::string scaling_svg(const ScalingPlan& plan);

}  // namespace dlt::train
