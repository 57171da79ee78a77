// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "launcher/rank_env.h"
#include "launcher/supervise/host_slots.h"

namespace dlt::supervise {

using Words = std::vector<std::string>;
/// Variables to set beside those that are there.
using EnvChanges = std::vector<std::pair<std::string, std::string>>;

/// What starts ranks. major: of its version, where it matters.
enum class StarterKind : std::uint8_t { open_mpi, hydra, srun };
struct StarterProgram {
  StarterKind kind = StarterKind::open_mpi;
  int major = 4;
  std::string path;
};

/// "Open MPI" as `dltrain info` or "mpirun (Open MPI) 4.1.4" as `mpirun --version` has it, and the
/// major version behind it. errors  Error(Exit::unavailable) if text names neither Open MPI nor
/// MPICH (or a relative of it); what says whose text it is
[[nodiscard]] StarterProgram recognise_mpi(const std::string& text, const std::string& what);

/// A start of ranks, all that its command line depends on.
struct StartPlan {
  StarterProgram starter;
  std::vector<HostSlots> hosts;  // ranks on each; the first ranks on the first host
  bool named_hosts = false;      // false: this machine alone, without a name
  int cores_per_rank = 0;        // to bind to; 0: no binding
  bool oversubscribed = false;   // more ranks than cores somewhere
  std::string rsh;               // how to reach hosts, where the user says so; ""; the default
  std::string scratch_dir;       // on every host: for all that MPI leaves in files
  Words program;                 // dltrain and its words
};

struct CommandLine {
  Words words;
  EnvChanges env;
};

/// How the starter is called. What MPI reads from the environment stays as the user set it: nothing
/// here overrides such a variable, and what has one of its own is not said on the command line.
/// exported: names of variables that ranks on other hosts need, too; never their values.
[[nodiscard]] CommandLine command_line(const StartPlan& plan, const launcher::Lookup& lookup,
                                       const std::vector<std::string>& exported);

/// Ranks' places for people, a line a host: "  node1  ranks 0-3, 2 cores each".
[[nodiscard]] std::string map_text(const StartPlan& plan);

/// Cores for each rank to be bound to, or 0 if the ranks shall not be bound: there are fewer cores
/// than a rank's threads ask for somewhere. threads 0: as many as there is room for.
struct HostCores {
  std::int32_t ranks = 1;
  int cores = 1;  // whole ones, not hardware threads
};
[[nodiscard]] int cores_to_bind(const std::vector<HostCores>& hosts, std::int64_t threads);

}  // namespace dlt::supervise
