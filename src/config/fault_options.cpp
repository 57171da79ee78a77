// SPDX-License-Identifier: Apache-2.0
#include "config/fault_options.h"

#include <charconv>

#include "base/text.h"

namespace dlt::config {
namespace {

constexpr const char* kAnyPort = "127.0.0.1:0";

/// HOST:PORT; an IPv6 address stands in brackets. False if it is neither.
bool split_address(const std::string& text, FaultOptions& out) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return false;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data() + colon + 1, end, out.control_port);
  if (error != std::errc() || at != end || out.control_port < 0 || out.control_port > 65535) {
    return false;
  }
  out.control_host = text.substr(0, colon);
  const bool brackets = out.control_host.front() == '[' && out.control_host.back() == ']';
  if (brackets) out.control_host = out.control_host.substr(1, out.control_host.size() - 2);
  return !out.control_host.empty() && (brackets || out.control_host.find(':') == std::string::npos);
}

}  // namespace

FaultOptions read_fault(MapReader fault) {
  FaultOptions out;
  out.hang_timeout_s =
      fault.number("hang_timeout_s", {.min = 0, .max = 86400, .min_open = true}, 30.0);
  out.max_restarts = fault.integer("max_restarts", {.min = 0, .max = 1000000}, 5);
  out.backoff_s = fault.number("backoff_s", {.min = 0, .max = 3600}, 1.0);
  out.min_ranks = fault.integer("min_ranks", {.min = 1, .max = 1 << 20}, 1);
  out.heartbeat_s =
      static_cast<double>(fault.integer("heartbeat_ms", {.min = 1, .max = 3600000}, 500)) * 1e-3;
  out.control_set = fault.has("control");
  const std::string address = fault.text("control", std::string(kAnyPort));
  if (!split_address(address, out)) {
    fault.error("control", cat("expected HOST:PORT, got '", printable(address), "'"),
                "port 0 takes a free one");
  }
  out.skip_poison = fault.choice("poison", {"skip", "stop"}, std::string("stop")) == "skip";
  out.mtbf_s = fault.number_or_auto("mtbf_s", {.min = 0, .max = 1e9, .min_open = true}).value_or(0);
  fault.finish();
  return out;
}

}  // namespace dlt::config
