// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"

#include <array>
#include <utility>

#include "base/text.h"

namespace dlt {

Error::Error(Exit exit, std::string message, std::string hint)
    : std::runtime_error(message), exit_(exit), hint_(std::move(hint)) {}

std::optional<Exit> exit_of(int code) {
  static constexpr std::array kAll{
      Exit::ok,       Exit::usage,     Exit::data,      Exit::missing, Exit::unavailable,
      Exit::internal, Exit::io,        Exit::preempted, Exit::denied,  Exit::config,
      Exit::numerics, Exit::peer_lost, Exit::budget};
  for (const Exit exit : kAll) {
    if (static_cast<int>(exit) == code) return exit;
  }
  return std::nullopt;
}

void check_failed(const char* file, int line, const char* expression, std::string_view detail) {
  throw Error(Exit::internal, cat(file, ":", line, ": internal error: '", expression,
                                  "' does not hold", detail.empty() ? "" : ": ", detail));
}

}  // namespace dlt
