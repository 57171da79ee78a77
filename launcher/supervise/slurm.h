// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/rank_env.h"
#include "launcher/supervise/host_slots.h"

namespace dlt::supervise {

/// What Slurm tells a program inside an allocation.
struct Allocation {
  std::string job_id;
  std::vector<HostSlots> hosts;       // slots: tasks of the node
  std::optional<std::int64_t> end_s;  // seconds since 1970, when the job's time is over
};

/// From the variables that sbatch and salloc set; none outside of an allocation. Slurm 22.05 does
/// not tell the end in a variable: time_left_of() then asks.
/// errors  Error(Exit::unavailable) naming what is wrong with a variable
[[nodiscard]] std::optional<Allocation> read_allocation(const launcher::Lookup& lookup);

/// Seconds in "1-02:03:04", "2:03:04", "3:04" or "4" as squeue prints them; none for UNLIMITED and
/// for what is no time.
[[nodiscard]] std::optional<double> slurm_duration_s(const std::string& text);

/// What `dlrun sbatch` is asked for.
struct BatchJob {
  std::int64_t nodes = 1;
  std::int64_t ntasks_per_node = 1;
  std::int64_t cpus_per_task = 0;  // 0: not said
  std::string time;                // as sbatch takes it; "": the partition's default
  std::string partition, account, qos, name;
  std::int64_t grace_s = 120;            // before the end of the time, for the last checkpoint
  std::string folder;                    // where the job runs
  std::string dlrun;                     // the program's path
  std::vector<std::string> dlrun_words;  // CFG, --set ...
};

/// A script for sbatch, ready to print.
[[nodiscard]] std::string batch_script(const BatchJob& job);

/// A word as a POSIX shell reads it.
[[nodiscard]] std::string shell_quoted(const std::string& word);
/// Words as one line for a POSIX shell.
[[nodiscard]] std::string shell_quoted(const std::vector<std::string>& words);

}  // namespace dlt::supervise
