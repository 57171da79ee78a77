// SPDX-License-Identifier: Apache-2.0
#include "train/hash_log.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/fs.h"
#include "base/hash.h"
#include "base/text.h"
#include "train/run_dir.h"

namespace dlt::train {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kDigits = 16;
constexpr std::string_view kBeforeChain = ", \"chain\": \"";
constexpr std::string_view kBehindChain = "\"}\n";
constexpr std::int64_t kVersion = 1;

void add_hex(std::string& text, std::uint64_t number) {
  constexpr std::string_view kHex = "0123456789abcdef";
  for (int shift = 60; shift >= 0; shift -= 4) text += kHex[(number >> shift) & 15U];
}

void add_member(std::string& text, std::string_view key, std::uint64_t number) {
  text += ", \"";
  text += key;
  text += "\": \"";
  add_hex(text, number);
  text += '"';
}

/// One line of the file, with its place for messages.
class Line {
 public:
  Line(const std::string& path, std::int64_t number, std::string_view text)
      : path_(&path), number_(number), text_(text), json_(parse(text)) {
    if (!json_.is_object()) fail("expected a JSON object, got another or half of one");
  }

  [[noreturn]] void fail(const std::string& what) const {
    throw Error(Exit::data, cat(*path_, " line ", number_, ": ", what));
  }

  [[nodiscard]] const Json& member(const char* key) const {
    if (!json_.contains(key)) fail(cat("no key '", key, "'"));
    return json_.at(key);
  }
  [[nodiscard]] bool has(const char* key) const { return json_.contains(key); }

  [[nodiscard]] std::string word(const char* key) const {
    const Json& value = member(key);
    if (!value.is_string()) fail(cat("'", key, "': expected a string"));
    return value.get<std::string>();
  }

  [[nodiscard]] std::int64_t integer(const char* key) const {
    const Json& value = member(key);
    if (!value.is_number_integer()) fail(cat("'", key, "': expected an integer"));
    return value.get<std::int64_t>();
  }

  /// Hashes one behind the other.
  [[nodiscard]] std::vector<std::uint64_t> hashes(const char* key) const {
    const std::string text = word(key);
    std::vector<std::uint64_t> out;
    for (std::size_t at = 0; at < text.size(); at += kDigits) {
      const std::string_view digits = std::string_view(text).substr(at, kDigits);
      std::uint64_t number = 0;
      const auto end = std::from_chars(digits.data(), digits.data() + digits.size(), number, 16);
      if (digits.size() != kDigits || end.ptr != digits.data() + kDigits) {
        fail(cat("'", key, "': expected hashes of 16 hex digits, got '", printable(text), "'"));
      }
      out.push_back(number);
    }
    return out;
  }

  [[nodiscard]] std::uint64_t hash(const char* key) const {
    const std::vector<std::uint64_t> all = hashes(key);
    if (all.size() != 1) fail(cat("'", key, "': expected one hash, got ", all.size()));
    return all[0];
  }

  /// The line's hash, over the one before.
  [[nodiscard]] std::uint64_t checked_chain(std::uint64_t before) const {
    const std::size_t at = text_.rfind(kBeforeChain);
    if (at == std::string_view::npos) fail("no key 'chain' at its end");
    const std::uint64_t found = xxh3(text_.substr(0, at), before);
    if (found != hash("chain"))
      fail("changed since it was written, or lines before it are missing");
    return found;
  }

 private:
  static Json parse(std::string_view text) {
    return Json::parse(text.begin(), text.end(), nullptr, /*allow_exceptions=*/false);
  }
  const std::string* path_;
  std::int64_t number_;
  std::string_view text_;
  Json json_;
};

StepHashes step_hashes(const Line& line, std::size_t num_parameters) {
  StepHashes out;
  out.step = line.integer("step");
  if (out.step < 1) line.fail(cat("'step': expected one from 1, got ", out.step));
  if (line.has("skipped")) out.skipped = line.word("skipped");
  out.samples = line.hash("samples");
  out.loss = line.hash("loss");
  if (line.has("gradients")) {
    out.gradients = line.hashes("gradients");
    if (out.gradients.size() != num_parameters) {
      line.fail(
          cat("'gradients': expected ", num_parameters, " hashes, got ", out.gradients.size()));
    }
  }
  if (line.has("parameters")) out.parameters = line.hash("parameters");
  return out;
}

std::vector<std::string> parameters_of(const Line& header) {
  if (header.integer("hashes") != kVersion) {
    header.fail(cat("format ", header.integer("hashes"), ", this program reads ", kVersion));
  }
  std::vector<std::string> out;
  const Json& names = header.member("parameters");
  if (!names.is_array()) header.fail("'parameters': expected a list of names");
  for (const Json& name : names) {
    if (!name.is_string()) header.fail("'parameters': expected a list of names");
    out.push_back(name.get<std::string>());
  }
  return out;
}

}  // namespace

