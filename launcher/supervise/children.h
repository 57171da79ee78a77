// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include "launcher/supervise/process.h"

namespace boost::asio {
class io_context;
}

namespace dlt::supervise {

/// How a process ended.
struct ProcessEnd {
  int exit_code = 0;
  int signal = 0;  // that ended it; then exit_code is of no meaning
};

/// What a command came to.
struct CommandResult {
  bool started = false, timed_out = false;
  ProcessEnd end;
  std::string out;  // its stdout, at most 4 MiB
  [[nodiscard]] bool good() const {
    return started && !timed_out && end.signal == 0 && end.exit_code == 0;
  }
};

/// The processes that dlrun started and whose ends it waits for. One thread, the one that runs the
/// io_context, and callbacks come from within its run().
class Children {
 public:
  explicit Children(boost::asio::io_context& context);
  /// Kills those whose ends were not seen.
  ~Children();
  Children(const Children&) = delete;
  Children& operator=(const Children&) = delete;

  /// The program's stderr comes in pieces to text; ended is called after the last of them.
  /// errors  Error(Exit::unavailable) if it cannot be started
  pid_t start(const SpawnOptions& options, std::function<void(std::string_view)> text,
              std::function<void(ProcessEnd)> ended);
  /// Runs commands side by side, kills those that take longer than timeout_s, and calls done once,
  /// with their results in the same order.
  void run(const std::vector<Words>& commands, double timeout_s,
           std::function<void(const std::vector<CommandResult>&)> done);
  /// Of commands that run, and of programs that were started.
  [[nodiscard]] std::vector<pid_t> commands() const;
  [[nodiscard]] std::vector<pid_t> programs() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

/// The same for a program that has nothing else to do: waits for them.
[[nodiscard]] std::vector<CommandResult> run_commands(const std::vector<Words>& commands,
                                                      double timeout_s);
[[nodiscard]] CommandResult run_command(const Words& words, double timeout_s);

}  // namespace dlt::supervise
