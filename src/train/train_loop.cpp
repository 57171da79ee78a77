// SPDX-License-Identifier: Apache-2.0
#include "train/train_loop.h"

#include <algorithm>

#include "base/error.h"
#include "base/kill_point.h"
#include "base/text.h"
#include "ddp/replica.h"
#include "observe/json_object.h"
#include "train/state_place.h"

namespace dlt::train {
namespace {

std::string steps_text(const std::vector<std::int64_t>& steps) {
  std::vector<std::string> words;
  for (const std::int64_t step : steps) words.push_back(cat(step));
  return words.empty() ? "none" : join(words);
}

}  // namespace

TrainLoop::TrainLoop(TrainJob& job, comm::Communicator& comm, const std::atomic<bool>& stop)
    : job_(&job),
      comm_(&comm),
      stop_(&stop),
      paths_(job.config_.dir),
      device_(&job.around_.leaf_device(job.config_, comm)),
      division_(divide(job.config_, comm, job.around_.host,
                       job.resume_.checkpoint ? job.resume_.checkpoint->leaves : 0, *device_)),
      start_s_(job.around_.clock.monotonic_s()),
      pool_(division_.update_threads) {
  job.around_.backend.enter_thread();
  device_->enter_thread();
  gpus_ = link_gpus(job.config_, comm, *device_, job.around_.devices);
  train_program_ = training_program(job.config_, job.around_.table, *device_,
                                    division_.leaf_capacity, division_.num_workers);
  mark(observe::Phase::start);
  DLT_KILL_POINT(run_before_agreement);
  require_same_job();
  DLT_KILL_POINT(run_after_agreement);
  mark(observe::Phase::start);
  plan_ = plan_communication(job.config_, *train_program_, comm, job.around_.clock);
  mark(observe::Phase::start);
  load_or_initialize();
  mark(observe::Phase::start);
  DLT_KILL_POINT(run_after_load);
  open_run_folder();
  make_tracer();
  DLT_KILL_POINT(run_after_opening);
  make_evaluation();
  make_meter();
}

void TrainLoop::make_evaluation() {
  const TrainJob& job = *job_;
  if (job.eval_data_) {
    eval_program_ =
        evaluation_program(job.config_, job.around_.table, *device_, &train_program_->layout());
  }
  ddp::together(*comm_, job.around_.host, [&] { require_room(device_plan(), device_room()); });
  if (!job.eval_data_) return;
  TrainerParts with = parts(*eval_program_);
  with.bad = job.config_.skip_bad_samples ? &bad_eval_ : nullptr;
  allocate([&] {
    evaluator_ = std::make_unique<Evaluator>(
        with, *job.eval_data_,
        job.config_.averaging.evaluates() ? state_->average() : state_->params(),
        evaluation_chunk(job.config_));
  });
}

void TrainLoop::mark(observe::Phase phase) const {
  job_->around_.pulse.mark({.phase = phase, .step = step_});
}

TrainerParts TrainLoop::parts(const autodiff::Program& program) {
  return {.config = job_->config_,
          .program = program,
          .backend = job_->around_.backend,
          .comm = *comm_,
          .pool = pool_,
          .clock = job_->around_.clock,
          .host = job_->around_.host,
          .bad = job_->config_.skip_bad_samples ? &bad_train_ : nullptr,
          .plan = &plan_,
          .pulse = tracer_ ? tracer_->pulse() : job_->around_.pulse,
          .generation = job_->around_.generation,
          .device = device_,
          .gpus = gpus_.comm.get()};
}

void TrainLoop::require_same_job() {
  const TrainJob& job = *job_;
  const auto& checkpoint = job.resume_.checkpoint;
  const std::int64_t start = checkpoint ? checkpoint->step : 0;
  ddp::require_agreement(
      *comm_, job.around_.host,
      {{"program", job.around_.program_hash},
       {"config",
        cat(config_fingerprint(job.config_).substr(0, 16), " (", job.total_steps_, " steps)")},
       {"data", cat(job.train_data_->fingerprint(), "/",
                    job.eval_data_ ? job.eval_data_->fingerprint() : 0)},
       {"plan", cat(train_program_->hash(), " (", division_.num_leaves, " leaves)")},
       {"start", cat("step ", start, job.init_ ? " from " + job.init_->hash : "")},
       {"skipped steps", steps_text(job.around_.skip_steps)}});
}

void TrainLoop::load_or_initialize() {
  const RunConfig& config = job_->config_;
  StateExtras extras = state_extras(config, steps_per_epoch(config, job_->train_data_->num_rows()));
  place_state(config, *train_program_, plan_, *device_, *comm_,
              job_->around_.memory_dir.empty() ? SharedRoom::gradients
                                               : SharedRoom::gradients_and_snapshots,
              extras);
  state_ = std::make_unique<ModelState>(train_program_->layout(), config.optimizer.get(),
                                        job_->around_.backend, std::move(extras));
  if (job_->resume_.checkpoint) {
    state_->load(*job_->resume_.checkpoint);
    step_ = first_step_ = job_->resume_.checkpoint->step;
    job_->resume_.checkpoint->model.clear();
    job_->resume_.checkpoint->optimizer.clear();
  } else {
    state_->initialize(config.model->params(), config.seed);
    if (job_->init_) {
      state_->write([&] { apply(*job_->init_, state_->layout(), state_->params()); });
    }
  }
  for (const std::int64_t step : job_->around_.skip_steps) {
    if (step >= step_) state_->numerics().skip(step);
  }
}

void TrainLoop::open_run_folder() {
  const RunConfig& config = job_->config_;
  const std::vector<std::string> hosts = comm::allgather_text(*comm_, job_->around_.host);
  ddp::together(*comm_, job_->around_.host, [&] {
    if (!root()) return;
    Fs& fs = job_->around_.fs;
    // A start anew after a fault: the supervisor has told of that one already.
    const bool restarted = job_->around_.so_far.restarts > 0;
    if (job_->resume_.clear) clear_run(paths_, fs, restarted ? Events::keep : Events::remove);
    fs.create_directories(paths_.checkpoints);
    fs.create_directories(paths_.logs);
    if (exists(paths_.summary)) fs.remove_tree(paths_.summary);
    write_atomically(fs, paths_.config, resolved_yaml(config));
    write_manifest(hosts);
    if (config.hashes) {
      hasher_ = std::make_unique<FlatHasher>(train_program_->layout(), pool_);
      hashes_ = std::make_unique<HashChain>(paths_.hashes, hasher_->names(), step_);
    }
  });
  log_ = std::make_unique<RunLog>(RunLogOptions{.dir = paths_.dir,
                                                .rank = comm_->rank(),
                                                .generation = job_->around_.generation,
                                                .tensorboard = config.tensorboard,
                                                .progress = job_->options_.progress},
                                  job_->around_.clock);
  saver_ = std::make_unique<Saver>(
      SaverParts{.config = config,
                 .around = job_->around_,
                 .comm = *comm_,
                 .plan = plan_,
                 .state = *state_,
                 .log = *log_,
                 .num_leaves = division_.num_leaves,
                 .num_rows = job_->train_data_->num_rows(),
                 .saved_step = saved_here() ? step_ : -1,
                 .snapshot = job_->resume_.memory.value_or(SnapshotPlace{})});
  for (const std::string& warning : job_->resume_.warnings) log_->line(cat("warning: ", warning));
  if (const Devices* devices = job_->around_.devices) {
    for (const std::string& warning : devices->warnings()) log_->line(warning);
  }
  if (division_.oversubscribed) {
    log_->line(cat("warning: more threads than cores on ", job_->around_.host,
                   ": set train.threads or start fewer ranks"));
  }
  log_->line(cat(counted(comm_->world_size(), "rank", "ranks"), " x ",
                 counted(division_.num_workers, "thread", "threads"), ", ",
                 counted(division_.num_leaves, "leaf", "leaves"), " of ", division_.leaf_capacity,
                 ", ", device_->description(),
                 step_ == 0             ? std::string()
                 : job_->resume_.memory ? cat(", going on from step ", step_, " (in memory)")
                                        : cat(", going on from step ", step_)));
  tell_gpus();
  if (job_->init_) note_initial_weights();
  log_start();
}

void TrainLoop::log_start() {
  const char* from = job_->resume_.memory ? "memory" : job_->resume_.checkpoint ? "disk" : "start";
  observe::Fields start{{"step", step_},
                        {"from", std::string(from)},
                        {"world_size", std::int64_t{comm_->world_size()}},
                        {"threads", std::int64_t{division_.threads}},
                        {"leaves", std::int64_t{division_.num_leaves}},
                        {"host", job_->around_.host}};
  if (comm_->world_size() > 1) {
    start.emplace_back("shared_replica", state_->host() != nullptr);
    plan_.describe(start);
  }
  log_->event("run_start", start);
}

/// Which GPU each rank took, and how they reach each other.
void TrainLoop::tell_gpus() {
  const Devices* devices = job_->around_.devices;
  const std::vector<std::string> places =
      comm::allgather_text(*comm_, devices != nullptr ? devices->placement() : "");
  for (std::size_t rank = 0; rank < places.size(); ++rank) {
    if (!places[rank].empty()) log_->line(cat("rank ", rank, ": ", places[rank]));
  }
  if (gpus_.comm != nullptr) log_->line(cat("between GPUs: ", gpus_.comm->version()));
  if (!gpus_.why_not.empty()) {
    log_->line(cat("between GPUs: by way of the hosts, with updates there: ", gpus_.why_not));
  }
  if (const auto fallbacks = train_program_->host_fallbacks();
      !device_->in_host_memory() && !fallbacks.empty()) {
    log_->line(cat("warning: the GPU has no kernel for ", join(fallbacks),
                   ": they run on the host, between copies, and steps are not captured"));
  }
  const std::vector<std::string> models = comm::allgather_text(*comm_, device_->description());
  const auto other = std::find_if(models.begin(), models.end(),
                                  [&](const std::string& model) { return model != models[0]; });
  if (other == models.end() || job_->config_.reduction != ddp::Reduction::exact) return;
  log_->line(cat("warning: rank 0 runs on ", models[0], ", rank ", other - models.begin(), " on ",
                 *other, ": the weights' bits depend on which rank runs which leaf"));
}

void TrainLoop::note_initial_weights() {
  InitialWeights& init = *job_->init_;
  for (const std::string& line : init.lines) log_->line(line);
  const auto number = [](const auto& list) { return static_cast<std::int64_t>(list.size()); };
  log_->event("init", {{"from", job_->config_.init->from},
                       {"hash", init.hash},
                       {"loaded", number(init.match.tensors)},
                       {"missing", number(init.match.missing)},
                       {"differ", number(init.match.differ)},
                       {"unused", number(init.match.unused)}});
  if (!job_->config_.numerics.rolls_back()) init.match.tensors.clear();
}

bool TrainLoop::saved_here() const {
  return job_->resume_.checkpoint && !job_->resume_.memory &&
         job_->options_.resume.mode == ResumeMode::automatic;
}

std::int64_t TrainLoop::end_step() const {
  const auto stop_at = job_->config_.stop_at_step;
  return stop_at ? std::min(*stop_at, job_->total_steps_) : job_->total_steps_;
}

RunSummary TrainLoop::run() {
  const std::int64_t end = end_step();
  std::unique_ptr<Trainer> trainer = make_trainer({});
  if (job_->config_.balance && comm_->world_size() > 1) balancer_.emplace(make_balancer());
  epoch_sums_.assign(static_cast<std::size_t>(trainer->sum_layout().size()), 0.0);
  saver_->prepare(*trainer);
  make_up_evaluation(*trainer);
  while (step_ < end && advance(trainer)) {
    if (rollback_from_) {
      roll_back(trainer);
    } else if (balancer_) {
      balance(trainer);
    }
  }
  const bool evaluates = !preempted_ && evaluator_ && evaluated_step_ != step_;
  if (evaluates && saver_->wants_evaluations()) evaluate(*trainer);
  if (saver_->saved_step() != step_ || saver_->best_due()) saver_->save(*trainer, step_);
  if (evaluates && !saver_->wants_evaluations()) evaluate(*trainer);
  saver_->finish();
  if (tracer_) write_trace();
  RunSummary summary = summarize(*trainer);
  mark(observe::Phase::end);
  DLT_KILL_POINT(run_before_summary);
  if (root()) write_summary(summary);
  DLT_KILL_POINT(run_after_summary);
  log_->event("run_end", {{"code", static_cast<std::int64_t>(summary.exit)},
                          {"steps", step_},
                          {"steps_lost", summary.steps_lost},
                          {"restarts", summary.restarts},
                          {"effective_time", effective_time()}});
  log_->finish();
  return summary;
}

/// The share of time that went into steps, earlier starts of the job included.
double TrainLoop::effective_time() const {
  const RunSoFar& so_far = job_->around_.so_far;
  const double wall_s = so_far.elapsed_s + job_->around_.clock.monotonic_s() - start_s_;
  return std::min(1.0, (so_far.stepping_s + train_s_) / std::max(wall_s, 1e-9));
}

/// A run that was stopped between a step and the evaluation that follows it makes that up.
void TrainLoop::make_up_evaluation(Trainer& trainer) {
  const bool follows = job_->config_.schedule.kind == optim::ScheduleKind::reduce_on_plateau;
  if (follows && evaluation_due(step_) &&
      state_->plateau().observed_step < static_cast<double>(step_)) {
    evaluate_as_scheduled(trainer);
  }
}

TrainerRange TrainLoop::trainer_range() const {
  return {.num_leaves = division_.num_leaves,
          .first_step = step_,
          .end_step = std::max(end_step(), step_),
          .total_steps = job_->total_steps_};
}

std::unique_ptr<Trainer> TrainLoop::make_trainer(const std::vector<int>& leaf_cuts) {
  mark(observe::Phase::start);
  TrainerRange range = trainer_range();
  range.leaf_cuts = leaf_cuts;
  std::unique_ptr<Trainer> trainer;
  allocate([&] {
    trainer = std::make_unique<Trainer>(parts(*train_program_), *job_->train_data_, *state_, range);
  });
  return trainer;
}

ddp::Balancer TrainLoop::make_balancer() {
  std::vector<int> workers(static_cast<std::size_t>(comm_->world_size()));
  comm_->allgather(&division_.num_workers, workers.data(), sizeof(int));
  return ddp::Balancer({.division = ddp::LeafDivision(division_.num_leaves, comm_->world_size()),
                        .workers = workers});
}

void TrainLoop::balance(std::unique_ptr<Trainer>& trainer) {
  if (step_ >= end_step() || rank_compute_s_.empty()) return;
  const auto leaves_text = [](const ddp::LeafDivision& division) {
    std::vector<std::string> leaves;
    for (int r = 0; r < division.world_size(); ++r) leaves.push_back(cat(division.of(r).size()));
    return join(leaves);
  };
  const std::string before = leaves_text(balancer_->division());
  const auto moved = balancer_->note(rank_compute_s_, end_step() - step_);
  if (!moved) return;
  const double start_s = job_->around_.clock.monotonic_s();
  trainer->settle();
  trainer->gather_carried();
  trainer.reset();  // its memory goes before the new one's comes
  trainer = make_trainer(moved->cuts());
  double cost_s = job_->around_.clock.monotonic_s() - start_s;
  comm_->allreduce({.data = &cost_s, .count = 1, .dtype = DType::f64}, comm::ReduceOp::max);
  balancer_->set_move_cost(cost_s);
  log_->event("balance", {{"step", step_},
                          {"leaves_before", before},
                          {"leaves", leaves_text(*moved)},
                          {"cost_ms", cost_s * 1e3}});
  log_->line(
      cat("step ", step_, "  leaves of the ranks: ", leaves_text(*moved), " (were ", before, ")"));
}

bool TrainLoop::advance(std::unique_ptr<Trainer>& current) {
  Trainer& trainer = *current;
  const RunConfig& config = job_->config_;
  const Clock& clock = job_->around_.clock;
  const double before = clock.monotonic_s();
  // Every rank asks for the norm in the same steps: it takes part in the decision whether a step
  // counts.
  const bool log_due = (step_ + 1) % config.log_every_steps == 0;
  DLT_KILL_POINT(step_before);
  const bool traced = tracer_ && tracer_->begin(step_);
  const StepReport report = trainer.step({.stop_wanted = stop_->load(std::memory_order_relaxed),
                                          .want_norm = log_due,
                                          .save = saver_->word(),
                                          .compare_weights = saver_->compares(),
                                          .time_kernels = traced});
  DLT_KILL_POINT(step_after);
  if (tracer_ && tracer_->end(report)) write_trace();
  ++step_;
  const double step_s = clock.monotonic_s() - before;
  if (report.save) saver_->note(*report.save, step_s);
  rank_compute_s_.assign(report.rank_compute_s.begin(), report.rank_compute_s.end());
  const bool equal_ranks = equal_ranks_due(step_);
  if (equal_ranks) trainer.synchronise();
  note_step(trainer, report, clock.monotonic_s() - before);
  if (job_->config_.skip_bad_samples) tell_bad_samples();
  if (report.trouble != Trouble::none) handle_trouble(current, report);
  if (rollback_from_) return true;
  if (config.hashes) log_hashes(trainer, report);

  // A rank that was asked to stop keeps saying so: at the next step where all may stop they do.
  if (report.stop && equal_ranks) preempted_ = true;
  const bool evaluates = evaluation_due(step_) && !preempted_;
  // As far as an evaluation decides whether to save it comes first.
  if (evaluates && saver_->wants_evaluations()) evaluate_as_scheduled(trainer);
  if (saver_->due(step_) || preempted_) saver_->save(trainer, step_);
  if (evaluates && !saver_->wants_evaluations()) evaluate_as_scheduled(trainer);
  if (report.save && report.trouble == Trouble::none) saver_->snapshot(trainer, step_);
  return !preempted_;
}

void TrainLoop::note_step(const Trainer& trainer, const StepReport& report, double step_s) {
  const RunConfig& config = job_->config_;
  train_s_ += step_s;
  train_samples_ += report.samples;
  interval_s_ += step_s;
  interval_samples_ += report.samples;
  if (report.step % trainer.sampler().steps_per_epoch() == 0)
    std::fill(epoch_sums_.begin(), epoch_sums_.end(), 0.0);
  for (std::size_t i = 0; i < epoch_sums_.size() && report.finite; ++i) {
    epoch_sums_[i] += report.sums[i];
  }
  const bool log_due = step_ % config.log_every_steps == 0;
  if (!log_due && step_ != end_step()) return;
  const double speed = static_cast<double>(interval_samples_) / std::max(interval_s_, 1e-9);
  last_train_ = trainer.sum_layout().values(epoch_sums_);
  log_->progress({.step = step_,
                  .num_steps = end_step(),
                  .epoch = report.epoch,
                  .num_epochs = config.epochs.value_or(0),
                  .samples_per_s = speed,
                  .values = last_train_});
  if (!log_due) return;
  log_->step(report, trainer.sum_layout(), speed, meter_ ? meter_->read(speed) : observe::Fields{});
  interval_s_ = 0;
  interval_samples_ = 0;
}

void TrainLoop::log_hashes(Trainer& trainer, const StepReport& report) {
  trainer.settle();
  if (!root()) return;
  StepHashes hashes = hash_step(report, trainer.sum_layout());
  const bool local = job_->config_.sync_every > 1 && comm_->world_size() > 1;
  if (report.trouble != Trouble::listed && !plan_.shards && !local) {
    hashes.gradients = hasher_->run(trainer.reduced_gradients());
  }
  if (!local || equal_ranks_due(step_)) {
    hashes.parameters = combined(hasher_->run(state_->params()));
  }
  if (hashes_->append(hashes)) return;
  log_->line(cat("warning: ", paths_.hashes, " cannot be written: no more hashes from step ", step_,
                 " on"));
}

std::int64_t TrainLoop::count_bad_samples() {
  std::int64_t total = 0;
  for (const data::BadSamples* bad : {&bad_train_, &bad_eval_}) {
    std::vector<std::int64_t> mine = bad->samples();
    auto most = static_cast<std::int64_t>(mine.size());
    comm_->allreduce({.data = &most, .count = 1, .dtype = DType::i64}, comm::ReduceOp::max);
    mine.resize(static_cast<std::size_t>(most), -1);
    std::vector<std::int64_t> all(mine.size() * static_cast<std::size_t>(comm_->world_size()));
    comm_->allgather(mine.data(), all.data(), most * std::int64_t{sizeof(std::int64_t)});
    std::sort(all.begin(), all.end());
    const auto end = std::unique(all.begin(), all.end());
    total += std::count_if(all.begin(), end, [](std::int64_t sample) { return sample >= 0; });
  }
  return total;
}

/// Each bad sample once, by the rank that saw it.
void TrainLoop::tell_bad_samples() {
  for (data::BadSamples* bad : {&bad_train_, &bad_eval_}) {
    for (const std::string& problem : bad->take_news()) {
      log_->line(cat("warning: ", problem, "; the sample is passed over"));
    }
  }
}

bool TrainLoop::equal_ranks_due(std::int64_t steps_done) const {
  return steps_done % job_->config_.sync_every == 0 || steps_done == end_step() ||
         saver_->due(steps_done) || evaluation_due(steps_done);
}

bool TrainLoop::evaluation_due(std::int64_t steps_done) const {
  const RunConfig& config = job_->config_;
  const std::int64_t per_epoch = steps_per_epoch(config, job_->train_data_->num_rows());
  return evaluator_ != nullptr && train::evaluation_due(config, per_epoch, steps_done);
}

void TrainLoop::evaluate_as_scheduled(Trainer& trainer) {
  evaluate(trainer);
  observe_plateau(job_->config_, *state_, last_eval_, step_);
}

void TrainLoop::evaluate(Trainer& trainer) {
  mark(observe::Phase::eval);
  trainer.settle();
  state_->complete_average(step_);
  DLT_KILL_POINT(evaluation_before);
  last_eval_ = evaluator_->evaluate(step_);
  DLT_KILL_POINT(evaluation_after);
  evaluated_step_ = step_;
  saver_->evaluated(step_, last_eval_);
  log_->evaluation(step_, last_eval_, evaluator_->tables());
  log_->line(cat("step ", step_, "  eval  ", describe(last_eval_)));
}

RunSummary TrainLoop::summarize(Trainer& trainer) {
  mark(observe::Phase::checkpoint);
  saver_->require_saved();
  const std::int64_t per_epoch = trainer.sampler().steps_per_epoch();
  RunSummary out;
  out.status = preempted_ ? "preempted" : step_ < job_->total_steps_ ? "stopped" : "finished";
  out.exit = preempted_ ? Exit::preempted : Exit::ok;
  out.dir = paths_.dir;
  out.steps = step_;
  out.epochs = step_ / per_epoch;
  out.world_size = comm_->world_size();
  out.leaves = division_.num_leaves;
  out.wall_s = job_->around_.clock.monotonic_s() - start_s_;
  const RunSoFar& so_far = job_->around_.so_far;
  out.restarts = so_far.restarts;
  out.steps_lost =
      so_far.steps_lost + std::max<std::int64_t>(0, so_far.furthest_step - first_step_);
  out.samples_per_s = train_s_ > 0 ? static_cast<double>(train_samples_) / train_s_ : 0.0;
  out.train = last_train_;
  out.eval = last_eval_;
  if (evaluator_) out.eval_tables = evaluator_->tables();
  out.weights_hash = state_->weights_hash();
  if (job_->config_.skip_bad_samples) out.bad_samples = count_bad_samples();
  return out;
}

void TrainLoop::write_manifest(const std::vector<std::string>& hosts) {
  observe::JsonObject manifest;
  manifest.set("program", job_->around_.program_version);
  manifest.set("program_hash", job_->around_.program_hash);
  manifest.set("hosts", std::vector<observe::FieldValue>(hosts.begin(), hosts.end()));
  manifest.set("world_size", std::int64_t{comm_->world_size()});
  manifest.set("leaves", std::int64_t{division_.num_leaves});
  manifest.set("backend", job_->around_.backend.description());
  manifest.set("mpi", comm_->name() == "mpi" ? comm::mpi_library_version() : std::string("none"));
  manifest.set("config_fingerprint", config_fingerprint(job_->config_));
  manifest.set("data_fingerprint", cat(job_->train_data_->fingerprint()));
  const std::string init = job_->init_ ? job_->init_->hash : began_with(paths_.manifest);
  if (!init.empty()) manifest.set("init_weights_hash", init);
  write_atomically(job_->around_.fs, paths_.manifest, manifest.text(2) + "\n");
}

void TrainLoop::write_summary(const RunSummary& summary) {
  const auto object = [](const MetricValues& values) {
    observe::JsonObject out;
    for (const auto& [name, value] : values) out.set(name, value);
    return out;
  };
  observe::JsonObject json;
  json.set("status", summary.status);
  json.set("steps", summary.steps);
  json.set("epochs", summary.epochs);
  json.set("world_size", std::int64_t{summary.world_size});
  json.set("leaves", std::int64_t{summary.leaves});
  json.set("wall_s", summary.wall_s);
  json.set("samples_per_s", summary.samples_per_s);
  json.set("train", object(summary.train));
  observe::JsonObject eval = object(summary.eval);
  for (const auto& [name, table] : summary.eval_tables) eval.set(name, table);
  json.set("eval", eval);
  json.set("weights_hash", summary.weights_hash);
  if (summary.bad_samples) json.set("bad_samples", *summary.bad_samples);
  json.set("restarts", summary.restarts);
  write_atomically(job_->around_.fs, paths_.summary, json.text(2) + "\n");
}

}  // namespace dlt::train
