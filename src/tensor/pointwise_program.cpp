// SPDX-License-Identifier: Apache-2.0
#include "tensor/pointwise_program.h"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdio>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {
namespace {

std::vector<std::string_view> split(std::string_view text, std::string_view separator) {
  std::vector<std::string_view> parts;
  while (!text.empty()) {
    const std::size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view{} : text.substr(end + separator.size());
  }
  return parts;
}

template <typename T>
T number_of(std::string_view word) {
  T number{};
  const auto result = std::from_chars(word.data(), word.data() + word.size(), number);
  DLT_CHECK(result.ec == std::errc{} && result.ptr == word.data() + word.size(),
            cat("pointwise program: ", word));
  return number;
}

int register_of(std::string_view word) {
  DLT_CHECK(!word.empty() && word[0] == '%', cat("pointwise program: register ", word));
  return number_of<int>(word.substr(1));
}

/// Numbers with a point or an exponent are floating, as number_text writes them.
std::string number_text(double number) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.17g", number);
  std::string text = buffer.data();
  if (text.find_first_of(".en") == std::string::npos) text += ".0";
  return text;
}

std::string value_text(const Attrs::Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) return number_text(*number);
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  const auto* sizes = std::get_if<std::vector<std::int64_t>>(&value);
  DLT_CHECK(sizes != nullptr, "pointwise program: an attribute of several floating numbers");
  std::vector<std::string> words;
  for (const std::int64_t size : *sizes) words.push_back(std::to_string(size));
  return cat("(", join(words, ","), ")");
}

Attrs::Value value_of(std::string_view word) {
  DLT_CHECK(!word.empty(), "pointwise program: an empty attribute");
  if (word[0] == '(') {
    std::vector<std::int64_t> sizes;
    for (const std::string_view part : split(word.substr(1, word.size() - 2), ",")) {
      sizes.push_back(number_of<std::int64_t>(part));
    }
    return sizes;
  }
  const bool number = word[0] == '-' || (word[0] >= '0' && word[0] <= '9');
  if (!number) return std::string(word);
  if (word.find_first_of(".en") == std::string_view::npos) return number_of<std::int64_t>(word);
  return number_of<double>(word);
}

PointwiseStep step_of(std::string_view text, int num_registers) {
  const std::vector<std::string_view> words = split(text, " ");
  PointwiseStep step{std::string(words[0]), {}, {}};
  for (std::size_t i = 1; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals == std::string_view::npos) {
      step.inputs.push_back(register_of(words[i]));
      DLT_CHECK(step.inputs.back() >= 0 && step.inputs.back() < num_registers,
                cat("pointwise program: ", text));
    } else {
      step.attrs.set(std::string(words[i].substr(0, equals)),
                     value_of(words[i].substr(equals + 1)));
    }
  }
  return step;
}

}  // namespace

std::string PointwiseProgram::text() const {
  std::string out = cat("inputs ", num_inputs);
  for (const PointwiseStep& step : steps) {
    out += cat("; ", step.op);
    for (const int input : step.inputs) out += cat(" %", input);
    for (const auto& [name, value] : step.attrs.values())
      out += cat(" ", name, "=", value_text(value));
  }
  out += "; outputs";
  for (const int output : outputs) out += cat(" %", output);
  return out;
}

PointwiseProgram PointwiseProgram::parse(std::string_view text) {
  const std::vector<std::string_view> parts = split(text, "; ");
  DLT_CHECK(parts.size() >= 3 && parts.front().starts_with("inputs ") &&
                parts.back().starts_with("outputs "),
            cat("pointwise program: ", text));
  PointwiseProgram program;
  program.num_inputs = number_of<int>(parts.front().substr(7));
  for (std::size_t i = 1; i + 1 < parts.size(); ++i) {
    program.steps.push_back(step_of(parts[i], program.num_registers()));
  }
  for (const std::string_view word : split(parts.back().substr(8), " ")) {
    program.outputs.push_back(register_of(word));
    DLT_CHECK(program.outputs.back() >= program.num_inputs &&
                  program.outputs.back() < program.num_registers(),
              cat("pointwise program: ", text));
  }
  return program;
}

}  // namespace dlt::tensor
