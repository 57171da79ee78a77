// SPDX-License-Identifier: Apache-2.0
#include "train/replay.h"

#include <algorithm>
#include <cstring>
#include <iomanip>
#include <sstream>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "train/evaluator.h"
#include "train/hash_chain.h"
#include "train/initial_weights.h"
#include "train/trouble.h"

namespace dlt::train {
namespace {

constexpr int kMost_leaves = 64;  // that the report lists

/// A copy of a flat buffer, tensor by tensor.
void copy_flat(const tensor::FlatLayout& layout, const std::string& prefix, const float* flat,
               tensor::StateDict& out) {
  for (const auto& entry : layout.entries) {
    const tensor::Tensor copy(entry.shape, DType::f32);
    std::memcpy(copy.bytes(), flat + entry.offset,
                static_cast<std::size_t>(entry.numel) * sizeof(float));
    out.emplace(cat(prefix, ".", entry.name), copy);
  }
}

RunConfig read_config(const std::string& source, const std::string& text,
                      const Surroundings& around) {
  return run_config_of(source, text, around.table, around.backend);
}

}  // namespace

ReplayJob::ReplayJob(const Surroundings& surroundings, const ReplayOptions& options)
    : around_(surroundings), options_(options) {
  const RunPaths paths(options.run);
  if (!exists(paths.config)) {
    throw Error(Exit::missing, cat(printable(paths.config, 200), ": no such file"),
                "give the folder of a run");
  }
  read_manifest();
  read_state();
  const auto open = [&] {
    data_ = open_dataset(config_, *config_.train_data);
    total_steps_ = total_steps(config_, data_->num_rows());
  };
  config_ = read_config(paths.config,
                        checkpoint_ ? checkpoint_->config_yaml : read_file(paths.config), around_);
  open();
  if (options_.step > total_steps_ && checkpoint_) {  // the run was made longer since
    config_ = read_config(paths.config, read_file(paths.config), around_);
    open();
  }
  if (options_.step > total_steps_) {
    throw Error(Exit::config, cat("--step: expected 1 to ", total_steps_, ", the steps of ",
                                  printable(options_.run, 200), ", got ", options_.step));
  }
  require_exact();
  if (config_.eval_data) eval_data_ = open_dataset(config_, *config_.eval_data);
}

ReplayJob::~ReplayJob() = default;

void ReplayJob::read_manifest() {
  const RunPaths paths(options_.run);
  const std::string text = exists(paths.manifest) ? read_file(paths.manifest) : std::string("{}");
  const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  const auto number = [&](const char* key, std::int64_t& out) {
    if (json.is_object() && json.contains(key) && json.at(key).is_number_integer()) {
      out = json.at(key).get<std::int64_t>();
    }
  };
  number("leaves", num_leaves_);
  number("world_size", world_size_);
  if (num_leaves_ < 1 || world_size_ < 1 || world_size_ > num_leaves_) {
    throw Error(Exit::data, cat(printable(paths.manifest, 200),
                                ": expected the run's leaves and world_size, got none"));
  }
}

void ReplayJob::read_state() {
  const checkpoint::Store store(around_.fs, RunPaths(options_.run).checkpoints, 1);
  std::vector<std::int64_t> steps = store.steps();
  std::reverse(steps.begin(), steps.end());
  if (!steps.empty()) newest_ = store.path_of(steps.front());
  for (const std::int64_t step : steps) {
    if (step >= options_.step) continue;
    try {
      checkpoint_ = checkpoint::load(store.path_of(step));
      num_leaves_ = checkpoint_->leaves;
      if (step == steps.front()) newest_.clear();
      return;
    } catch (const Error&) {
      continue;  // an older one will do
    }
  }
}

void ReplayJob::require_exact() const {
  if (options_.leaf >= num_leaves_) {
    throw Error(Exit::config,
                cat("--leaf: expected 0 to ", num_leaves_ - 1, ", got ", options_.leaf));
  }
  const bool compressed = config_.compression.kind != ddp::Compression::none;
  const char* key = config_.sync_every > 1                      ? "comm.sync_every"
                    : compressed                                ? "comm.compression"
                    : config_.reduction == ddp::Reduction::fast ? "train.reduction: fast"
                                                                : nullptr;
  if (key == nullptr || world_size_ == 1) return;
  throw Error(Exit::config, cat(key, ": expected none in a run of ", world_size_,
                                " ranks to be replayed by one: its bits depend on the ranks"));
}

/// The run's parts, made again for one rank.
struct ReplayJob::Replay {
  explicit Replay(ReplayJob& replay_job)
      : job(replay_job),
        config(job.config_),
        comm(comm::make_self()),
        device(job.around_.leaf_device(config)),
        division(divide(config, *comm, job.around_.host, job.num_leaves_, device)),
        pool(division.update_threads),
        program(training_program(config, job.around_.table, device, division.leaf_capacity,
                                 division.num_workers)),
        per_epoch(steps_per_epoch(config, job.data_->num_rows())),
        state(program->layout(), config.optimizer.get(), job.around_.backend,
              state_extras(config, per_epoch)),
        watch(division.num_leaves, job.options_.leaf),
        hasher(program->layout(), pool) {
    if (job.checkpoint_) {
      state.load(*job.checkpoint_);
      step = first = job.checkpoint_->step;
    } else {
      state.initialize(config.model->params(), config.seed);
      if (config.init) begin_with_weights();
    }
    try {
      log = read_hash_log(job.options_.run);
    } catch (const Error& error) {
      if (error.exit() != Exit::missing) throw;
    }
    read_skipped();
    end = job.options_.until_nan ? job.total_steps_ : job.options_.step;
    trainer = std::make_unique<Trainer>(parts(*program), *job.data_, state,
                                        TrainerRange{.num_leaves = division.num_leaves,
                                                     .first_step = step,
                                                     .end_step = end,
                                                     .total_steps = job.total_steps_});
    if (config.schedule.kind != optim::ScheduleKind::reduce_on_plateau || !job.eval_data_) return;
    eval_program = evaluation_program(config, job.around_.table, device, &program->layout());
    evaluator = std::make_unique<Evaluator>(
        parts(*eval_program), *job.eval_data_,
        config.averaging.evaluates() ? state.average() : state.params(), evaluation_chunk(config));
    if (state.plateau().observed_step < static_cast<double>(step)) follow_plateau();
  }

