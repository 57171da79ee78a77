// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "launcher/supervise/injection.h"
#include "launcher/supervise/slurm.h"

namespace dlt::supervise {

/// What `dlrun CFG ...` is asked for.
struct LaunchOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::int64_t ranks = 0;  // 0: as many as the hosts take
  std::string hosts;       // "": this machine, or Slurm's allocation
  std::optional<std::int64_t> max_restarts;
  std::string resume = "auto";
  bool overwrite = false;
  std::string mpirun;            // "": the one of the library that dltrain was built with
  std::string starter = "auto";  // mpirun, srun
  std::string bind = "auto";     // none
  bool requeue = false;
  bool quiet = false;
  /// What an earlier run left is of no use.
  [[nodiscard]] bool starts_anew() const { return overwrite || resume != "auto"; }
};

/// What `dlrun drill CFG ...` is asked for.
struct DrillOptions {
  std::string config;
  std::vector<std::string> overrides;
  std::vector<std::string> dlrun_words;  // of each of its jobs
  std::vector<Injection> faults;
  std::int64_t count = 20;
  std::uint64_t seed = 7;
};

/// What a command line asks for: a text to print and be done with, or one of the others.
struct DlrunInvocation {
  std::string text;  // of --help or --version
  std::optional<LaunchOptions> launch;
  std::optional<BatchJob> batch;
  std::string batch_config;  // of batch, to be checked
  std::vector<std::string> batch_overrides;
  std::optional<DrillOptions> drill;
};

/// Reads the words after the program's name; options may stand before or behind CFG.
/// errors  Error(Exit::usage) with the nearest spelling of a word that is not known
[[nodiscard]] DlrunInvocation read_dlrun_command_line(std::vector<std::string> words);

/// "dlrun 0.1.0 (git 1a2b3c4)"
[[nodiscard]] std::string dlrun_version();

}  // namespace dlt::supervise
