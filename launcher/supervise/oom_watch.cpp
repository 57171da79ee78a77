// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/oom_watch.h"

#include <charconv>
#include <fstream>
#include <sstream>

#include "base/fs.h"
#include "base/text.h"

namespace dlt::supervise {
namespace {

/// Files of /proc and of cgroups have no size to read by. "" if there is none.
std::string text_of(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream out;
  out << file.rdbuf();
  return out.str();
}

bool has(const std::string& list, const std::string& word) {
  return ("," + list + ",").find("," + word + ",") != std::string::npos;
}

}  // namespace

std::string oom_file_of(const std::string& cgroup_text, const std::string& root) {
  std::istringstream lines(cgroup_text);
  std::string found;
  for (std::string line; std::getline(lines, line);) {  // NUMBER:CONTROLLERS:PATH
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string path = line.substr(second + 1) == "/" ? "" : line.substr(second + 1);
    // In a container the path may be the host's, while what is mounted is the container's own.
    for (const std::string& folder : {path, std::string()}) {
      const std::string file = controllers.empty()
                                   ? cat(root, folder, "/memory.events")
                                   : cat(root, "/memory", folder, "/memory.oom_control");
      if (!controllers.empty() && !has(controllers, "memory")) break;
      if (found.empty() && exists(file)) found = file;
    }
  }
  return found;
}

std::optional<std::int64_t> oom_kills(const std::string& text) {
  std::istringstream words(text);
  std::string name;
  std::int64_t value = 0;
  while (words >> name >> value) {
    if (name == "oom_kill") return value;
  }
  return std::nullopt;
}

OomWatch::OomWatch() {
  const std::string file = oom_file_of(text_of("/proc/self/cgroup"));
  if (!file.empty()) watch(file);
}

void OomWatch::watch(const std::string& file) {
  const auto kills = oom_kills(text_of(file));
  if (kills) counters_.try_emplace(file, Counter{.seen = *kills, .ranks = {}});
}

void OomWatch::add(std::int32_t rank, pid_t pid) {
  const std::string file = oom_file_of(text_of(cat("/proc/", pid, "/cgroup")));
  if (file.empty()) return;
  watch(file);
  const auto it = counters_.find(file);
  if (it != counters_.end()) it->second.ranks.insert(rank);
}

void OomWatch::forget_ranks() {
  for (auto& [file, counter] : counters_) counter.ranks.clear();
}

std::vector<std::int32_t> OomWatch::look() {
  std::vector<std::int32_t> out;
  for (auto& [file, counter] : counters_) {
    const auto kills = oom_kills(text_of(file));
    if (!kills || *kills <= counter.seen) continue;
    counter.seen = *kills;
    out.push_back(counter.ranks.size() == 1 ? *counter.ranks.begin() : -1);
  }
  return out;
}

}  // namespace dlt::supervise
