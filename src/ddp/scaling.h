// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ddp/bucket_plan.h"
#include "ddp/coding_time.h"
#include "ddp/cost.h"
#include "ddp/reducer.h"

namespace dlt::ddp {

/// What messages travel over. Every host has one link of its own, the same speed both ways.
struct Fabric {
  double bytes_per_s = 0;
  double latency_s = 0;           // of a message
  double message_s = 0;           // that each further message of a round takes its rank
  double memory_bytes_per_s = 0;  // of a host, for ranks that read each other's buffers
};

/// When a forward pass first reads elements [from, total) of the parameters.
struct NeedPoint {
  std::int64_t from = 0;
  double time_s = 0;
};

/// A step of one rank, as measured without communication.
struct StepProfile {
  double leaf_s = 0;                    // forward and backward of a leaf on one thread of the rank
  std::vector<ReadyPoint> ready = {};   // within the leaf
  std::vector<NeedPoint> needed = {};   // within the leaf; none: all from its begin
  double update_s = 0;                  // of all parameters
  double other_s = 0;                   // of a step that is none of these
  std::vector<CodingTime> coding = {};  // of each bucket, where gradients are compressed
};

/// The mean of all replicas that ranks take which update by themselves (Reduction::none).
struct ReplicaMean {
  std::int64_t every = 1;         // steps
  Cost cost = {};                 // of one, as a rank pays it
  std::int64_t memory_bytes = 0;  // that a rank reads and writes for one
};

/// A job to be predicted.
struct ScaledJob {
  int num_ranks = 1;
  int ranks_per_host = 1;
  ReducerOptions reducer = {};  // of every rank, with its threads as workers
  ReplicaMean mean = {};
  bool updates_early = true;       // parameters are updated as buckets land
  bool spare_cores = true;         // what communication threads encode delays no leaf
  std::int64_t message_bytes = 0;  // of the step's message, from each rank
};

/// Of one step; with a ReplicaMean of several, the mean over them.
struct Prediction {
  double compute_s = 0;
  double exposed_s = 0;  // communication makes the step longer by it
  double step_s = 0;
  double wire_s = 0;  // the link is busy: bytes ÷ bandwidth
};

/// Plays a step through as the reducer runs it: with shards the parameters of the last update, last
/// bucket first, beside the forward pass; buckets one behind the other in their order, each once it
/// is final in the rank; then the step's message. Of an uneven division the slowest rank counts.
[[nodiscard]] Prediction predict_step(const StepProfile& profile, const Fabric& fabric,
                                      const ScaledJob& job);

/// What it takes such a job to reduce buckets of the sizes that it will have, for planning them;
/// those of the job, and its shards, do not matter.
[[nodiscard]] Link supposed_link(const Fabric& fabric, const ScaledJob& job);

/// Hosts of ranks_per_host ranks each, numbered through; the last one may have fewer.
[[nodiscard]] comm::Hosts blocks_of_ranks(int num_ranks, int ranks_per_host);

}  // namespace dlt::ddp
