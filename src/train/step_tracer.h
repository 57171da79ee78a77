// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/fs.h"
#include "observe/pulse.h"
#include "observe/trace.h"
#include "observe/trace_pulse.h"
#include "train/trainer.h"

namespace dlt::train {

struct StepTracerOptions {
  std::string dir;  // of the run
  int rank = 0;
  std::string host;
  std::int64_t first_step = 0;  // steps done when this process began
  std::int64_t num_steps = 0;   // log.trace_steps
  Fs& fs;
  const Clock& clock;
};

/// Where the time of a run's first steps goes: the phases of each thread and the buckets of this
/// rank, written to RUN/logs/trace-03.json once all steps are there. The first two steps of a
/// process are none of them: they still allocate and tune.
class StepTracer {
 public:
  /// next: what the marks are passed on to.
  StepTracer(const StepTracerOptions& options, observe::Pulse& next);
  /// For the code whose steps are traced.
  [[nodiscard]] observe::Pulse& pulse() { return pulse_; }
  /// By the thread that makes the steps.
  /// Returns whether it is traced.
  bool begin(std::int64_t step);
  /// The step is made. Returns whether it was the last one to be traced.
  [[nodiscard]] bool end(const StepReport& report);
  /// What is there and was not written yet. errors  Error(Exit::io)
  void write();

 private:
  using Notes = std::vector<observe::TracePulse::Note>;
  [[nodiscard]] bool wanted(std::int64_t step) const;
  void add_threads(const Notes& notes, double end_s);
  void add_buckets(const StepReport& report);
  void add_kernels(const StepReport& report);
  [[nodiscard]] observe::Trace::Lane& lane_of(const observe::TracePulse::Note& note);

  StepTracerOptions options_;
  observe::TracePulse pulse_;
  observe::Trace trace_;
  std::map<std::thread::id, std::size_t> lanes_;
  std::vector<std::size_t> kernel_lanes_;  // by worker
  double begin_s_ = 0;
  bool to_write_ = false;
};

}  // namespace dlt::train
