// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ddp/bucket_plan.h"
#include "ddp/bucket_reduction.h"
#include "ddp/reduction_plan.h"

namespace dlt::ddp {

/// What messages travel over. Every host has one link of its own, the same speed both ways.
struct Fabric {
  double bytes_per_s = 0;
  double latency_s = 0;           // of a message
  double message_s = 0;           // that each further message of a round takes its rank
  double memory_bytes_per_s = 0;  // of a host, for ranks that read each other's buffers
};

/// A step of one rank, as measured without communication.
struct StepProfile {
  double leaf_s = 0;                   // forward and backward of a leaf on one thread of the rank
  std::vector<ReadyPoint> ready = {};  // within the leaf
  double update_s = 0;                 // of all parameters
  double other_s = 0;                  // of a step that is none of these
};

/// A job to be predicted.
struct ScaledJob {
  int num_ranks = 1;
  int ranks_per_host = 1;
  int num_leaves = 1;
  int threads = 1;  // of a rank
  Reduction reduction = Reduction::exact;
  bool overlap = true;
  bool updates_early = true;  // parameters are updated as buckets land
  std::vector<Bucket> buckets = {};
  std::int64_t message_bytes = 0;  // of the step's message, from each rank
};

struct Prediction {
  double compute_s = 0;
  double exposed_s = 0;  // the step does nothing but wait for communication
  double step_s = 0;
  double wire_s = 0;  // the link is busy: bytes ÷ bandwidth
};

/// Plays a step through as the reducer runs it: buckets one behind the other in their order, each
/// once it is final in the rank; then the step's message. Of an uneven division the slowest rank
/// counts.
[[nodiscard]] Prediction predict_step(const StepProfile& profile, const Fabric& fabric,
                                      const ScaledJob& job);

/// What it takes such a job to reduce buckets of the sizes that it will have, for planning them.
[[nodiscard]] Link supposed_link(const Fabric& fabric, const ScaledJob& job);

/// Hosts of ranks_per_host ranks each, numbered through; the last one may have fewer.
[[nodiscard]] comm::Hosts blocks_of_ranks(int num_ranks, int ranks_per_host);

}  // namespace dlt::ddp
