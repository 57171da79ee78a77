// SPDX-License-Identifier: Apache-2.0
// A small job for tests of train: data in a temporary folder, a config text, ranks as threads.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "support/temp_folder.h"
#include "train/session.h"

namespace dlt::train_test {

using test::TempFolder;

struct JobFiles {
  std::string config;
  std::string run_dir;
};

/// Writes data.h5 (`rows` rows of 6 numbers, labels of 3 classes; as many rows to evaluate on) and
/// a config of a small network with dropout: 10 samples a batch, 6 leaves, 3 epochs, a checkpoint
/// every 4 steps.
/// edit: changes the training rows before they are written.
using EditRows = std::function<void(std::vector<float>& x, std::vector<std::int32_t>& y)>;
[[nodiscard]] JobFiles write_small_job(const TempFolder& folder, std::int64_t rows,
                                       const EditRows& edit = {});

struct JobRun {
  int ranks = 1;
  std::vector<std::string> overrides;
  train::ResumeOptions resume;
  std::int64_t interrupt_at_step =
      -1;                    // ask rank 0 to stop once this many steps are logged (-1: never)
  bool stop_wanted = false;  // from the start, as a signal would
  std::function<std::unique_ptr<Clock>(int rank)> clock = {};  // instead of the system's
  std::vector<int> host_of = {};                               // each rank's; empty: all on one
  std::vector<std::int64_t> skip_steps = {};                   // as Surroundings'
  int skip_on_rank = -1;                                       // on this one alone; -1: on all
  std::function<std::unique_ptr<Fs>(int rank)> fs = {};        // instead of the system's
  std::function<std::string(int rank)> memory_dir = {};        // as under a supervisor
  std::int64_t generation = 0;
  std::function<std::unique_ptr<train::Devices>(int rank, tensor::Backend& host)> devices =
      {};  // instead of the host alone
};

/// A clock of a rank that takes `tick_s` for whatever it does between two looks at the time.
[[nodiscard]] std::unique_ptr<Clock> make_ticking_clock(double tick_s);

/// Runs the job on ranks that are threads of this process, as `dltrain` would under mpirun.
[[nodiscard]] train::RunSummary run_job(const JobFiles& files, const JobRun& run);

}  // namespace dlt::train_test
