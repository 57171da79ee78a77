// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dlt::launcher {

class Command;

/// Declares the options of one command. What is declared without a fallback in the help text must
/// be given; a value is written when the command line was read without a mistake.
class Options {
 public:
  explicit Options(CLI::App& app) : app_(&app) {}
  /// A word that must be there: positional("CFG", ...).
  void positional(const std::string& name, std::string& value, const std::string& help);
  /// One or more words.
  void positionals(const std::string& name, std::vector<std::string>& values,
                   const std::string& help);
  void required(const std::string& name, std::string& value, const std::string& help);
  void text(const std::string& name, std::string& value, const std::string& help);
  /// May be given several times, one value each time.
  void repeated(const std::string& name, std::vector<std::string>& values, const std::string& help);
  void flag(const std::string& name, bool& value, const std::string& help);
  void choice(const std::string& name, std::string& value, const std::vector<std::string>& legal,
              const std::string& help);
  void number(const std::string& name, double& value, const std::string& help);
  struct Range {
    std::int64_t min = 0, max = 0;
  };
  void integer(const std::string& name, std::int64_t& value, Range range, const std::string& help);

 private:
  CLI::App* app_;
};

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
