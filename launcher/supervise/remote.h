// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <vector>

#include "launcher/rank_env.h"
#include "launcher/supervise/starter.h"

namespace dlt::supervise {

/// How to run a shell script on a host.
struct Reach {
  std::string own_host;   // this machine's name
  Words rsh;              // the program in front of HOST and a command
  std::string slurm_job;  // "": not inside an allocation
};

/// The rsh that MPI is told to use (OMPI_MCA_plm_rsh_agent and its relatives), else ssh, which asks
/// no questions and waits 5 s at most for a host.
[[nodiscard]] Reach read_reach(const launcher::Lookup& lookup, const std::string& own_host);
/// Whether a name means this machine.
[[nodiscard]] bool is_own(const Reach& reach, const std::string& host);
/// The command that runs script (of a POSIX shell) on host.
[[nodiscard]] Words on_host(const Reach& reach, const std::string& host, const std::string& script);
/// A script that ends with kNoWayBack if the host cannot connect to dlrun's control channel
/// (HOST:PORT), which the ranks there are going to need; where there is no bash to try it with,
/// with 0.
inline constexpr int kNoWayBack = 68;
[[nodiscard]] std::string way_back_script(const std::string& address);
/// For a hint: what a user may try by hand.
[[nodiscard]] std::string trial_text(const Reach& reach, const std::string& host);

}  // namespace dlt::supervise
