// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <iosfwd>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "launcher/cli.h"
#include "launcher/dlrun_link.h"
#include "launcher/rank_env.h"

namespace dlt::launcher {

/// What a command is given beside its options.
struct Context {
  const RankEnv& ranks;
  DlrunLink& dlrun;
  std::ostream& out;  // results; on ranks other than 0 it goes nowhere
  bool quiet = false;
};

/// One sub-command: its words, its options, what it does. One object serves one call of the
/// program.
class Command {
 public:
  virtual ~Command() = default;
  /// The words that call it: "check", "data import idx".
  [[nodiscard]] virtual std::string name() const = 0;
  /// One line for --help.
  [[nodiscard]] virtual std::string summary() const = 0;
  /// Declares the options; their values are written to this object.
  virtual void declare(Options& options) = 0;
  /// Results go to context.out. errors  Error with the exit code for the program
  virtual Exit run(Context& context) = 0;
};

/// Every command of commands.def, in its order.
[[nodiscard]] std::vector<std::unique_ptr<Command>> make_commands();

}  // namespace dlt::launcher
