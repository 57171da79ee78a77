// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/rank_env.h"
#include "launcher/supervise/dlrun_options.h"
#include "launcher/supervise/host_slots.h"
#include "launcher/supervise/job_config.h"
#include "launcher/supervise/remote.h"
#include "launcher/supervise/starter.h"

namespace dlt::supervise {

/// Everything about a job that is known before its first start.
struct JobSetup {
  LaunchOptions options;
  JobConfig config;
  launcher::Lookup lookup;  // of the environment
  std::string dltrain;      // the rank program
  StarterProgram starter;
  std::int64_t ranks = 1;
  std::vector<HostSlots> hosts;
  bool named_hosts = false;           // false: this machine alone
  std::optional<std::string> slurm;   // the allocation's job, if it is inside one
  std::optional<double> time_left_s;  // until Slurm ends the job
  Reach reach;
  std::string memory_dir;
};

/// Hosts and ranks from the command line or else from Slurm's allocation.
/// errors  Error(Exit::usage) if neither says how many ranks, or more are asked for than there is
///         room for
void choose_hosts(const std::optional<Allocation>& allocation, JobSetup& setup);

/// Reads the config, chooses hosts and what starts ranks on them.
/// errors  Error with the code for the program; a config's mistakes are all of them, as the rank
///         program finds them
[[nodiscard]] JobSetup prepare_job(const LaunchOptions& options, const launcher::Lookup& lookup,
                                   const std::string& own_host);

/// The address of this machine that other hosts reach it by: the one that packets to host leave
/// from; loopback if all hosts are this one.
[[nodiscard]] std::string control_host(const JobSetup& setup);

}  // namespace dlt::supervise
