// SPDX-License-Identifier: Apache-2.0
// What a run does about steps with bad numbers: the part of TrainLoop that warns, skips, goes back
// or halts.
#include <algorithm>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/store.h"
#include "ddp/replica.h"
#include "train/train_loop.h"
#include "train/trouble.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kMost_skips = 100;  // in a row
constexpr const char* kAdvice = "lower optimizer.learning_rate, or set train.clip_norm";

observe::Fields event_fields(const TroubleReport& report, NumericsAction action) {
  observe::Fields fields{{"step", report.step},
                         {"trouble", std::string(name(report.trouble))},
                         {"action", std::string(name(action))}};
  if (report.trouble == Trouble::listed) return fields;
  fields.insert(fields.end(), {{"loss", report.loss}, {"zscore", report.zscore}});
  if (!report.parameter.empty()) fields.emplace_back("parameter", report.parameter);
  if (report.leaf >= 0) {
    fields.insert(fields.end(), {{"leaf", std::int64_t{report.leaf}},
                                 {"rank", std::int64_t{report.rank}},
                                 {"rows", rows_text(report.rows)}});
  }
  if (report.number) {
    fields.insert(fields.end(), {{"layer", report.number->layer}, {"op", report.number->op}});
  }
  return fields;
}

std::string with_place(const TroubleReport& report) {
  const std::string where = report.where();
  return cat(report.what(), where.empty() ? "" : "; ", where);
}

}  // namespace

NumericsAction TrainLoop::action_on(Trouble trouble) const {
  switch (trouble) {
    case Trouble::listed:
      return NumericsAction::skip;
    case Trouble::spike:
      return job_->config_.numerics.on_spike;
    case Trouble::nonfinite:
      return job_->config_.numerics.on_nonfinite;
    case Trouble::none:
      break;
  }
  return NumericsAction::off;
}

/// The trainer is gone behind it, unless the parameters are to blame.
void TrainLoop::look_closer(std::unique_ptr<Trainer>& trainer, TroubleReport& report) {
  trainer->settle();
  report.bad_before = state_->first_nonfinite();
  std::int64_t any = report.bad_before.empty() ? 0 : 1;
  comm_->allreduce({.data = &any, .count = 1, .dtype = DType::i64}, comm::ReduceOp::max);
  if (any != 0) return;
  TrainerRange range = trainer_range();
  range.leaf_cuts = trainer->leaf_cuts();
  trainer.reset();  // its memory goes before the other's comes
  find_bad_number(parts(*train_program_), *job_->train_data_, *state_, range, report);
}

void TrainLoop::handle_trouble(std::unique_ptr<Trainer>& trainer, const StepReport& step) {
  const NumericsAction action = action_on(step.trouble);
  TroubleReport report = describe_trouble(parts(*train_program_), *trainer, step);
  const bool looks = step.trouble == Trouble::nonfinite &&
                     (action == NumericsAction::halt || action == NumericsAction::rollback) &&
                     trainer->keeps_params() && state_->carried().specs().empty();
  if (looks) look_closer(trainer, report);
  log_->event("numerics", event_fields(report, action));
  const std::string begin = cat("step ", report.step, ": ");
  switch (action) {
    case NumericsAction::off:
      break;
    case NumericsAction::warn:
      log_->line(cat("warning: ", begin, with_place(report)));
      break;
    case NumericsAction::skip:
      log_->line(cat("warning: ", begin, with_place(report), "; the step was skipped"));
      if (step.trouble == Trouble::nonfinite) require_finite_params(*trainer, report);
      break;
    case NumericsAction::rollback:
      plan_rollback(report);
      break;
    case NumericsAction::halt: {
      const bool hint_replay = step.trouble == Trouble::nonfinite && !report.number;
      throw Error(
          Exit::numerics,
          cat(begin, report.what(),
              step.trouble == Trouble::spike ? "" : ", expected finite numbers",
              report.where().empty() ? "" : ": ", report.where()),
          cat(kAdvice, "; numerics.", step.trouble == Trouble::spike ? "on_spike" : "on_nonfinite",
              " may skip such steps",
              hint_replay ? cat("; to see which layer it was: dltrain replay ", paths_.dir,
                                " --step ", report.step, " --until-nan")
                          : ""));
    }
  }
}

