// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <sys/types.h>

namespace dlt::supervise {

/// Where the kernel counts out-of-memory kills of a process's memory cgroup: memory.events (version
/// 2) or memory.oom_control (version 1); "" if there is none. cgroup_text: /proc/PID/cgroup.
[[nodiscard]] std::string oom_file_of(const std::string& cgroup_text,
                                      const std::string& root = "/sys/fs/cgroup");
/// The counter oom_kill in such a file's text; none if it has none.
[[nodiscard]] std::optional<std::int64_t> oom_kills(const std::string& text);

/// Looks for kills by the kernel because a cgroup of this machine had no memory left.
class OomWatch {
 public:
  /// Begins with this process's own cgroup.
  OomWatch();
  void add(std::int32_t rank, pid_t pid);
  void forget_ranks();
  /// Kills since the last look; one entry for each cgroup that had some: the rank, or -1 if several
  /// ranks, or none, are in that cgroup.
  [[nodiscard]] std::vector<std::int32_t> look();

 private:
  struct Counter {
    std::int64_t seen = 0;
    std::set<std::int32_t> ranks;
  };
  void watch(const std::string& file);
  std::map<std::string, Counter> counters_;
};

}  // namespace dlt::supervise
