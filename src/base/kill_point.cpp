// SPDX-License-Identifier: Apache-2.0
#include "base/kill_point.h"

#include <array>
#include <atomic>
#include <charconv>
#include <string_view>

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt {
namespace {

constexpr std::array kNames{
#define DLT_KILL_POINT_NAME(name) std::string_view(#name),
#include "base/kill_points.def"
#undef DLT_KILL_POINT_NAME
};

/// The one mutable global of the tests' build: a kill point stands where nothing is passed to it.
struct Plan {
  int point = -1;  // where to end; -1: nowhere
  std::atomic<int> left = 0;
  int record_fd = -1;
  std::array<std::atomic<bool>, kNames.size()> recorded{};
};
Plan plan;

constexpr std::string_view kRecord = "record:";

[[noreturn]] void refuse(const std::string& text) {
  throw Error(Exit::usage,
              cat("kill points: expected NAME:COUNT or record:PATH, got '", printable(text), "'"));
}

}  // namespace

void arm_kill_points(const std::string& text) {
  if (text.empty()) return;
  if (text.starts_with(kRecord)) {
    plan.record_fd =
        ::open(text.c_str() + kRecord.size(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (plan.record_fd < 0) refuse(text);
    return;
  }
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) refuse(text);
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (kNames[i] == std::string_view(text).substr(0, colon)) plan.point = static_cast<int>(i);
  }
  int count = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data() + colon + 1, end, count);
  if (plan.point < 0 || error != std::errc() || at != end || count < 1) refuse(text);
  plan.left.store(count);
}

void reach_kill_point(KillPoint point) noexcept {
  const auto index = static_cast<std::size_t>(point);
  if (plan.record_fd >= 0 && !plan.recorded[index].exchange(true)) {
    std::array<char, 128> line{};
    const std::size_t length = kNames[index].copy(line.data(), line.size() - 1);
    line[length] = '\n';
    if (::write(plan.record_fd, line.data(), length + 1) < 0) return;
  }
  if (plan.point == static_cast<int>(index) && plan.left.fetch_sub(1) == 1) {
    ::kill(::getpid(), SIGKILL);
    for (;;) ::pause();  // the signal is on its way
  }
}

}  // namespace dlt
