// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace dlt::supervise {

/// A host and how many ranks it takes.
struct HostSlots {
  std::string name;
  std::int32_t slots = 0;
};

}  // namespace dlt::supervise
