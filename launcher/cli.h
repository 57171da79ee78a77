// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "launcher/options.h"

namespace dlt::launcher {

class Command;

/// What a command line asks for: a text to print and be done with, or a command to run.
struct Invocation {
  std::string text;  // of --help or --version
  std::unique_ptr<Command> command;
  bool quiet = false;
};

/// Reads the words after the program's name. `CFG ...` is `train CFG ...`; options may stand before
/// or behind the other words of their command.
/// errors  Error(Exit::usage) with the nearest spelling of a word that is not known
[[nodiscard]] Invocation read_command_line(std::vector<std::string> words);

}  // namespace dlt::launcher
