// SPDX-License-Identifier: Apache-2.0
#include "launcher/cli.h"

#include <algorithm>
#include <charconv>
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

bool is_help(const std::string& word) { return word == "--help" || word == "-h"; }

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

std::vector<std::string> option_names(const CLI::App& app) {
  std::vector<std::string> out;
  for (const CLI::Option* option : app.get_options()) {
    for (const std::string& name : option->get_lnames()) out.push_back("--" + name);
  }
  return out;
}

[[noreturn]] void refuse_word(const CLI::App& app, const std::string& word) {
  const std::string more = cat(app.get_name(), " --help lists all options");
  if (!word.starts_with("-")) {
    throw Error(Exit::usage, cat("unexpected argument '", printable(word), "'"), more);
  }
  const std::string name = word.substr(0, word.find('='));
  const std::string near = nearest(name, option_names(app));
  throw Error(Exit::usage, cat("unknown option '", printable(name), "'"),
              near.empty() ? more : cat("did you mean '", near, "'?"));
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

/// Reads the words into the command's options.
void read_words(CLI::App& app, std::vector<std::string> words) {
  app.allow_extras();
  std::reverse(words.begin(), words.end());  // the parser takes them from the back
  try {
    app.parse(std::move(words));
  } catch (const CLI::ParseError& error) {
    // A misspelt option says more than the required one that is missing for it.
    for (const std::string& word : app.remaining()) {
      if (word.starts_with("-")) refuse_word(app, word);
    }
    throw Error(Exit::usage, error.what(), cat(app.get_name(), " --help lists all options"));
  }
  const std::vector<std::string> rest = app.remaining();
  for (const std::string& word : rest) {
    if (word.starts_with("-")) refuse_word(app, word);
  }
  if (!rest.empty()) refuse_word(app, rest.front());
}

template <typename Number>
std::string not_a_number(const std::string& text, const std::string& expected) {
  Number value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return {};
  return cat("expected ", expected, ", got '", printable(text), "'");
}

}  // namespace

void Options::positional(const std::string& name, std::string& value, const std::string& help) {
  app_->add_option(name, value, help)->required()->type_name("");
}

void Options::positionals(const std::string& name, std::vector<std::string>& values,
                          const std::string& help) {
  app_->add_option(name, values, help)->required()->type_name("");
}

void Options::required(const std::string& name, std::string& value, const std::string& help) {
  app_->add_option(name, value, help)->required();
}

void Options::text(const std::string& name, std::string& value, const std::string& help) {
  app_->add_option(name, value, help);
}

void Options::repeated(const std::string& name, std::vector<std::string>& values,
                       const std::string& help) {
  app_->add_option(name, values, help)->allow_extra_args(false)->type_name("TEXT");
}

void Options::flag(const std::string& name, bool& value, const std::string& help) {
  app_->add_flag(name, value, help);
}

void Options::choice(const std::string& name, std::string& value,
                     const std::vector<std::string>& legal, const std::string& help) {
  const auto check = [legal](const std::string& text) {
    if (std::find(legal.begin(), legal.end(), text) != legal.end()) return std::string();
    const std::string near = nearest(text, legal);
    return cat("expected one of ", join(legal), ", got '", printable(text), "'",
               near.empty() ? "" : cat("; did you mean '", near, "'?"));
  };
  app_->add_option(name, value, help)->check(CLI::Validator(check, "", "choice"));
}

void Options::number(const std::string& name, double& value, const std::string& help) {
  const auto check = [](const std::string& text) { return not_a_number<double>(text, "a number"); };
  app_->add_option(name, value, help)->check(CLI::Validator(check, "", "number"));
}

void Options::integer(const std::string& name, std::int64_t& value, Range range,
                      const std::string& help) {
  const auto check = [range](const std::string& text) {
    const std::string expected = cat("an integer from ", range.min, " to ", range.max);
    std::string problem = not_a_number<std::int64_t>(text, expected);
    if (problem.empty()) {
      std::int64_t number = 0;
      std::from_chars(text.data(), text.data() + text.size(), number);
      if (number < range.min || number > range.max)
        problem = cat("expected ", expected, ", got '", number, "'");
    }
    return problem;
  };
  app_->add_option(name, value, help)->check(CLI::Validator(check, "", "integer"));
}

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
