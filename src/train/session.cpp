// SPDX-License-Identifier: Apache-2.0
#include "train/session.h"

#include <array>
#include <iomanip>
#include <optional>
#include <sstream>

#include "base/generation.h"
#include "base/private_dir.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "ddp/replica.h"
#include "train/memory_recovery.h"
#include "train/train_loop.h"

namespace dlt::train {

TrainJob::TrainJob(const Surroundings& surroundings, const TrainOptions& options)
    : around_(surroundings),
      options_(options),
      config_(read_run_config(options.config_path, options.overrides, surroundings.table,
                              surroundings.backend)) {
  around_.pulse.mark({});
  resume_ = decide_resume(config_, options.resume, around_.fs);
  around_.pulse.mark({});
  train_data_ = open_dataset(config_, *config_.train_data);
  if (config_.eval_data) eval_data_ = open_dataset(config_, *config_.eval_data);
  if (config_.init && !resume_.checkpoint) {
    init_ = load_initial_weights(*config_.init, *config_.model);
  }
  total_steps_ = total_steps(config_, train_data_->num_rows());
  finished_ = resume_.checkpoint && resume_.checkpoint->step >= total_steps_ &&
              exists(RunPaths(config_.dir).summary) && options.resume.mode == ResumeMode::automatic;
}

TrainJob::~TrainJob() = default;

std::string TrainJob::finished_text() const {
  const checkpoint::Checkpoint& last = *resume_.checkpoint;
  return cat("finished already: ", last.step, " of ", total_steps_, " steps are done\n",
             "  weights     ", checkpoint::weights_hash(last.model), "\n", "  run         ",
             config_.dir, " (summary.json has the rest)\n", "raise train.",
             config_.steps ? "steps" : "epochs", " to go on, or start anew with --overwrite\n");
}

namespace {

/// How long a rank waits for the one that wrote before it to be gone: one that is being killed by
/// its supervisor takes a moment.
constexpr double kLock_wait_s = 1, kLock_wait_supervised_s = 10;

/// The run's folder, which belongs to this job from here on. One that the job had to make goes
/// again with a job that puts nothing into it, because the ranks do not agree.
class RunFolder {
 public:
  /// Collective. errors  as of RunLock and require_newest_generation(), on all ranks
  RunFolder(const std::string& dir, const Surroundings& around, comm::Communicator& comm)
      : dir_(dir) {
    ddp::together(comm, around.host, [&] {
      if (comm.rank() != 0) return;
      made_ = !exists(dir);
      around.fs.create_directories(dir);
      lock_ = std::make_unique<RunLock>(
          dir, around.generation > 0 ? kLock_wait_supervised_s : kLock_wait_s, kLock);
      require_newest_generation(dir, around.generation);
    });
  }
  ~RunFolder() {
    constexpr std::array<std::string_view, 1> kOwn{kLock};
    if (made_ && lock_) remove_if_only(dir_, kOwn);
  }
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

 private:
  static constexpr const char* kLock = "lock";
  std::string dir_;
  bool made_ = false;
  std::unique_ptr<RunLock> lock_;
};

}  // namespace

void TrainJob::look_in_memory(comm::Communicator& comm) {
  if (around_.memory_dir.empty() || options_.resume.overwrite ||
      options_.resume.mode != ResumeMode::automatic) {
    return;
  }
  ddp::together(comm, around_.host, [&] {  // somebody else may have put anything there
    if (exists(around_.memory_dir)) make_private_directory(around_.memory_dir);
  });
  const std::int64_t there = resume_.checkpoint ? resume_.checkpoint->step : -1;
  std::optional<Recovered> found =
      recover_from_memory(comm,
                          {.memory_dir = around_.memory_dir,
                           .config_fingerprint = config_fingerprint(config_),
                           .beyond_step = there},
                          resume_.warnings);
  if (!found) return;
  require_same_config(config_, found->state.config_yaml, config_.dir);
  resume_.checkpoint = std::move(found->state);
  resume_.memory = found->place;
  resume_.clear = false;
  init_.reset();
}

RunSummary TrainJob::run(comm::Communicator& comm, const std::atomic<bool>& stop) {
  const RunFolder folder(config_.dir, around_, comm);
  look_in_memory(comm);
  TrainLoop loop(*this, comm, stop);
  return loop.run();
}

std::string summary_text(const RunSummary& summary) {
  std::ostringstream out;
  out << std::left;
  const auto row = [&](const std::string& name, const std::string& text) {
    out << "  " << std::setw(12) << name << text << "\n";
  };
  out << summary.status << "\n";
  row("steps", cat(summary.steps, " (", counted(summary.epochs, "epoch", "epochs"), ") on ",
                   counted(summary.world_size, "rank", "ranks"), ", ",
                   counted(summary.leaves, "leaf", "leaves")));
  if (!summary.train.empty()) row("train", describe(summary.train));
  if (!summary.eval.empty()) row("eval", describe(summary.eval));
  std::ostringstream speed;
  speed << std::fixed << std::setprecision(summary.samples_per_s < 100 ? 1 : 0)
        << summary.samples_per_s << " samples/s, " << std::setprecision(2) << summary.wall_s
        << " s";
  row("speed", speed.str());
  row("weights", summary.weights_hash);
  row("run", summary.dir);
  return out.str();
}

}  // namespace dlt::train
