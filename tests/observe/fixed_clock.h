// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.h"

namespace dlt::observe::test {

/// A clock that stands still until a test moves it.
class FixedClock final : public Clock {
 public:
  [[nodiscard]] double monotonic_s() const override { return now_s; }
  [[nodiscard]] double wall_s() const override { return 1700000000.25 + now_s; }
  void sleep_s(double seconds) override { now_s += seconds; }
  double now_s = 5;
};

}  // namespace dlt::observe::test
