// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "comm/communicator.h"
#include "train/session.h"

namespace dlt::train {

struct BenchOptions {
  std::string config_path;
  std::vector<std::string> overrides;
  std::int64_t steps = 100;
  std::int64_t warmup = 10;
};

/// Some batches of random data of the config's shapes, in memory.
[[nodiscard]] std::unique_ptr<data::Dataset> random_data(const RunConfig& config);

/// Trains on in-memory random data of the config's shapes; no file is read or written. JSON with
/// samples_per_s, step_ms {median, p95}, step_cpu_ms (median, processor
/// time of all threads), share {compute, comm, data, update}, gflops_per_s (of this
/// rank's planned floating-point operations), device, between_gpus (how, or why by way of the
/// hosts), peak_rss_mb. Steps are timed on rank 0. Collective.
[[nodiscard]] std::string run_bench(const Surroundings& around, const RunConfig& config,
                                    const BenchOptions& options, comm::Communicator& comm);

}  // namespace dlt::train
