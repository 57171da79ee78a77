// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "observe/pulse.h"

namespace dlt::observe {

/// Passes signs of life on, and while it records also keeps them, with time and thread.
class TracePulse final : public Pulse {
 public:
  struct Note {
    double time_s = 0;  // of the monotonic clock
    std::thread::id thread;
    Mark mark;
  };
  /// Keeps at most `most` marks in its life, whatever is recorded; the rest is passed on only.
  TracePulse(Pulse& next, const Clock& clock, std::size_t most);

  void mark(const Mark& mark) noexcept override;
  void saved(SavedIn where, std::int64_t step) noexcept override { next_->saved(where, step); }

  void start() { on_.store(true, std::memory_order_relaxed); }
  /// What came since start(), in the order in which it came. Marks that another thread is just
  /// making may be missing.
  [[nodiscard]] std::vector<Note> stop();

 private:
  struct Slot {
    Note note;
    std::atomic<bool> full{false};
  };
  Pulse* next_;
  const Clock* clock_;
  std::vector<Slot> slots_;
  std::atomic<bool> on_{false};
  std::atomic<std::size_t> used_{0};
  std::size_t taken_ = 0;  // by stop()
};

}  // namespace dlt::observe
