// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/background.h"
#include "checkpoint/best.h"
#include "checkpoint/store.h"
#include "comm/communicator.h"
#include "ddp/save_word.h"
#include "ddp/timed_calls.h"
#include "train/comm_plan.h"
#include "train/memory_snapshots.h"
#include "train/model_state.h"
#include "train/run_log.h"
#include "train/save_clock.h"
#include "train/session.h"
#include "train/state_files.h"
#include "train/trainer.h"

namespace dlt::train {

/// What saving uses of a run; everything must outlive the saver.
struct SaverParts {
  const RunConfig& config;
  const Surroundings& around;
  comm::Communicator& comm;
  const CommPlan& plan;
  ModelState& state;
  RunLog& log;
  int num_leaves = 1;
  std::int64_t num_rows = 0;     // of the training data
  std::int64_t saved_step = -1;  // steps done in the newest checkpoint of this run
  SnapshotPlace snapshot = {};   // in memory, that the run goes on from
};

/// Brings a run's state to its checkpoints, beside the steps: a save copies each rank's share, a
/// thread of each rank writes it, what the ranks say of that travels in the control words of the
/// steps that follow, and once all shares are there a thread of rank 0 verifies and publishes. One
/// checkpoint at a time; a save that is due earlier waits.
class Saver {
 public:
  /// Cleans up what interrupted writes left. Collective.
  explicit Saver(const SaverParts& parts);

  /// Takes the memory that saves along the way will need, where there will be some.
  void prepare(const Trainer& trainer);

  /// What this rank has to say in the control word of the next step, ...
  [[nodiscard]] ddp::SaveWord word();
  /// ... whether that word is to compare the ranks' weights, ...
  [[nodiscard]] bool compares() const { return stage_ == Stage::writing && !compared_; }
  /// ... and what follows from all ranks' words.
  /// errors  what writing has thrown beside Error(Exit::io), which only costs the checkpoint
  /// step_s is the time that the step took.
  void note(const ddp::SaveWord& all, double step_s);

  /// Takes a snapshot in memory if one is due after this many steps, behind note(); nothing without
  /// a supervisor. The ranks must be equal.
  void snapshot(Trainer& trainer, std::int64_t steps_done);

  /// Whether a checkpoint is due after this many steps; behind note().
  [[nodiscard]] bool due(std::int64_t steps_done) const;
  /// checkpoint.best is set: evaluations come before saves.
  [[nodiscard]] bool wants_evaluations() const { return parts_.config.checkpoint.best.has_value(); }
  /// An evaluation after this many steps. If it is the best one so far a save is due, whose
  /// checkpoint stays until there is a better one.
  void evaluated(std::int64_t steps_done, const MetricValues& values);
  /// There was one, and its checkpoint has not begun.
  [[nodiscard]] bool best_due() const { return best_due_; }

  /// Begins to save the state after this many steps; waits first for the save before. A failed
  /// write is an event and a warning, and the run goes on. Collective. errors Error(Exit::numerics)
  /// naming a parameter that is not finite; as finish()
  void save(Trainer& trainer, std::int64_t steps_done);
  /// Waits until the last save has ended, well or not. Collective.
  /// errors  Error(Exit::internal) if the replicas differ; Error(Exit::peer_lost) if a rank stays
  ///         away; as note()
  void finish();
  /// Steps done at the last save, -1 before the first.
  [[nodiscard]] std::int64_t saved_step() const { return saved_step_; }
  /// Behind finish(). errors  Error(Exit::io) on all ranks if the last save did not succeed
  void require_saved() const;

 private:
  enum class Stage : std::uint8_t { idle, writing, publishing };
  /// What a thread that writes is given, and what it gives back.
  struct Job;

  void follow(const ddp::SaveWord& all);
  void open_snapshots();
  void warn_of_snapshots();
  void collect();
  void write_failed(const Error& error);
  void end_failed(std::int64_t code);
  void end_published();
  [[nodiscard]] ddp::SaveWord exchange(const ddp::SaveWord& mine);
  [[nodiscard]] checkpoint::Manifest position_of(std::int64_t steps_done) const;
  [[nodiscard]] checkpoint::Draft draft_of(const StateFiles& files, std::int64_t steps_done) const;
  [[nodiscard]] std::vector<checkpoint::Stretch> own_share(const StateFiles& files) const;
  [[nodiscard]] StateSource source_of(const Trainer& trainer) const;
  void start_writing(const StateFiles& files, std::int64_t steps_done);
  void start_publishing(std::uint64_t checksum);
  void warn_of_space(const Job& job);
  [[nodiscard]] bool root() const { return parts_.comm.rank() == 0; }
  [[nodiscard]] double now_s() const { return parts_.around.clock.monotonic_s(); }

  SaverParts parts_;
  std::shared_ptr<checkpoint::Store> store_;  // shared with the thread, which may be stuck
  std::shared_ptr<Job> job_;
  ddp::TimedCalls calls_;
  SaveClock save_clock_;
  std::optional<MemorySnapshots> snapshots_;
  checkpoint::PartFacts part_facts_;  // what is the same in all snapshots
  std::optional<checkpoint::Best> best_;
  std::string fingerprint_, config_yaml_;
  bool best_due_ = false;
  bool clock_due_ = false;

  Stage stage_ = Stage::idle;
  bool compared_ = false;       // the replicas, since the save began
  bool collected_ = false;      // what the thread has come to
  std::int64_t failed_ = 0;     // as SaveWord's, of the save at hand
  std::int64_t published_ = 0;  // as SaveWord's; on all ranks
  double began_s_ = 0, stall_s_ = 0;
  std::int64_t saved_step_;
  std::int64_t save_interval_ = 0;  // steps between the last two saves
  int last_fit_ = 0;
  std::string own_problem_;  // of this rank's writing
  std::string problem_;      // of the last save, "" if it went well
  Background writer_{2};     // last: it ends before what it uses
};

}  // namespace dlt::train
