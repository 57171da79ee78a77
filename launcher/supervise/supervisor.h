// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "config/fault_options.h"
#include "launcher/supervise/action.h"
#include "launcher/supervise/event.h"
#include "launcher/supervise/host_slots.h"

namespace dlt::supervise {

struct SupervisorOptions {
  config::FaultOptions fault;
  std::int32_t ranks = 1;        // wanted
  std::vector<HostSlots> hosts;  // where they may run, in this order
  std::int64_t saved_step = -1;  // newest checkpoint in the run's folder at the start; -1: none
  std::int64_t first_generation = 1;  // one more than RUN/generation says
  double start_s = 120;               // silence allowed before a rank's first step ...
  double checkpoint_s = 120;          // ... while it saves ...
  double eval_s = 120;                // ... and while it evaluates; hang_timeout_s if longer
  double end_s = 30;                  // from the first farewell to the job's end
  double settle_s = 0.3;              // for other evidence, after the first of a fault
  double answer_s = 1;                // for stacks, rings and host checks after a fault
  double sweep_s = 15;                // for Swept, then KillJob again; four times in all
  double stop_grace_s = 60;           // where none was told
  double host_check_s = 5;            // between two looks for hosts while too few are there ...
  double host_wait_s = 600;           // ... for so long at most
  double growth_check_s = 30;         // between two looks for hosts that may be back
};

/// How far the job is, for those that are started again.
struct Status {
  std::int64_t step = 0;        // the furthest rank's
  std::int64_t restarts = 0;    // in all
  std::int64_t steps_lost = 0;  // made again after them
  double elapsed_s = 0;         // since the first start ...
  double stepping_s = 0;        // ... of which so much in generations that made steps
};

/// Decides what becomes of a job: pure logic without a clock, threads, input or output. One history
/// of events with their times gives one history of actions.
///
/// Times are seconds of one monotonic clock and never fall from call to call. Whoever drives it
/// calls handle(now, Tick{}) when next_deadline_s() is reached; that is never more than 0.5 s away
/// while a job runs. If a call comes later than that by 0.5 s or more, dlrun itself stood still
/// (stopped, suspended, swapped out): all deadlines move by as much, so that nobody is blamed for
/// it.
class Supervisor {
 public:
  /// errors  Error(Exit::usage) if hosts hold fewer slots than fault.min_ranks or no rank is wanted
  explicit Supervisor(SupervisorOptions options);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Before any other call, once.
  [[nodiscard]] std::vector<Action> start(double now_s);
  [[nodiscard]] std::vector<Action> handle(double now_s, const Event& event);
  /// Infinite once it has ended.
  [[nodiscard]] double next_deadline_s() const;
  [[nodiscard]] Status status() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::supervise
