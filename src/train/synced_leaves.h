// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <vector>

#include "data/sampler.h"
#include "ddp/leaf_tree.h"
#include "ddp/reducer.h"
#include "train/leaf_runner.h"
#include "train/trainer.h"

namespace dlt::train {

/// Runs the leaves of a rank side by side, for programs whose leaves need sums over all leaves on
/// their way (batch_norm with sync): every leaf runs up to the next such place, the parts of all
/// leaves of all ranks are added along the leaf tree, and all go on. Each leaf therefore has memory
/// of its own, and gradients move once the last leaf is done. Allocates nothing in a step.
class SyncedLeaves {
 public:
  struct Options {
    const TrainerParts& parts;
    const data::Dataset& dataset;
    const data::Sampler& sampler;
    const float* params = nullptr;
    CarriedState* carried = nullptr;
    SumLayout sums;
    TrainerRange range;
    ddp::LeafDivision division;
    std::vector<std::int64_t> skip_steps;  // as LoaderOptions'
  };
  SyncedLeaves(const Options& options, ddp::Reducer& reducer);
  ~SyncedLeaves();

  /// One step's leaves, forward and backward; before: the states they begin with, null for zeros.
  /// Collective: a failed rank goes through all exchanges.
  void run(std::int64_t step, std::uint64_t epoch, const CarriedState* before);
  /// The first failure of the last run.
  [[nodiscard]] std::exception_ptr failure() const;
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Leaf;
  struct Worker;
  void each_worker(void (SyncedLeaves::*part)(Worker&));
  void load(Worker& worker);
  void run_segment(Worker& worker);
  void hand_over(Worker& worker);
  void exchange();

  TrainerParts parts_;
  ddp::Reducer* reducer_;
  ddp::LeafDivision division_;
  int num_leaves_ = 1, num_segments_ = 1;
  std::vector<std::unique_ptr<Worker>> workers_;
  ddp::MergePlan plan_;            // of all leaves
  std::vector<float> mine_, all_;  // parts: [leaf of the rank][n], [leaf of the job][n] padded
  std::vector<float*> by_leaf_;    // into all_
  const data::Sampler* sampler_;
  CarriedState* carried_;
  const CarriedState* before_ = nullptr;
  std::int64_t step_ = 0;
  std::uint64_t epoch_ = 0;
  int segment_ = 0;
};

}  // namespace dlt::train
