// SPDX-License-Identifier: Apache-2.0
#include "launcher/cli.h"

#include <algorithm>
#include <iomanip>
#include <set>
#include <sstream>
#include <utility>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "launcher/command.h"
#include "launcher/version.h"

namespace dlt::launcher {
namespace {

using Commands = std::vector<std::unique_ptr<Command>>;

std::string general_help(const Commands& commands) {
  std::ostringstream out;
  out << "dltrain trains neural networks data-parallel over MPI ranks.\n\n"
      << "  dltrain CFG                  train what the YAML file CFG describes, on this process\n"
      << "  mpirun -n 4 dltrain CFG      the same on 4 ranks, with the same result\n"
      << "  dltrain COMMAND --help       the options of a command\n\n"
      << "Commands:\n";
  for (const auto& command : commands) {
    out << "  " << std::left << std::setw(20) << command->name() << command->summary() << "\n";
  }
  out << "\nEverywhere: --help, --version, --quiet. Results go to stdout, the rest to stderr.\n";
  return out.str();
}

/// The help of "data" or "data import": the commands that begin so.
std::string group_help(const Commands& commands, const std::string& group) {
  std::ostringstream out;
  for (const auto& command : commands) {
    if (!command->name().starts_with(group + " ")) continue;
    out << "dltrain " << std::left << std::setw(20) << command->name() << command->summary()
        << "\n";
  }
  return out.str();
}

/// The words that may follow these first words of commands: {"list", "verify", "hash"} for
/// "checkpoint", the first words of all commands for "".
std::vector<std::string> next_words(const Commands& commands, const std::string& group) {
  std::set<std::string> out;
  for (const auto& command : commands) {
    const std::string name = command->name();
    const std::string prefix = group.empty() ? "" : group + " ";
    if (name.starts_with(prefix) && name.size() > prefix.size()) {
      out.insert(name.substr(prefix.size(), name.find(' ', prefix.size()) - prefix.size()));
    }
  }
  return {out.begin(), out.end()};
}

/// What the first words name: a command, a group of commands, or neither (then it is training).
struct Choice {
  Command* command = nullptr;
  std::string group;
  std::size_t num_words = 0;
};

Choice choose(const Commands& commands, const std::vector<std::string>& words) {
  Choice out;
  std::string name;
  for (std::size_t i = 0; i < words.size(); ++i) {
    name += (i == 0 ? "" : " ") + words[i];
    const auto it = std::find_if(commands.begin(), commands.end(),
                                 [&](const auto& command) { return command->name() == name; });
    if (it != commands.end()) return {.command = it->get(), .group = {}, .num_words = i + 1};
    if (next_words(commands, name).empty()) break;
    out.group = name;
    out.num_words = i + 1;
  }
  return out;
}

[[noreturn]] void refuse_group(const Commands& commands, const Choice& choice,
                               const std::vector<std::string>& words) {
  const std::vector<std::string> legal = next_words(commands, choice.group);
  const std::string expected = cat(choice.group, ": expected one of ", join(legal));
  if (words.size() <= choice.num_words) {
    throw Error(Exit::usage, cat(expected, ", got nothing"),
                cat("dltrain ", choice.group, " --help says more"));
  }
  const std::string& word = words[choice.num_words];
  const std::string near = nearest(word, legal);
  throw Error(Exit::usage, cat(expected, ", got '", printable(word), "'"),
              near.empty() ? cat("dltrain ", choice.group, " --help says more")
                           : cat("did you mean '", choice.group, " ", near, "'?"));
}

/// `dltrain chekc` must not be taken for a file of that name.
void require_file_or_command(const Commands& commands, const std::string& word) {
  if (word.find_first_of("/.") != std::string::npos || exists(word)) return;
  const std::vector<std::string> legal = next_words(commands, "");
  const std::string near = nearest(word, legal);
  throw Error(
      Exit::usage,
      cat("'", printable(word), "' is neither a command nor a file; commands: ", join(legal)),
      near.empty() ? "dltrain --help says more" : cat("did you mean '", near, "'?"));
}

}  // namespace

Invocation read_command_line(std::vector<std::string> words) {
  Commands commands = make_commands();
  Invocation out;
  while (!words.empty() && (words.front() == "--quiet" || words.front() == "-q")) {
    out.quiet = true;
    words.erase(words.begin());
  }
  if (words.empty()) {
    throw Error(Exit::usage, "expected a configuration file or a command, got nothing",
                "dltrain --help says more");
  }
  if (is_help(words.front())) return {.text = general_help(commands), .command = {}};
  if (words.front() == "--version") return {.text = program_version() + "\n", .command = {}};

  Choice choice = choose(commands, words);
  if (choice.command == nullptr && choice.num_words > 0) {
    if (std::any_of(words.begin(), words.end(), is_help))
      return {.text = group_help(commands, choice.group), .command = {}};
    refuse_group(commands, choice, words);
  }
  const bool bare = choice.command == nullptr;
  if (bare) {
    choice = choose(commands, {"train"});
    words.insert(words.begin(), "train");
  }
  words.erase(words.begin(), words.begin() + static_cast<std::ptrdiff_t>(choice.num_words));

  CLI::App app(choice.command->summary(), cat("dltrain ", choice.command->name()));
  app.get_formatter()->column_width(34);
  Options options(app);
  choice.command->declare(options);
  bool version = false;
  app.add_flag("-q,--quiet", out.quiet, "Only results and errors");
  app.add_flag("--version", version, "Print the version and exit");
  if (std::any_of(words.begin(), words.end(), is_help)) return {.text = app.help(), .command = {}};
  if (std::find(words.begin(), words.end(), "--version") != words.end())
    return {.text = program_version() + "\n", .command = {}};
  if (bare && !words.front().starts_with("-")) require_file_or_command(commands, words.front());
  read_words(app, std::move(words));

  for (auto& command : commands) {
    if (command.get() == choice.command) out.command = std::move(command);
  }
  return out;
}

}  // namespace dlt::launcher
