// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <fstream>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "observe/events.h"
#include "observe/progress.h"
#include "observe/tensorboard.h"
#include "train/trainer.h"

namespace dlt::train {

struct RunLogOptions {
  std::string dir;
  int rank = 0;
  std::int64_t generation = 0;
  bool tensorboard = true;
  observe::ProgressStyle progress = observe::ProgressStyle::plain;
};

/// RUN/logs/stack-03.txt: what a rank's threads were doing when somebody asked.
[[nodiscard]] std::string stack_file(const std::string& run_dir, int rank);
/// RUN/logs/trace-03.json: where the time of a rank's first steps went.
[[nodiscard]] std::string trace_file(const std::string& run_dir, int rank);

/// All that a run says about itself: events.jsonl, TensorBoard and the progress line on rank 0,
/// logs/rank-NN.log on every rank. On other ranks all but note() does nothing.
class RunLog {
 public:
  RunLog(const RunLogOptions& options, const Clock& clock);
  void event(std::string_view name, const observe::Fields& fields);
  /// gpu: more numbers about the step, of this rank's GPU.
  void step(const StepReport& report, const SumLayout& sums, double samples_per_s,
            const observe::Fields& gpu);
  void progress(const observe::ProgressState& state) { progress_.update(state); }
  void evaluation(std::int64_t step, const MetricValues& values, const MetricTables& tables);
  /// A line for people: to stderr on rank 0, and to this rank's log.
  void line(const std::string& text);
  /// A line for this rank's log alone.
  void note(const std::string& text);
  void finish();

 private:
  bool root_;
  const Clock* clock_;
  double start_s_;
  observe::Progress progress_;
  std::unique_ptr<observe::EventLog> events_;
  std::unique_ptr<observe::TensorBoardLog> tensorboard_;
  std::ofstream log_;
};

/// "loss 0.0312  accuracy 0.9722"
[[nodiscard]] std::string describe(const MetricValues& values);

}  // namespace dlt::train
