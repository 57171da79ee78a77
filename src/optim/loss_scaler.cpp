// SPDX-License-Identifier: Apache-2.0
#include "optim/loss_scaler.h"

#include <algorithm>

namespace dlt::optim {

void LossScaler::note_good() {
  if (++good_steps < kGood_steps) return;
  good_steps = 0;
  scale = std::min(scale * 2, kMost);
}

bool LossScaler::note_overflow() {
  good_steps = 0;
  if (scale <= kLeast) return false;
  scale = std::max(scale / 2, kLeast);
  return true;
}

}  // namespace dlt::optim
