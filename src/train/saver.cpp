// SPDX-License-Identifier: Apache-2.0
#include "train/saver.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "base/text.h"
#include "ddp/replica.h"
#include "train/engine.h"
#include "train/run_dir.h"

namespace dlt::train {

Saver::Saver(const SaverParts& parts)
    : parts_(parts),
      store_(parts.around.fs, RunPaths(parts.config.dir).checkpoints,
             parts.config.checkpoint_keep) {}

bool Saver::due(std::int64_t steps_done) const {
  const std::int64_t every = parts_.config.checkpoint_every_steps;
  return every > 0 && steps_done % every == 0;
}

void Saver::save(Trainer& trainer, std::int64_t steps_done) {
  trainer.settle();
  ModelState& state = parts_.state;
  ddp::require_equal_replicas(parts_.comm, parts_.around.host, steps_done, state.replica_hash());
  const std::string bad = state.first_nonfinite();
  if (!bad.empty()) {
    throw Error(
        Exit::numerics,
        cat("step ", steps_done, ": parameter '", bad,
            "' is not finite; no checkpoint was written"),
        "lower optimizer.learning_rate or set train.clip_norm; the last checkpoint is good");
  }
  saved_step_ = steps_done;
  trainer.gather_state();
  std::vector<float*> states = state.states();
  std::vector<tensor::Storage> gathered;
  if (parts_.plan.shards) {
    gathered = gather_states(parts_.comm, *parts_.plan.shards, state.states());
    states.clear();
    for (const auto& one : gathered) states.push_back(reinterpret_cast<float*>(one.data()));
  }
  if (root()) write(steps_done, states);
}

void Saver::write(std::int64_t steps_done, const std::vector<float*>& whole_states) {
  const std::int64_t per_epoch = steps_per_epoch(parts_.config, parts_.num_rows);
  checkpoint::Checkpoint checkpoint;
  checkpoint.step = steps_done;
  checkpoint.epoch = steps_done / per_epoch;
  checkpoint.epoch_samples =
      std::min((steps_done % per_epoch) * parts_.config.global_batch_size, parts_.num_rows);
  checkpoint.leaves = parts_.num_leaves;
  checkpoint.config_fingerprint = config_fingerprint(parts_.config);
  checkpoint.config_yaml = resolved_yaml(parts_.config);
  parts_.state.complete_average(steps_done);
  parts_.state.save(checkpoint, whole_states);
  const Clock& clock = parts_.around.clock;
  const double before = clock.monotonic_s();
  parts_.log.event("ckpt_begin", {{"step", steps_done}});
  problem_.clear();
  try {
    const checkpoint::CommitResult result = store_.commit(checkpoint);
    const double ms = (clock.monotonic_s() - before) * 1e3;
    for (const std::string& warning : result.warnings) parts_.log.line(cat("warning: ", warning));
    parts_.log.event(
        "ckpt_commit",
        {{"step", steps_done}, {"bytes", result.num_bytes}, {"stall_ms", ms}, {"persist_ms", ms}});
  } catch (const Error& error) {
    // A full disk must not end a run that could still be saved later; only the last save decides.
    problem_ = error.what();
    const bool full = problem_.find("not enough room") != std::string::npos ||
                      problem_.find(std::strerror(ENOSPC)) != std::string::npos;
    parts_.log.event("fault", {{"kind", std::string(full ? "disk_full" : "io")},
                               {"rank", std::int64_t{0}},
                               {"step", steps_done}});
    parts_.log.line(
        cat("warning: the checkpoint of step ", steps_done, " was not written: ", error.what()));
  }
}

void Saver::require_saved() {
  std::int32_t unsaved = problem_.empty() ? 0 : 1;
  parts_.comm.broadcast(&unsaved, sizeof unsaved, 0);
  if (unsaved == 0) return;
  ddp::agree_on_failure(
      parts_.comm, parts_.around.host,
      root() ? std::optional<Error>(
                   Error(Exit::io, cat("the final checkpoint could not be written: ", problem_)))
             : std::nullopt);
}

}  // namespace dlt::train