  [[nodiscard]] TrainerParts parts(const autodiff::Program& of) {
    return {.config = config,
            .program = of,
            .backend = job.around_.backend,
            .comm = *comm,
            .pool = pool,
            .clock = job.around_.clock,
            .host = job.around_.host,
            .watch = &watch,
            .bad = config.skip_bad_samples ? &bad : nullptr,
            .device = &device};
  }

  void begin_with_weights() {
    const InitialWeights init = load_initial_weights_again(*config.init, *config.model,
                                                           RunPaths(job.options_.run).manifest);
    apply(init, program->layout(), state.params());
  }

  /// Steps that the run left out, but not the one that is asked for: it may be wanted for just
  /// that.
  void read_skipped() {
    std::vector<std::int64_t> skipped = state.numerics().skipped();
    if (!job.newest_.empty()) {
      try {
        NumericsState newest;
        newest.load(checkpoint::load(job.newest_).optimizer);
        skipped.insert(skipped.end(), newest.skipped().begin(), newest.skipped().end());
      } catch (const Error& error) {
        notes += cat("  note        ", error.what(), "\n");
      }
    }
    for (const auto& [number, hashes] : log.steps) {
      if (hashes.skipped == "listed") skipped.push_back(number - 1);
    }
    NumericsState& numerics = state.numerics();
    NumericsState without;
    without.tracker = numerics.tracker;
    without.rollbacks = numerics.rollbacks;
    for (const std::int64_t one : skipped) {
      if (one != job.options_.step - 1) without.skip(one);
    }
    numerics = without;
  }

  void follow_plateau() {
    if (!evaluator || !evaluation_due(config, per_epoch, step)) return;
    state.complete_average(step);
    observe_plateau(config, state, evaluator->evaluate(), step);
  }

  /// Makes the next step; false if there is no sense in another one.
  bool advance() {
    const bool wanted = step + 1 == job.options_.step;
    watch.begin_step(wanted || job.options_.until_nan);
    if (wanted) trainer->settle();
    if (wanted) copy_flat(program->layout(), "before", state.params(), tensors);
    const StepReport report = trainer->step({.want_norm = true});
    ++step;
    if (wanted) note_wanted(report);
    const bool passes =
        config.numerics.on_nonfinite == NumericsAction::skip && !wanted && !job.options_.until_nan;
    if (report.trouble == Trouble::nonfinite && !passes) {
      note_trouble(report);
      return false;
    }
    if (!compare_hashes(report)) return false;
    follow_plateau();
    return true;
  }

  void note_trouble(const StepReport& report) {
    TroubleReport trouble = describe_trouble(parts(*program), *trainer, report);
    trouble.number = watch.first_bad();
    if (trouble.number) trouble.leaf = trouble.number->leaf;
    if (trouble.leaf >= 0) {
      trouble.rows = leaf_rows(trainer->sampler(), report.step, trouble.leaf);
      const ddp::LeafDivision ranks(division.num_leaves, static_cast<int>(job.world_size_));
      for (int r = 0; r < ranks.world_size(); ++r) {
        if (trouble.leaf >= ranks.of(r).begin && trouble.leaf < ranks.of(r).end) trouble.rank = r;
      }
    }
    found = cat("step ", trouble.step, ": ", trouble.what(), trouble.where().empty() ? "" : ": ",
                trouble.where());
  }

