// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/own_pauses.h"

namespace dlt::supervise {

double OwnPauses::advance(double now_s) {
  const double late_s = now_s - promised_s_;
  if (late_s >= kLookEvery_s) {
    total_s_ += late_s;
    return promised_own_s_;
  }
  // What was due at the promised time is due now, whatever the sums of times round to.
  const double own_s = now_s - total_s_;
  return late_s >= 0 && own_s < promised_own_s_ ? promised_own_s_ : own_s;
}

void OwnPauses::promise(double own_s) {
  promised_own_s_ = own_s;
  promised_s_ = own_s + total_s_;
}

}  // namespace dlt::supervise
