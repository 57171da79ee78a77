// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/generation.h"

namespace dlt::launcher {

/// Who started this process.
enum class Starter : std::uint8_t { none, open_mpi, pmix, pmi, slurm };

/// What dlrun tells the ranks that it starts, in variables named DLRUN_...
struct Supervision {
  std::string control;          // DLRUN_CONTROL, HOST:PORT of the control channel
  std::string token;            // DLRUN_TOKEN, 64 hex digits that the run's ranks and dlrun share
  std::int64_t generation = 1;  // DLRUN_GENERATION: starts of this job, this one included
  std::vector<std::int64_t> skip_steps;  // DLRUN_SKIP_STEPS, "12,845": steps done before those that
                                         // must make no update (fault.poison: skip)
  RunSoFar so_far;         // DLRUN_RESTARTS, _STEPS_LOST, _FURTHEST_STEP, _ELAPSED_MS, _STEPPING_MS
  std::string memory_dir;  // DLRUN_MEMORY: for what outlives a process, on each host; may not be
                           // there yet
};

/// This rank's place in the job, as far as the environment tells it: known before MPI starts, so
/// that of a mistake that all ranks make alike only one speaks.
struct RankEnv {
  Starter starter = Starter::none;
  int rank = 0;
  int world_size = 1;  // 0: the starter does not tell it, MPI will
  int local_rank = 0;
  int local_size = 1;
  std::string host;
  std::optional<Supervision> supervision;
  std::string kill_plan;  // DLTRAIN_KILL, for the tests' build with kill points (base/kill_point.h)
  [[nodiscard]] bool root() const { return rank == 0; }
};

/// A variable's value, or null if it is not set.
using Lookup = std::function<const char*(const char* name)>;

/// Open MPI's own variables come first, then Slurm's (of a job step; a batch script alone is no
/// rank), then those of PMI and PMIx. Under no starter: rank 0 of 1.
/// errors  Error(Exit::unavailable) naming a variable that is not a number or contradicts another;
///         Error(Exit::denied) for a token that is none
[[nodiscard]] RankEnv read_rank_env(const Lookup& lookup);
/// From this process's environment and host name.
[[nodiscard]] RankEnv read_rank_env();

/// Looks up variables of this process's environment.
[[nodiscard]] Lookup process_env();
/// This machine's name.
[[nodiscard]] std::string own_host();

/// "Open MPI", "Slurm", ...
[[nodiscard]] const char* name(Starter starter);

}  // namespace dlt::launcher
