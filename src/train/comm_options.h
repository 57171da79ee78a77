// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "autodiff/executor.h"
#include "config/node.h"
#include "ddp/reducer.h"
#include "train/comm_plan.h"
#include "train/run_config.h"

namespace dlt::train {

/// Reads `comm.compression`: a name, or {name: int8, block: 256}, {name: powersgd, rank: 4},
/// {name: topk, share: 0.01}. Mistakes are recorded.
[[nodiscard]] ddp::CompressionOptions read_compression(config::MapReader& comm);

/// Records what of `comm` does not go together with the rest, which was read before.
void check_comm(config::MapReader& comm, const RunConfig& config);

/// What of the reduced gradients is sums of statistics, which every rank needs, also with shards,
/// since they are moved two at a time, and nothing may round. Ascending.
[[nodiscard]] std::vector<ddp::Bucket> statistic_ranges(const RunConfig& config,
                                                        const tensor::FlatLayout& layout);

/// A rank's part of the leaves, and how many ranks there are.
struct RankWork {
  int num_leaves = 1;   // of all ranks
  int num_workers = 1;  // of the rank
  int world_size = 1;
};

/// How the gradients of such a run move: all that config and plan say of it.
[[nodiscard]] ddp::ReducerOptions reducer_options_of(const RunConfig& config,
                                                     const autodiff::Program& program,
                                                     const CommPlan& plan, const RankWork& work);

}  // namespace dlt::train
