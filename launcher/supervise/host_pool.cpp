// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/host_pool.h"

#include <algorithm>
#include <utility>

namespace dlt::supervise {

HostPool::HostPool(std::vector<HostSlots> hosts, std::int32_t min_ranks) : min_ranks_(min_ranks) {
  for (HostSlots& host : hosts) hosts_.push_back({.slots = std::move(host)});
}

void HostPool::failed(std::string_view name) {
  for (Host& host : hosts_) {
    if (host.slots.name != name) continue;
    ++host.failures;
    host.looks = 0;
  }
}

void HostPool::looked(const std::vector<std::string>& asked, const std::vector<std::string>& up) {
  const auto in = [](const std::vector<std::string>& names, const std::string& name) {
    return std::find(names.begin(), names.end(), name) != names.end();
  };
  for (Host& host : hosts_) {
    if (!in(asked, host.slots.name)) continue;
    host.looks = in(up, host.slots.name) ? std::min(host.looks + 1, kLooks) : 0;
  }
}

bool HostPool::last_resort() const {
  std::int32_t trusted = 0;
  for (const Host& host : hosts_) {
    if (host.up() && host.trusted()) trusted += host.slots.slots;
  }
  return trusted < min_ranks_;
}

bool HostPool::usable(const Host& host) const {
  return host.up() && (host.trusted() || last_resort());
}

std::vector<HostSlots> HostPool::place(std::int32_t ranks) const {
  std::vector<HostSlots> out;
  for (const Host& host : hosts_) {
    const std::int32_t taken = usable(host) ? std::min(ranks, host.slots.slots) : 0;
    if (taken == 0) continue;
    out.push_back({.name = host.slots.name, .slots = taken});
    ranks -= taken;
  }
  return out;
}

std::int32_t HostPool::room() const {
  std::int32_t sum = 0;
  for (const Host& host : hosts_) sum += usable(host) ? host.slots.slots : 0;
  return sum;
}

std::vector<std::string> HostPool::awaited() const {
  std::vector<std::string> out;
  for (const Host& host : hosts_) {
    if (!host.up() && host.trusted()) out.push_back(host.slots.name);
  }
  return out;
}

std::vector<std::string> HostPool::names() const {
  std::vector<std::string> out;
  for (const Host& host : hosts_) out.push_back(host.slots.name);
  return out;
}

bool HostPool::left_out(std::string_view name) const {
  return std::any_of(hosts_.begin(), hosts_.end(),
                     [&](const Host& host) { return host.slots.name == name && !host.trusted(); });
}

}  // namespace dlt::supervise
