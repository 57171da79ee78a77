// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/host_list.h"

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

#include "base/error.h"
#include "base/text.h"

namespace dlt::supervise {
namespace {

constexpr std::int32_t kMaxSlots = 1 << 20;
constexpr std::size_t kMaxNames = 65536;

std::optional<std::int32_t> number(std::string_view text, std::int32_t min) {
  std::int32_t value = 0;
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != text.data() + text.size() || value < min || value > kMaxSlots)
    return std::nullopt;
  return value;
}

/// A name may not look like an option to whatever program it is handed to.
bool is_host_name(std::string_view name) {
  constexpr std::string_view kLegal =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_";
  return !name.empty() && name.size() <= 255 && name.front() != '-' &&
         name.find_first_not_of(kLegal) == std::string_view::npos;
}

/// The parts between commas that stand in no brackets.
std::vector<std::string_view> parts_of(std::string_view text) {
  std::vector<std::string_view> out;
  std::size_t begin = 0;
  int depth = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && text[i] == '[') ++depth;
    if (i < text.size() && text[i] == ']') --depth;
    if (i < text.size() && (text[i] != ',' || depth != 0)) continue;
    out.push_back(text.substr(begin, i - begin));
    begin = i + 1;
  }
  return out;
}

[[noreturn]] void refuse_slurm(std::string_view what, std::string_view text) {
  throw Error(Exit::unavailable, cat("Slurm: expected ", what, ", got '", printable(text), "'"),
              "name the hosts by --hosts a:4,b:4");
}

/// "01-03" behind "n" and before "x": n01x n02x n03x.
void expand_range(std::string_view range, const std::string& prefix, std::string_view rest,
                  std::vector<std::string>& out);

/// One part of a node list, any number of brackets in it.
void expand_part(std::string_view part, const std::string& prefix, std::vector<std::string>& out) {
  const std::size_t open = part.find('[');
  const std::string before = prefix + std::string(part.substr(0, open));
  if (open == std::string_view::npos) {
    if (!is_host_name(before) || out.size() >= kMaxNames) refuse_slurm("a list of nodes", before);
    out.push_back(before);
    return;
  }
  const std::size_t close = part.find(']', open);
  if (close == std::string_view::npos) refuse_slurm("a list of nodes", part);
  for (const std::string_view range : parts_of(part.substr(open + 1, close - open - 1))) {
    expand_range(range, before, part.substr(close + 1), out);
  }
}

void expand_range(std::string_view range, const std::string& prefix, std::string_view rest,
                  std::vector<std::string>& out) {
  const std::size_t dash = range.find('-');
  const std::string_view first = range.substr(0, dash);
  const std::string_view last = dash == std::string_view::npos ? first : range.substr(dash + 1);
  const auto from = number(first, 0);
  const auto to = number(last, 0);
  if (!from || !to || *from > *to) refuse_slurm("a range such as 1-4", range);
  for (std::int32_t i = *from; i <= *to; ++i) {
    std::string digits = std::to_string(i);
    if (digits.size() < first.size()) digits.insert(0, first.size() - digits.size(), '0');
    expand_part(rest, prefix + digits, out);
  }
}

}  // namespace

std::vector<HostSlots> parse_hosts(const std::string& text) {
  std::vector<HostSlots> out;
  for (const std::string_view part : parts_of(text)) {
    const std::size_t colon = part.find(':');
    const std::string name(part.substr(0, colon));
    const auto slots =
        colon == std::string_view::npos ? std::optional(1) : number(part.substr(colon + 1), 1);
    if (!is_host_name(name) || !slots) {
      throw Error(
          Exit::usage,
          cat("--hosts: expected NAME:RANKS separated by commas, got '", printable(part), "'"),
          "such as --hosts a:4,b:4");
    }
    const bool twice = std::any_of(out.begin(), out.end(),
                                   [&](const HostSlots& other) { return other.name == name; });
    if (twice) {
      throw Error(Exit::usage, cat("--hosts: expected each host once, got '", name, "' twice"),
                  "write all its ranks behind one colon");
    }
    out.push_back({.name = name, .slots = *slots});
  }
  return out;
}

std::string hosts_text(const std::vector<HostSlots>& hosts) {
  std::vector<std::string> words;
  for (const HostSlots& host : hosts) words.push_back(cat(host.name, ":", host.slots));
  return join(words, ",");
}

std::int64_t total_slots(const std::vector<HostSlots>& hosts) {
  std::int64_t out = 0;
  for (const HostSlots& host : hosts) out += host.slots;
  return out;
}

std::vector<std::string> expand_node_list(const std::string& text) {
  std::vector<std::string> out;
  for (const std::string_view part : parts_of(text)) expand_part(part, "", out);
  return out;
}

std::vector<std::int32_t> expand_counts(const std::string& text) {
  std::vector<std::int32_t> out;
  for (const std::string_view part : parts_of(text)) {
    const std::size_t times = part.find("(x");
    const bool repeated = times != std::string_view::npos && part.ends_with(')');
    const auto value = number(part.substr(0, times), 1);
    const auto repeats = repeated
                             ? number(part.substr(times + 2, part.size() - times - 3), 1)
                             : (times == std::string_view::npos ? std::optional(1) : std::nullopt);
    if (!value || !repeats || out.size() + static_cast<std::size_t>(*repeats) > kMaxNames)
      refuse_slurm("ranks a node such as 4(x2),2", part);
    out.insert(out.end(), static_cast<std::size_t>(*repeats), *value);
  }
  return out;
}

}  // namespace dlt::supervise
