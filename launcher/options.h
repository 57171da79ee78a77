// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace dlt::launcher {

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

/// Reads the words behind a program's or command's name into the options declared on app.
/// errors  Error(Exit::usage) with the nearest spelling of a word that is not known
void read_words(CLI::App& app, std::vector<std::string> words);

/// --help or -h
[[nodiscard]] bool is_help(const std::string& word);

}  // namespace dlt::launcher
