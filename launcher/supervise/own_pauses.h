// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <limits>

namespace dlt::supervise {

/// The supervision's own time: it stands still while dlrun does (SIGSTOP, a suspended machine, a
/// disk that holds up its log), so that silence that nobody could hear counts for nothing.
class OwnPauses {
 public:
  static constexpr double kLookEvery_s = 0.5;

  /// The supervision's time at now_s. Later than was promised by kLookEvery_s or more: a pause.
  [[nodiscard]] double advance(double now_s);
  /// Promises to be back by own_s of the supervision's time.
  void promise(double own_s);
  /// The same as now_s counts.
  [[nodiscard]] double promised_s() const { return promised_s_; }
  [[nodiscard]] double total_s() const { return total_s_; }

 private:
  double total_s_ = 0;
  double promised_s_ = std::numeric_limits<double>::infinity();
  double promised_own_s_ = promised_s_;
};

}  // namespace dlt::supervise
