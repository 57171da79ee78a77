// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/run_record.h"

#include <algorithm>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/fs.h"

namespace dlt::supervise {
namespace {

using nlohmann::json;

std::int64_t integer_of(const json& object, const char* key) {
  const auto it = object.find(key);
  return it != object.end() && it->is_number_integer() ? it->get<std::int64_t>() : -1;
}

const RunEvent* first_after(const std::vector<RunEvent>& events, const char* kind, double from_s) {
  const auto it = std::find_if(events.begin(), events.end(), [&](const RunEvent& event) {
    return event.kind == kind && event.mono_s >= from_s;
  });
  return it == events.end() ? nullptr : &*it;
}

}  // namespace

std::vector<RunEvent> read_events(const std::string& run_dir) {
  std::vector<RunEvent> out;
  const std::string path = run_dir + "/events.jsonl";
  if (!exists(path)) return out;
  std::istringstream lines(read_file(path));
  for (std::string line; std::getline(lines, line);) {
    const json event = json::parse(line, nullptr, false);
    if (!event.is_object() || !event.contains("ev") || !event["ev"].is_string()) continue;
    const auto time = event.find("t_mono");
    if (time == event.end() || !time->is_number()) continue;
    out.push_back({.kind = event["ev"].get<std::string>(),
                   .mono_s = time->get<double>(),
                   .generation = integer_of(event, "generation"),
                   .step = integer_of(event, "step"),
                   .from_step = integer_of(event, "from_step")});
  }
  return out;
}

std::optional<Recovery> recovery_from(const std::vector<RunEvent>& events, double injected_s) {
  const RunEvent* fault = first_after(events, "fault", injected_s);
  const RunEvent* restart = first_after(events, "restart", injected_s);
  if (fault == nullptr || restart == nullptr) return std::nullopt;
  Recovery out{.detected_s = fault->mono_s - injected_s, .again_s = {}, .steps_lost = 0};
  std::int64_t furthest = 0;
  for (const RunEvent& event : events) {
    if (event.kind != "step") continue;
    if (event.generation < restart->generation) {
      furthest = std::max(furthest, event.step);
    } else if (!out.again_s && event.mono_s >= injected_s) {
      out.again_s = event.mono_s - injected_s;
    }
  }
  out.steps_lost =
      std::max<std::int64_t>(0, furthest - std::max<std::int64_t>(0, restart->from_step));
  return out;
}

std::string hash_of_run(const std::string& run_dir) {
  const std::string path = run_dir + "/summary.json";
  if (!exists(path)) return {};
  const json summary = json::parse(read_file(path), nullptr, false);
  if (!summary.is_object()) return {};
  const auto it = summary.find("weights_hash");
  return it != summary.end() && it->is_string() ? it->get<std::string>() : std::string();
}

}  // namespace dlt::supervise
