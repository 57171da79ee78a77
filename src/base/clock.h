// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dlt {

/// Time, replaceable in tests. Deadlines use monotonic time only.
class Clock {
 public:
  virtual ~Clock() = default;
  /// Seconds since an arbitrary start; never goes back.
  [[nodiscard]] virtual double monotonic_s() const = 0;
  /// Seconds since 1970, for people to read.
  [[nodiscard]] virtual double wall_s() const = 0;
  virtual void sleep_s(double seconds) = 0;
};

class SystemClock final : public Clock {
 public:
  [[nodiscard]] double monotonic_s() const override;
  [[nodiscard]] double wall_s() const override;
  void sleep_s(double seconds) override;
};

}  // namespace dlt
