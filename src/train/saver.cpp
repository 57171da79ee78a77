// SPDX-License-Identifier: Apache-2.0
#include "train/saver.h"

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/generation.h"
#include "base/kill_point.h"
#include "base/text.h"
#include "ddp/replica.h"
#include "train/engine.h"
#include "train/run_dir.h"

namespace dlt::train {
namespace {

/// Longest time a checkpoint may take to be written, once nothing else is to be done.
constexpr double kLongest_write_s = 600;
/// How often ranks that wait for their disks tell each other that they still do.
constexpr double kPoll_s = 1;
/// How many saves ahead there should be room for.
constexpr int kSaves_ahead = 5;

// SaveWord::failed: which kind, and on which rank.
constexpr std::int64_t kInput_output = 1, kDisk_full = 2;
std::int64_t failure_code(std::int64_t kind, int rank) { return (kind << 32) | rank; }
std::int64_t code_kind(std::int64_t code) { return code >> 32; }
std::int64_t rank_of(std::int64_t code) { return code & 0xffffffff; }

std::int64_t kind_of_problem(const std::string& text) {
  const auto says = [&](const std::string& sign) { return text.find(sign) != std::string::npos; };
  const bool full = says("not enough room") || says(std::system_category().message(ENOSPC)) ||
                    says(std::system_category().message(EDQUOT));
  return full ? kDisk_full : kInput_output;
}

checkpoint::RetentionRule retention_rule(const RunConfig& config) {
  return {.keep = config.checkpoint.keep, .keep_every = config.checkpoint.keep_every};
}

checkpoint::StoreOptions store_options(const SaverParts& parts) {
  return {.retention = retention_rule(parts.config),
          .generation = parts.around.generation,
          .fence = [dir = parts.config.dir, generation = parts.around.generation] {
            require_newest_generation(dir, generation);
          }};
}

SaveClockOptions clock_options(const SaverParts& parts) {
  const CheckpointOptions& options = parts.config.checkpoint;
  SaveClockOptions out{.every_s = options.every_s, .automatic = options.automatic};
  out.mtbf_s = parts.config.fault.mtbf_s;
  if (options.automatic && out.mtbf_s <= 0) {
    const double age_s =
        parts.around.clock.wall_s() - first_start_wall_s(RunPaths(parts.config.dir).events);
    out.mtbf_s = observed_mtbf_s(age_s, parts.around.generation - 1);
  }
  return out;
}

/// What the ranks tell each other where no step carries it.
struct Message {
  ddp::SaveWord word;
  std::uint64_t weights_hash = 0;
};

}  // namespace

struct Saver::Job {
  std::int64_t step = 0;
  ShareCopy share;
  std::uint64_t checksum = 0;
  // Of rank 0, all but the draft once it is published.
  checkpoint::Draft draft;
  checkpoint::CommitResult result;
  std::vector<std::int64_t> there;  // steps of the run's checkpoints
  std::uint64_t free_bytes = 0;
};

Saver::Saver(const SaverParts& parts)
    : parts_(parts),
      store_(std::make_shared<checkpoint::Store>(
          parts.around.fs, RunPaths(parts.config.dir).checkpoints, store_options(parts))),
      job_(std::make_shared<Job>()),
      calls_(parts.comm),
      save_clock_(clock_options(parts), parts.around.clock.monotonic_s()),
      fingerprint_(config_fingerprint(parts.config)),
      config_yaml_(resolved_yaml(parts.config)),
      saved_step_(parts.saved_step),
      last_fit_(kSaves_ahead) {
  double best_value = 0;
  std::int64_t best_step = -1;
  if (root()) {
    std::vector<std::string> warnings;
    store_->clean_up(warnings);
    for (const std::string& warning : warnings) parts_.log.line(cat("warning: ", warning));
    const auto best = checkpoint::read_best(RunPaths(parts_.config.dir).checkpoints);
    const auto& rule = parts_.config.checkpoint.best;
    if (best && rule && best->metric == rule->metric && exists(store_->path_of(best->step))) {
      best_step = best->step;
      best_value = best->value;
    }
  }
  open_snapshots();
  if (!wants_evaluations()) return;
  parts_.comm.broadcast(&best_step, sizeof best_step, 0);
  parts_.comm.broadcast(&best_value, sizeof best_value, 0);
  if (best_step < 0) return;
  best_ = {.step = best_step, .metric = parts_.config.checkpoint.best->metric, .value = best_value};
}

void Saver::prepare(const Trainer& trainer) {
  const CheckpointOptions& options = parts_.config.checkpoint;
  if (options.every_steps == 0 && !options.automatic && options.every_s <= 0 && !options.best) {
    return;
  }
  job_->share.reserve(own_share(*state_files(source_of(trainer), 0)));
}

void Saver::open_snapshots() {
  if (parts_.around.memory_dir.empty()) return;
  MemorySnapshotOptions options{.memory_dir = parts_.around.memory_dir,
                                .rank = parts_.comm.rank(),
                                .host_ranks = comm::ranks_of_host(parts_.comm),
                                .every_steps = parts_.config.checkpoint.ram_every_steps,
                                .before = parts_.snapshot};
  snapshots_.emplace(std::move(options), parts_.around.clock);
  warn_of_snapshots();
  part_facts_ = {.generation = parts_.around.generation,
                 .world_size = parts_.comm.world_size(),
                 .leaves = parts_.num_leaves,
                 .config_fingerprint = fingerprint_,
                 .config_yaml = config_yaml_};
}

void Saver::snapshot(Trainer& trainer, std::int64_t steps_done) {
  if (!snapshots_ || !snapshots_->due(steps_done)) return;
  if (steps_done % parts_.config.sync_every != 0) return;
  const double began_s = now_s();
  trainer.fetch();
  StateSource source = source_of(trainer);
  source.settled = Settled::no;
  if (parts_.state.averaging().active()) {
    trainer.settle();  // an average is made complete from parameters of every rank
    parts_.state.complete_average(steps_done);
    source.settled = Settled::yes;
  }
  const auto files = state_files(source, steps_done);
  checkpoint::PartFacts facts = part_facts_;
  const checkpoint::Manifest position = position_of(steps_done);
  facts.step = steps_done;
  facts.epoch = position.epoch;
  facts.epoch_samples = position.epoch_samples;
  facts.num_bytes = files->num_bytes;
  if (snapshots_->take(*files, facts, began_s)) {
    parts_.around.pulse.saved(observe::SavedIn::memory, steps_done);
  }
  warn_of_snapshots();
}

void Saver::warn_of_snapshots() {
  const std::string problem = snapshots_->take_problem();
  if (!problem.empty()) parts_.log.line(cat("warning: ", problem));
}

ddp::SaveWord Saver::word() {
  ddp::SaveWord out;
  if (stage_ != Stage::idle && writer_.idle()) collect();
  out.writing = stage_ == Stage::writing && !collected_ ? 1 : 0;
  out.checksum = stage_ == Stage::writing && collected_ ? job_->checksum : 0;
  out.failed = failed_;
  out.published = published_;
  out.due = root() && save_clock_.due(now_s()) ? 1 : 0;
  if (snapshots_) snapshots_->say(out);
  return out;
}

/// What the thread has come to.
void Saver::collect() {
  if (collected_) return;
  collected_ = true;
  try {
    writer_.rethrow();
    if (stage_ == Stage::publishing && root()) ++published_;
  } catch (const Error& error) {
    if (error.exit() != Exit::io) throw;
    write_failed(error);
  }
}

void Saver::write_failed(const Error& error) {
  own_problem_ = error.what();
  failed_ = failure_code(kind_of_problem(own_problem_), parts_.comm.rank());
  parts_.log.note(cat("step ", job_->step, ": ", own_problem_));
}

void Saver::note(const ddp::SaveWord& all, double step_s) {
  if (snapshots_) snapshots_->note(all, step_s);
  follow(all);
}

/// From one stage of a save to the next, on all ranks alike.
void Saver::follow(const ddp::SaveWord& all) {
  compared_ = true;  // the step that brought this word would have failed
  clock_due_ = clock_due_ || all.due != 0;
  switch (stage_) {
    case Stage::idle:
      return;
    case Stage::writing:
      if (all.writing != 0) return;
      if (all.failed != 0) return end_failed(all.failed);
      stage_ = Stage::publishing;
      if (root()) start_publishing(all.checksum);
      return;
    case Stage::publishing:
      if (all.failed != 0) return end_failed(all.failed);
      if (root() ? collected_ : all.published > published_) end_published();
      return;
  }
}

void Saver::end_failed(std::int64_t code) {
  stage_ = Stage::idle;
  const bool full = code_kind(code) == kDisk_full;
  problem_ = rank_of(code) == parts_.comm.rank()
                 ? own_problem_
                 : cat("rank ", rank_of(code),
                       " could not write its part: ", full ? "no space left" : "input/output error",
                       "; its log has the rest");
  if (!root()) return;
  store_->discard(job_->step);
  parts_.log.event("fault", {{"kind", std::string(full ? "disk_full" : "io")},
                             {"rank", rank_of(code)},
                             {"step", job_->step}});
  // A full disk must not end a run that could still be saved later; only the last save decides.
  parts_.log.line(
      cat("warning: the checkpoint of step ", job_->step, " was not written: ", problem_));
}

void Saver::end_published() {
  stage_ = Stage::idle;
  if (!root()) ++published_;
  parts_.around.pulse.saved(observe::SavedIn::disk, job_->step);
  if (!root()) return;
  const double persist_s = now_s() - began_s_;
  save_clock_.measured(stall_s_, persist_s);
  for (const std::string& warning : job_->result.warnings) {
    parts_.log.line(cat("warning: ", warning));
  }
  parts_.log.event("ckpt_commit", {{"step", job_->step},
                                   {"bytes", job_->result.num_bytes},
                                   {"stall_ms", stall_s_ * 1e3},
                                   {"persist_ms", persist_s * 1e3}});
  warn_of_space(*job_);
}

/// Before it happens, and once for each loss of room.
void Saver::warn_of_space(const Job& job) {
  if (save_interval_ <= 0 || job.free_bytes == 0) return;
  checkpoint::RetentionRule rule = retention_rule(parts_.config);
  if (best_) rule.best = best_->step;
  const int fit = checkpoint::saves_that_fit({.there = job.there,
                                              .every_steps = save_interval_,
                                              .checkpoint_bytes = job.result.num_bytes,
                                              .free_bytes = job.free_bytes,
                                              .horizon = kSaves_ahead},
                                             rule);
  if (fit < last_fit_) {
    parts_.log.line(cat("warning: room for ", counted(fit, "more checkpoint", "more checkpoints"),
                        " of ", job.result.num_bytes, " bytes: ", job.free_bytes,
                        " bytes are free; free some space, or lower checkpoint.keep"));
  }
  last_fit_ = fit;
}

bool Saver::due(std::int64_t steps_done) const {
  const std::int64_t every = parts_.config.checkpoint.every_steps;
  if ((every > 0 && steps_done % every == 0) || best_due_) return true;
  // Where ranks update by themselves the clock must not decide when they are made equal.
  return clock_due_ && steps_done % parts_.config.sync_every == 0;
}

void Saver::evaluated(std::int64_t steps_done, const MetricValues& values) {
  const auto& rule = parts_.config.checkpoint.best;
  if (!rule) return;
  for (const auto& [name, value] : values) {
    if (name != rule->metric || value != value) continue;
    if (best_ && (best_->step == steps_done || !rule->better(value, best_->value))) continue;
    best_ = {.step = steps_done, .metric = name, .value = value};
    best_due_ = true;
  }
}

/// Where in the data the run is.
checkpoint::Manifest Saver::position_of(std::int64_t steps_done) const {
  const std::int64_t per_epoch = steps_per_epoch(parts_.config, parts_.num_rows);
  checkpoint::Manifest out;
  out.step = steps_done;
  out.epoch = steps_done / per_epoch;
  out.epoch_samples =
      std::min((steps_done % per_epoch) * parts_.config.global_batch_size, parts_.num_rows);
  out.leaves = parts_.num_leaves;
  return out;
}

StateSource Saver::source_of(const Trainer& trainer) const {
  return {.state = parts_.state,
          .plan = parts_.plan,
          .division = trainer.leaf_division(),
          .reduction = trainer.reduction_state(),
          .rank = parts_.comm.rank(),
          .world_size = parts_.comm.world_size()};
}

checkpoint::Draft Saver::draft_of(const StateFiles& files, std::int64_t steps_done) const {
  checkpoint::Draft draft;
  draft.manifest = position_of(steps_done);
  draft.manifest.config_fingerprint = fingerprint_;
  draft.manifest.config_yaml = config_yaml_;
  draft.model_header = files.headers[0];
  draft.num_bytes = files.num_bytes;
  for (const StateFiles::Piece& piece : files.pieces) draft.extents.push_back(piece.at);
  if (best_due_) draft.best = best_;
  return draft;
}

void Saver::save(Trainer& trainer, std::int64_t steps_done) {
  const double began_s = now_s();
  parts_.around.pulse.mark({.phase = observe::Phase::checkpoint, .step = steps_done});
  trainer.settle();
  if (stage_ != Stage::idle) finish();
  const std::string bad = parts_.state.first_nonfinite();
  if (!bad.empty()) {
    throw Error(
        Exit::numerics,
        cat("step ", steps_done, ": parameter '", bad,
            "' is not finite; no checkpoint was written"),
        "lower optimizer.learning_rate or set train.clip_norm; the last checkpoint is good");
  }
  DLT_KILL_POINT(share_before_copy);
  parts_.state.complete_average(steps_done);
  const auto files = state_files(source_of(trainer), steps_done);
  start_writing(*files, steps_done);
  began_s_ = began_s;
  stall_s_ = now_s() - began_s;
}

std::vector<checkpoint::Stretch> Saver::own_share(const StateFiles& files) const {
  return share_of(files, parts_.comm.rank(),
                  {.index = parts_.comm.rank(), .count = parts_.comm.world_size()});
}

void Saver::start_writing(const StateFiles& files, std::int64_t steps_done) {
  Job& job = *job_;
  job.step = steps_done;
  job.checksum = 0;
  job.share.take(own_share(files));
  DLT_KILL_POINT(share_after_copy);
  if (root()) job.draft = draft_of(files, steps_done);
  best_due_ = clock_due_ = false;
  if (saved_step_ >= 0) save_interval_ = steps_done - saved_step_;
  saved_step_ = steps_done;
  stage_ = Stage::writing;
  compared_ = collected_ = false;
  failed_ = 0;
  problem_.clear();
  own_problem_.clear();
  save_clock_.saved(now_s());
  parts_.log.event("ckpt_begin", {{"step", steps_done}});
  if (!root() && job.share.stretches().empty()) {
    collected_ = true;
    return;
  }
  writer_.start([store = store_, shared = job_, is_root = root(),
                 total = files.num_bytes[0] + files.num_bytes[1]] {
    if (is_root) store->begin(shared->step, total);
    store->write_share(shared->step, shared->share.stretches());
    for (const auto& stretch : shared->share.stretches()) {
      shared->checksum += checkpoint::checksum(stretch);
    }
    DLT_KILL_POINT(share_after_write);
  });
}

void Saver::start_publishing(std::uint64_t checksum) {
  collected_ = false;
  job_->draft.checksum = checksum;
  writer_.start([store = store_, shared = job_] {
    DLT_KILL_POINT(publish_before);
    shared->result = store->publish(shared->draft);
    DLT_KILL_POINT(publish_after);
    shared->there = store->steps();
    shared->free_bytes = store->free_bytes();
  });
}

ddp::SaveWord Saver::exchange(const ddp::SaveWord& mine) {
  Message message{.word = mine};
  if (!compared_) message.weights_hash = parts_.state.replica_hash();
  std::vector<Message> all(static_cast<std::size_t>(parts_.comm.world_size()));
  calls_.allgather(&message, all.data(), sizeof message,
                   cat("the other ranks' parts of the checkpoint of step ", job_->step),
                   parts_.config.fault.hang_timeout_s + kPoll_s);
  ddp::SaveWord out;
  bool differ = false;
  for (const Message& one : all) {
    out.combine(one.word);
    differ = differ || one.weights_hash != message.weights_hash;
  }
  if (differ) {
    ddp::require_equal_replicas(parts_.comm, parts_.around.host, job_->step, message.weights_hash);
  }
  return out;
}

void Saver::finish() {
  const double deadline_s = now_s() + kLongest_write_s;
  while (stage_ != Stage::idle) {
    parts_.around.pulse.mark({.phase = observe::Phase::checkpoint, .step = job_->step});
    if (!writer_.wait(kPoll_s) && now_s() > deadline_s) {
      throw Error(
          Exit::io,
          cat("checkpoint of step ", job_->step, ": not written within ", kLongest_write_s, " s"),
          "does the file system of run.dir answer?");
    }
    follow(exchange(word()));
  }
}

void Saver::require_saved() const {
  if (problem_.empty()) return;
  throw Error(Exit::io, cat("the final checkpoint could not be written: ", problem_));
}

}  // namespace dlt::train
