// SPDX-License-Identifier: Apache-2.0
// Runs a program and collects what it says, for tests that look at a program from outside.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dlt {

struct ProgramOptions {
  std::vector<std::pair<std::string, std::string>> env;  // added to this process's environment
  std::string directory;                                 // to run in; "" for this process's own
  double timeout_s = 60;                                 // then the whole process group is killed
  int signal = 0;  // sent to the program once stderr or stdout contains signal_after
  std::string signal_after;
  bool signal_child = false;  // sent to one of its children instead (a rank of mpirun)
};

struct ProgramResult {
  int exit_code = -1;  // 128 + signal number if a signal ended it
  std::string out, err;
  double wall_s = 0;
  long long peak_rss_bytes = 0;  // the largest of the program and the children it waited for
  bool timed_out = false;
};

/// words[0] is looked for in PATH. errors  std::runtime_error if it cannot be started
[[nodiscard]] ProgramResult run_program(const std::vector<std::string>& words,
                                        const ProgramOptions& options = {});

}  // namespace dlt