/// Skipping a step leaves the parameters as they are: it does not help where these are bad, or so
/// large that no step is finite.
void TrainLoop::require_finite_params(Trainer& trainer, const TroubleReport& report) {
  trainer.settle();
  skipped_in_a_row_ = report.step == last_skip_ + 1 ? skipped_in_a_row_ + 1 : 1;
  last_skip_ = report.step;
  ddp::together(*comm_, job_->around_.host, [&] {
    const std::string bad = state_->first_nonfinite();
    if (bad.empty()) return;
    throw Error(Exit::numerics,
                cat("step ", report.step, ": ", report.what(), ": parameter '", bad,
                    "' is not finite since an earlier step"),
                cat(kAdvice, "; the last checkpoint is good"));
  });
  if (skipped_in_a_row_ < kMost_skips) return;
  throw Error(Exit::numerics,
              cat("step ", report.step, ": ", report.what(), ", and ", kMost_skips,
                  " steps in a row were skipped, expected some that can be made"),
              cat(kAdvice, "; an earlier checkpoint may be good"));
}

void TrainLoop::plan_rollback(const TroubleReport& report) {
  const NumericsOptions& options = job_->config_.numerics;
  NumericsState& numerics = state_->numerics();
  if (numerics.rollbacks >= options.max_rollbacks) {
    throw Error(Exit::numerics,
                cat("step ", report.step, ": ", with_place(report), "; ",
                    counted(numerics.rollbacks, "rollback was", "rollbacks were"),
                    " made already (numerics.max_rollbacks)"),
                kAdvice);
  }
  rollback_from_ = report.step - 1;
  log_->line(cat("warning: step ", report.step, ": ", with_place(report)));
}

std::optional<checkpoint::Checkpoint> TrainLoop::load_before(std::int64_t steps_done) {
  const checkpoint::Store store(job_->around_.fs, paths_.checkpoints, 1);
  std::optional<checkpoint::Checkpoint> found;
  std::int64_t step = -1;
  if (root()) {
    std::vector<std::int64_t> steps = store.steps();
    std::reverse(steps.begin(), steps.end());
    for (const std::int64_t candidate : steps) {
      if (candidate > steps_done) continue;
      try {
        found = checkpoint::load(store.path_of(candidate));
        step = candidate;
        break;
      } catch (const Error& error) {
        log_->line(cat("warning: ", error.what()));
      }
    }
  }
  comm_->broadcast(&step, sizeof step, 0);
  ddp::together(*comm_, job_->around_.host, [&] {
    if (step >= 0 && !root()) found = checkpoint::load(store.path_of(step));
    // A run that began from another's state, and has not saved since.
    if (step < 0 && job_->options_.resume.mode == ResumeMode::path) {
      found = checkpoint::load_any(job_->options_.resume.path);
    }
  });
  return found;
}

/// A run that went on from a checkpoint has not read what it once began with. Collective.
void TrainLoop::require_initial_weights() {
  const RunConfig& config = job_->config_;
  ddp::together(*comm_, job_->around_.host, [&] {
    if (!config.init || job_->init_) return;
    job_->init_ = load_initial_weights_again(*config.init, *config.model, paths_.manifest);
  });
}

void TrainLoop::roll_back(std::unique_ptr<Trainer>& trainer) {
  const std::int64_t bad = *rollback_from_;
  rollback_from_.reset();
  if (trainer) trainer->settle();
  saver_->finish();  // it may be the one to go back to
  trainer.reset();
  NumericsState before = state_->numerics();
  std::optional<checkpoint::Checkpoint> checkpoint = load_before(bad);
  if (!checkpoint) require_initial_weights();
  state_->reset(job_->config_.model->params(), job_->config_.seed);
  step_ = 0;
  if (checkpoint) {
    state_->load(*checkpoint);
    step_ = checkpoint->step;
  } else if (job_->init_) {
    state_->write([&] { apply(*job_->init_, state_->layout(), state_->params()); });
  }
  NumericsState& numerics = state_->numerics();
  numerics.rollbacks = before.rollbacks + 1;
  for (const std::int64_t step : before.skipped()) numerics.skip(step);
  numerics.skip(bad);
  ddp::together(*comm_, job_->around_.host, [&] {
    if (hashes_) hashes_->rewind(step_);
  });
  evaluated_step_ = -1;
  std::fill(epoch_sums_.begin(), epoch_sums_.end(), 0.0);
  log_->line(cat("going back to step ", step_, ", from now on without step ", bad + 1, " (",
                 numerics.rollbacks, " of ", job_->config_.numerics.max_rollbacks, " rollbacks)"));
  trainer = make_trainer(balancer_ ? balancer_->division().cuts() : std::vector<int>{});
  make_up_evaluation(*trainer);
}

}  // namespace dlt::train
