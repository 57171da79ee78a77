// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/own_pauses.h"

namespace dlt::supervise {

double OwnPauses::advance(double now_s) {
  const double late_s = now_s - promised_s_;
  if (late_s >= kLookEvery_s) {
    total_s_ += late_s;
    promised_s_ = now_s;
  }
  return now_s - total_s_;
}

double OwnPauses::promise(double own_s) {
  promised_s_ = own_s + total_s_;
  return promised_s_;
}

}  // namespace dlt::supervise