  bool compare_hashes(const StepReport& report) {
    const auto logged = log.steps.find(step);
    if (logged == log.steps.end() || !config.hashes) return true;
    StepHashes mine = hash_step(report, trainer->sum_layout());
    if (report.trouble != Trouble::listed) {
      mine.gradients = hasher.run(trainer->reduced_gradients());
    }
    trainer->settle();
    mine.parameters = combined(hasher.run(state.params()));
    // A step that the run left out is made here if it was asked for.
    const bool as_run = (logged->second.skipped == "listed") == (mine.skipped == "listed");
    if (!as_run) return true;
    const std::string stage =
        first_difference(hasher.names(), mine, log.parameters, logged->second);
    ++compared;
    if (!stage.empty()) differs = cat("step ", step, ": ", stage);
    return stage.empty();
  }

  /// What the dump and the report say of the step that was asked for.
  void note_wanted(const StepReport& report) {
    const auto leaves = static_cast<std::int64_t>(division.num_leaves);
    const std::int64_t capacity = trainer->sampler().leaf_capacity();
    const tensor::Tensor losses({leaves}, DType::f64), weights({leaves}, DType::f64);
    const tensor::Tensor rows({leaves, capacity}, DType::i64);
    std::ostringstream out;
    for (int leaf = 0; leaf < division.num_leaves; ++leaf) {
      const auto i = static_cast<std::size_t>(leaf);
      const std::span<const double> sums = trainer->leaf_sums(leaf);
      losses.as<double>()[i] = sums[0];
      weights.as<double>()[i] = sums[1];
      const std::vector<std::int64_t> held = leaf_rows(trainer->sampler(), report.step, leaf);
      const auto row = rows.as<std::int64_t>().subspan(i * static_cast<std::size_t>(capacity),
                                                       static_cast<std::size_t>(capacity));
      std::fill(row.begin(), row.end(), std::int64_t{-1});
      std::copy(held.begin(), held.end(), row.begin());
      if (leaf >= kMost_leaves) continue;
      out << "  leaf " << std::left << std::setw(7) << leaf << "loss " << mean_loss(sums)
          << "  weight " << sums[1] << "  " << rows_text(held) << "\n";
    }
    std::ostringstream head;
    head << "  step        " << step << "  loss " << mean_loss(report.sums) << "  grad_norm "
         << report.grad_norm << "  lr " << report.learning_rate << "\n";
    step_text = head.str() + out.str();
    if (job.options_.dump.empty()) return;
    copy_flat(program->layout(), "gradient", trainer->reduced_gradients(), tensors);
    trainer->settle();
    copy_flat(program->layout(), "after", state.params(), tensors);
    tensors.emplace("leaf.loss", losses);
    tensors.emplace("leaf.weight", weights);
    tensors.emplace("leaf.rows", rows);
    for (const auto& [name, tensor] : watch.kept()) tensors.emplace(name, tensor);
  }

  void write_dump() {
    if (job.options_.dump.empty() || step < job.options_.step) return;
    const checkpoint::Encoded encoded =
        checkpoint::encode(tensors, {{"step", cat(job.options_.step)}, {"run", job.options_.run}});
    job.around_.fs.write_synced(job.options_.dump, encoded.pieces);
    notes += cat("  dump        ", job.options_.dump, " (", tensors.size(), " tensors)\n");
  }

  [[nodiscard]] ReplayResult result() const {
    std::ostringstream out;
    out << "replayed " << counted(step - first, "step", "steps") << ", " << first + 1 << " to "
        << step << ", from "
        << (job.checkpoint_ ? cat("the checkpoint of step ", first) : std::string("the start"))
        << ", " << counted(division.num_leaves, "leaf", "leaves") << "\n"
        << step_text;
    if (!found.empty()) {
      out << "  bad number  " << found << "\n";
    } else if (job.options_.until_nan && differs.empty()) {
      out << "  bad number  none up to step " << step << "\n";
    }
    out << "  hashes      ";
    if (!differs.empty()) {
      out << "other than the run's: " << differs << "\n";
    } else if (compared > 0) {
      out << "as the run's in " << counted(compared, "step", "steps") << "\n";
    } else {
      out << "the run has none of these steps (log.hashes)\n";
    }
    out << notes;
    return {.text = out.str(), .equal = differs.empty()};
  }

  ReplayJob& job;
  const RunConfig& config;
  std::unique_ptr<comm::Communicator> comm;
  tensor::Backend& device;
  Division division;
  ThreadPool pool;
  std::unique_ptr<autodiff::Program> program, eval_program;
  std::int64_t per_epoch;
  ModelState state;
  NumberWatch watch;
  FlatHasher hasher;
  data::BadSamples bad;
  HashLog log;
  std::unique_ptr<Trainer> trainer;
  std::unique_ptr<Evaluator> evaluator;
  std::int64_t step = 0, first = 0, end = 0, compared = 0;
  tensor::StateDict tensors;
  std::string step_text, found, differs, notes;
};

ReplayResult ReplayJob::run() {
  around_.backend.enter_thread();
  Replay replay(*this);
  while (replay.step < replay.end && replay.advance()) {
  }
  replay.write_dump();
  return replay.result();
}

}  // namespace dlt::train
