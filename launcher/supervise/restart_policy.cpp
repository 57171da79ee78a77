// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/restart_policy.h"

#include <algorithm>
#include <cmath>

namespace dlt::supervise {
namespace {

/// A fault of what the step computes, not of the machines or of how the job starts and ends.
bool of_the_step(const Fault& fault) {
  const bool own = fault.kind == FaultKind::death || fault.kind == FaultKind::hang ||
                   fault.kind == FaultKind::out_of_memory;
  return own && fault.rank >= 0 && fault.marked && fault.mark.phase != observe::Phase::start &&
         fault.mark.phase != observe::Phase::end;
}

}  // namespace

bool RestartPolicy::repeats(const Fault& fault) const {
  return last_ && of_the_step(*last_) && of_the_step(fault) && last_->rank == fault.rank &&
         last_->mark.step == fault.mark.step;
}

RestartPolicy::Choice RestartPolicy::choose(const Fault& fault, const Progress& progress) {
  const bool progressed = progress.committed_step > before_.committed_step ||
                          progress.furthest_step > before_.furthest_step;
  before_.committed_step = std::max(before_.committed_step, progress.committed_step);
  before_.furthest_step = std::max(before_.furthest_step, progress.furthest_step);
  without_progress_ = progressed ? 0 : without_progress_ + 1;

  Choice choice;
  choice.crash_loop = !progressed && repeats(fault);
  last_ = fault;
  choice.restart = fault_.max_restarts > 0 && without_progress_ <= fault_.max_restarts;
  if (choice.crash_loop) {
    const std::int64_t step = fault.mark.step;
    const auto at = std::lower_bound(skip_steps_.begin(), skip_steps_.end(), step);
    const bool skipped = at != skip_steps_.end() && *at == step;
    if (fault_.skip_poison && !skipped) {
      choice.skip_step = step;
      skip_steps_.insert(at, step);
    } else {
      choice.restart = false;
    }
  }
  if (!progressed) {
    const double doublings = static_cast<double>(std::min<std::int64_t>(without_progress_ - 1, 30));
    choice.backoff_s = std::min(fault_.backoff_s * std::exp2(doublings),
                                std::max(kLongestBackoff_s, fault_.backoff_s));
  }
  return choice;
}

}  // namespace dlt::supervise
