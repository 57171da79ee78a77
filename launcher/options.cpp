// SPDX-License-Identifier: Apache-2.0
#include "launcher/options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include <CLI/CLI.hpp>

#include "base/error.h"
#include "base/text.h"

namespace dlt::launcher {
namespace {

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

template <typename Number>
std::string not_a_number(const std::string& text, const std::string& expected) {
  Number value{};
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec == std::errc() && result.ptr == text.data() + text.size()) return {};
  return cat("expected ", expected, ", got '", printable(text), "'");
}

}  // namespace

bool is_help(const std::string& word) { return word == "--help" || word == "-h"; }

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

}  // namespace dlt::launcher