std::string hash_log_header(const std::vector<std::string>& parameters) {
  const Json header = {{"hashes", kVersion}, {"parameters", parameters}};
  return header.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::uint64_t chain_start(const std::string& header) { return xxh3(header); }

std::string hash_log_line(const StepHashes& hashes, std::uint64_t& chain) {
  std::string text = cat("{\"step\": ", hashes.step);
  if (!hashes.skipped.empty()) text += cat(", \"skipped\": \"", hashes.skipped, "\"");
  add_member(text, "samples", hashes.samples);
  add_member(text, "loss", hashes.loss);
  if (!hashes.gradients.empty()) {
    text += ", \"gradients\": \"";
    for (const std::uint64_t one : hashes.gradients) add_hex(text, one);
    text += '"';
  }
  if (hashes.parameters) add_member(text, "parameters", *hashes.parameters);
  chain = xxh3(text, chain);
  text += kBeforeChain;
  add_hex(text, chain);
  text += kBehindChain;
  return text;
}

HashLog read_hash_log(const std::string& path) {
  HashLog out;
  out.path = path.ends_with(".jsonl") ? path : RunPaths(path).hashes;
  if (!exists(out.path)) {
    throw Error(Exit::missing, cat(printable(out.path, 200), ": no such file"),
                "log.hashes: true writes it");
  }
  const std::string text = read_file(out.path);
  std::uint64_t chain = 0;
  std::int64_t number = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    if (end == std::string::npos) break;  // the writer was killed in the middle of it
    const Line line(out.path, ++number, std::string_view(text).substr(at, end - at));
    if (number == 1) {
      out.parameters = parameters_of(line);
      chain = chain_start(text.substr(0, end + 1));
    } else {
      chain = line.checked_chain(chain);
      StepHashes step = step_hashes(line, out.parameters.size());
      out.steps.insert_or_assign(step.step, std::move(step));
    }
    at = end + 1;
  }
  if (number == 0) throw Error(Exit::data, cat(printable(out.path, 200), ": it is empty"));
  return out;
}

std::string first_difference(const std::vector<std::string>& parameters_a, const StepHashes& a,
                             const std::vector<std::string>& parameters_b, const StepHashes& b) {
  if (a.skipped == "listed" || b.skipped == "listed") {
    return a.skipped == b.skipped ? "" : "the update was left out";
  }
  if (a.samples != b.samples) return "samples";
  if (a.loss != b.loss) return "loss";
  for (std::size_t i = 0; i < a.gradients.size() && !b.gradients.empty(); ++i) {
    const auto at = std::find(parameters_b.begin(), parameters_b.end(), parameters_a[i]);
    const bool same =
        at != parameters_b.end() &&
        b.gradients[static_cast<std::size_t>(at - parameters_b.begin())] == a.gradients[i];
    if (!same) return cat("gradient of '", parameters_a[i], "'");
  }
  if (a.skipped != b.skipped) return "the update was left out";
  const bool both = a.parameters && b.parameters;
  return both && *a.parameters != *b.parameters ? "parameters" : "";
}

RunDifference compare(const HashLog& a, const HashLog& b) {
  RunDifference out;
  for (const auto& [step, hashes] : a.steps) {
    const auto other = b.steps.find(step);
    if (other == b.steps.end()) {
      ++out.only_a;
      continue;
    }
    if (out.compared++ == 0) out.first = step;
    out.last = step;
    if (out.step >= 0) continue;
    out.stage = first_difference(a.parameters, hashes, b.parameters, other->second);
    if (!out.stage.empty()) out.step = step;
  }
  out.only_b = static_cast<std::int64_t>(b.steps.size()) - out.compared;
  if (out.compared == 0) {
    throw Error(Exit::data, cat(printable(a.path, 200), " and ", printable(b.path, 200),
                                ": expected steps that both have, got none"));
  }
  return out;
}

}  // namespace dlt::train
