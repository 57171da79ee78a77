// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace dlt::observe {

/// What a rank is doing, in the order of a step.
enum class Phase : std::uint8_t {
  start,       // reading, connecting, building; until the first step begins
  data,        // waiting for a leaf's samples
  forward,     // a leaf's forward pass
  backward,    // a leaf's backward pass
  reduce,      // waiting for other ranks' gradients or for the step's control word
  update,      // the optimiser
  checkpoint,  // saving, as far as the step waits for it
  eval,        // evaluation
  end          // the run's work is done: summary, farewell
};
inline constexpr std::array<std::string_view, 9> kPhaseNames{
    "start", "data", "forward", "backward", "reduce", "update", "checkpoint", "eval", "end"};
[[nodiscard]] constexpr std::string_view name(Phase phase) {
  return kPhaseNames[static_cast<std::size_t>(phase)];
}

/// A sign of life, made by the code that does the work. -1: does not apply.
struct Mark {
  Phase phase = Phase::start;
  std::int64_t step = 0;     // steps done before the one at hand
  std::int32_t bucket = -1;  // gradients that are waited for
  std::int32_t leaf = -1;
  std::int64_t row = -1;  // of the training file: the first of the leaf at hand
};

/// Where a state lies that the run can go on from.
enum class SavedIn : std::uint8_t { memory, disk };

/// Where a rank's signs of life go. Any thread; costs tens of nanoseconds, never waits, never
/// throws. The one of a rank without a supervisor does nothing.
class Pulse {
 public:
  Pulse() = default;
  virtual ~Pulse() = default;
  Pulse(const Pulse&) = delete;
  Pulse& operator=(const Pulse&) = delete;
  virtual void mark(const Mark& mark) noexcept { (void)mark; }
  /// The state after this many steps is complete and verified as far as this rank is concerned.
  virtual void saved(SavedIn where, std::int64_t step) noexcept { (void)where, (void)step; }
};

/// A pulse that does nothing, for whoever has no supervisor.
[[nodiscard]] Pulse& silent_pulse();

}  // namespace dlt::observe
