// SPDX-License-Identifier: Apache-2.0
#include "observe/trace_pulse.h"

#include <algorithm>

namespace dlt::observe {

TracePulse::TracePulse(Pulse& next, const Clock& clock, std::size_t most)
    : next_(&next), clock_(&clock), slots_(most) {}

void TracePulse::mark(const Mark& mark) noexcept {
  next_->mark(mark);
  if (!on_.load(std::memory_order_relaxed)) return;
  const std::size_t mine = used_.fetch_add(1, std::memory_order_relaxed);
  if (mine >= slots_.size()) return;
  Slot& slot = slots_[mine];
  slot.note = {clock_->monotonic_s(), std::this_thread::get_id(), mark};
  slot.full.store(true, std::memory_order_release);  // stop() may look while others still mark
}

std::vector<TracePulse::Note> TracePulse::stop() {
  on_.store(false, std::memory_order_relaxed);
  const std::size_t end = std::min(used_.load(std::memory_order_relaxed), slots_.size());
  std::vector<Note> notes;
  for (; taken_ < end; ++taken_) {
    if (slots_[taken_].full.load(std::memory_order_acquire)) notes.push_back(slots_[taken_].note);
  }
  return notes;
}

}  // namespace dlt::observe
