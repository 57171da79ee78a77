// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/rank_processes.h"

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"
#include "launcher/rank_env.h"
#include "launcher/supervise/process.h"

namespace dlt::supervise {
namespace {

/// The environment a process was started with.
std::map<std::string, std::string> environment_of(pid_t pid) {
  std::map<std::string, std::string> out;
  const std::string text = read_file(cat("/proc/", pid, "/environ"), {.max_bytes = 4 << 20});
  for (std::size_t at = 0; at < text.size();) {
    const std::string entry = text.c_str() + at;
    at += entry.size() + 1;
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) out[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return out;
}

/// It as a rank of a job under dlrun, if it is one.
std::optional<RankProcess> as_rank(pid_t pid) {
  try {
    const auto variables = environment_of(pid);
    const launcher::RankEnv ranks =
        launcher::read_rank_env([&](const char* variable) -> const char* {
          const auto it = variables.find(variable);
          return it == variables.end() ? nullptr : it->second.c_str();
        });
    if (!ranks.supervision || ranks.starter == launcher::Starter::none) return std::nullopt;
    const std::string& control = ranks.supervision->control;
    const char* port = control.c_str() + control.rfind(':') + 1;
    RankProcess out{.rank = ranks.rank, .pid = pid};
    std::from_chars(port, control.c_str() + control.size(), out.control_port);
    return out;
  } catch (const Error&) {  // it is gone, or just about to become something else
    return std::nullopt;
  }
}

}  // namespace

std::vector<RankProcess> ranks_below(pid_t dlrun) {
  std::vector<RankProcess> out;
  for (const pid_t pid : descendants(dlrun)) {
    std::error_code failure;
    const auto program = std::filesystem::read_symlink(cat("/proc/", pid, "/exe"), failure);
    if (failure || !program.filename().string().starts_with("dltrain")) continue;
    if (const auto rank = as_rank(pid)) out.push_back(*rank);
  }
  std::sort(out.begin(), out.end(),
            [](const RankProcess& a, const RankProcess& b) { return a.rank < b.rank; });
  return out;
}

}  // namespace dlt::supervise
