// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/phase_times.h"

#include <algorithm>

namespace dlt::supervise {

using observe::Phase;

PhaseTimes::Kind PhaseTimes::kind(Phase phase) {
  switch (phase) {
    case Phase::start:
      return start;
    case Phase::data:
    case Phase::forward:
    case Phase::backward:
    case Phase::reduce:
    case Phase::update:
      return step;
    case Phase::checkpoint:
      return checkpoint;
    case Phase::eval:
      return eval;
    case Phase::end:
      return end;
  }
  return step;
}

void PhaseTimes::seen(Phase phase, double silence_s) {
  const Kind k = kind(phase);
  longest_s_[k] = std::max(longest_s_[k], silence_s);
  if (k == step) ++num_step_silences_;
}

double PhaseTimes::allowed_s(Phase phase) const {
  const Kind k = kind(phase);
  const double learnt_s = kElsewhereFactor * longest_s_[k];
  const auto elsewhere = [&](double s) { return std::max({s, allowances_.step_s, learnt_s}); };
  switch (k) {
    case start:
      return elsewhere(allowances_.start_s);
    case checkpoint:
      return elsewhere(allowances_.checkpoint_s);
    case eval:
      return elsewhere(allowances_.eval_s);
    case end:
      return elsewhere(allowances_.end_s);
    case step:
    case num_kinds:
      break;
  }
  if (cautious_ || num_step_silences_ < kEnough) return allowances_.step_s;
  const double adapted_s = kStepFactor * longest_s_[step] + 2 * allowances_.heartbeat_s;
  return std::min(allowances_.step_s, std::max(kStepFloor_s, adapted_s));
}

}  // namespace dlt::supervise
