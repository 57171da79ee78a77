// SPDX-License-Identifier: Apache-2.0
#include "train/engine.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "autodiff/passes.h"
#include "autodiff/recompute.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "ddp/leaf_tree.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kMaxEvaluationChunk = 256;
constexpr std::size_t kMaxCores = 1024;
/// Parameters times samples that keep a thread busy for longer than it takes to wake it (some 20
/// us).
constexpr std::int64_t kWorkOfAThread = 1 << 19;

/// What each rank tells the others before the work is divided.
struct RankCores {
  std::uint64_t host = 0;
  std::int64_t wanted = 0;  // train.threads, 0 for auto
  std::int64_t gpu = 0;     // 1: one leaf at a time
  std::array<std::uint64_t, kMaxCores / 64> mask{};
};

bool uses(const RankCores& rank, std::size_t core) {
  return ((rank.mask[core / 64] >> (core % 64)) & 1U) != 0;
}

/// This rank's share of its cores: each counts one over the number of ranks of the host that may
/// use it.
int share_of_cores(const std::vector<RankCores>& all, std::size_t self) {
  double share = 0;
  for (std::size_t core = 0; core < kMaxCores; ++core) {
    if (!uses(all[self], core)) continue;
    const auto sharers = std::count_if(all.begin(), all.end(), [&](const RankCores& other) {
      return other.host == all[self].host && uses(other, core);
    });
    share += 1.0 / static_cast<double>(sharers);
  }
  return std::max(1, static_cast<int>(share + 1e-9));
}

void set_precision(autodiff::Graph& graph, const RunConfig& config) {
  if (config.precision != "f32") (void)autodiff::set_precision(graph, config.precision);
}

}  // namespace

std::vector<std::string> statistic_names(const nn::Model& model) {
  std::vector<std::string> names;
  for (const nn::ParamSpec& spec : model.params()) {
    if (spec.kind == nn::ParamKind::statistic) names.push_back(spec.name);
  }
  return names;
}

StateExtras state_extras(const RunConfig& config, std::int64_t steps_per_epoch) {
  return {.averaging = config.averaging.resolved(steps_per_epoch),
          .statistics = statistic_names(*config.model),
          .plateau = config.schedule.kind == optim::ScheduleKind::reduce_on_plateau,
          .carried = CarriedState(config.model->carried(), config.global_batch_size)};
}

void load_for_use(const RunConfig& config, const checkpoint::Checkpoint& checkpoint,
                  ModelState& state) {
  state.load(checkpoint);
  if (config.averaging.evaluates()) state.load_average(checkpoint, config.averaging.name());
}

std::int64_t count_params(const RunConfig& config) {
  std::int64_t total = 0;
  for (const auto& spec : config.model->params()) total += spec.shape.numel();
  return total;
}

int useful_threads(const RunConfig& config, int world_size) {
  const std::int64_t samples = (config.global_batch_size + world_size - 1) / world_size;
  return static_cast<int>(
      std::clamp<std::int64_t>(count_params(config) * samples / kWorkOfAThread, 1, 1 << 20));
}

void divide_leaves(const RunConfig& config, int world_size, int rank, std::int64_t fixed_leaves,
                   Division& out) {
  const std::int64_t automatic =
      std::min<std::int64_t>(out.total_threads, config.global_batch_size);
  out.num_leaves =
      static_cast<int>(fixed_leaves > 0 ? fixed_leaves : config.leaves.value_or(automatic));
  if (world_size > out.num_leaves) {
    throw Error(Exit::config,
                cat("train.leaves: expected at least one leaf for each of the ", world_size,
                    " ranks, got ", out.num_leaves),
                cat("start at most ", out.num_leaves,
                    " ranks, or set train.leaves (and data.global_batch_size) to ", world_size,
                    " or more"));
  }
  const ddp::LeafRange leaves = ddp::split({0, out.num_leaves}, world_size, rank);
  // With balance the rank may get more leaves than it begins with.
  const int most = config.balance ? out.num_leaves : leaves.size();
  out.num_workers = std::clamp(out.threads, 1, std::max(1, most));
  out.leaf_capacity = (config.global_batch_size + out.num_leaves - 1) / out.num_leaves;
}

Division divide(const RunConfig& config, comm::Communicator& comm, const std::string& host,
                std::int64_t fixed_leaves, const tensor::Backend& device) {
  RankCores mine{.host = xxh3(host),
                 .wanted = config.threads.value_or(0),
                 .gpu = device.in_host_memory() ? 0 : 1,
                 .mask = {}};
  for (const int core : allowed_cores()) {
    const auto c = static_cast<std::size_t>(core);
    if (c < kMaxCores) mine.mask[c / 64] |= std::uint64_t{1} << (c % 64);
  }
  std::vector<RankCores> all(static_cast<std::size_t>(comm.world_size()));
  comm.allgather(&mine, all.data(), sizeof(RankCores));

  Division out;
  const auto self = static_cast<std::size_t>(comm.rank());
  const int most = useful_threads(config, comm.world_size());
  int local_threads = 0;
  out.total_threads = 0;
  for (std::size_t r = 0; r < all.size(); ++r) {
    const int threads = all[r].wanted > 0 ? static_cast<int>(all[r].wanted)
                                          : std::min(share_of_cores(all, r), most);
    const int leaf_threads = all[r].gpu != 0 ? 1 : threads;
    out.total_threads += leaf_threads;
    if (r == self) {
      out.threads = leaf_threads;
      out.update_threads = threads;
    }
    if (all[r].host == all[self].host) local_threads += threads;
  }
  out.oversubscribed = local_threads > online_cores();
  divide_leaves(config, comm.world_size(), comm.rank(), fixed_leaves, out);
  if (device.in_host_memory()) out.update_threads = out.num_workers;
  return out;
}

std::int64_t evaluation_chunk(const RunConfig& config) {
  return std::min(config.global_batch_size, kMaxEvaluationChunk);
}

std::unique_ptr<autodiff::Program> training_program(const RunConfig& config,
                                                    const autodiff::OpTable& table,
                                                    tensor::Backend& backend,
                                                    std::int64_t leaf_capacity, int num_workers) {
  const auto make = [&](int segments) {
    autodiff::Graph graph(table);
    (void)config.model->build_training(
        graph, leaf_capacity, *config.loss,
        config.augment.mixes() ? nn::TargetForm::distributions : nn::TargetForm::plain);
    set_precision(graph, config);
    (void)autodiff::recompute_activations(graph, segments);
    return std::make_unique<autodiff::Program>(std::move(graph), backend);
  };
  auto program = make(1);
  if (!config.memory_budget_bytes) return program;
  const auto rank_bytes = [&] { return program->plan().arena_bytes * num_workers; };
  std::int64_t least = rank_bytes();
  for (const int segments : {2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64}) {
    if (rank_bytes() <= *config.memory_budget_bytes) return program;
    program = make(segments);
    least = std::min(least, rank_bytes());
  }
  if (rank_bytes() <= *config.memory_budget_bytes) return program;
  const auto mib = [](std::int64_t bytes) {
    return std::ceil(static_cast<double>(bytes) / 10485.76) / 100;
  };
  throw Error(Exit::config,
              cat("train.memory_budget: expected at least ", mib(least),
                  "MiB for the activations of ", counted(num_workers, "leaf", "leaves"), " of ",
                  counted(leaf_capacity, "sample", "samples"), ", got ",
                  mib(*config.memory_budget_bytes), "MiB"),
              "raise it, or make the leaves smaller: more train.leaves, fewer train.threads");
}

std::unique_ptr<autodiff::Program> evaluation_program(const RunConfig& config,
                                                      const autodiff::OpTable& table,
                                                      tensor::Backend& backend,
                                                      const tensor::FlatLayout* layout) {
  autodiff::Graph graph(table);
  (void)config.model->build_evaluation(graph, evaluation_chunk(config), *config.loss);
  set_precision(graph, config);
  return std::make_unique<autodiff::Program>(std::move(graph), backend, layout);
}

std::unique_ptr<autodiff::Program> prediction_program(const RunConfig& config,
                                                      const autodiff::OpTable& table,
                                                      tensor::Backend& backend,
                                                      const tensor::FlatLayout* layout) {
  autodiff::Graph graph(table);
  (void)config.model->build_prediction(graph, evaluation_chunk(config));
  set_precision(graph, config);
  return std::make_unique<autodiff::Program>(std::move(graph), backend, layout);
}

std::unique_ptr<data::Dataset> open_dataset(const RunConfig& config, const DataSource& source) {
  data::DatasetOptions options = dataset_options(source, *config.model, config.target);
  options.check_when_opened = !config.skip_bad_samples;
  return data::open_hdf5(options);
}

std::int64_t steps_per_epoch(const RunConfig& config, std::int64_t num_rows) {
  if (config.streams) {
    if (num_rows >= config.global_batch_size) return num_rows / config.global_batch_size;
    throw Error(Exit::config,
                cat("data.train: ", num_rows, " rows, expected at least ", config.global_batch_size,
                    " (data.global_batch_size) for data.streams"));
  }
  return (num_rows + config.global_batch_size - 1) / config.global_batch_size;
}

std::int64_t total_steps(const RunConfig& config, std::int64_t num_rows) {
  return config.steps ? *config.steps : *config.epochs * steps_per_epoch(config, num_rows);
}

bool evaluation_due(const RunConfig& config, std::int64_t per_epoch, std::int64_t steps_done) {
  return config.eval_every_epochs > 0 && steps_done > 0 &&
         steps_done % (per_epoch * config.eval_every_epochs) == 0;
}

void observe_plateau(const RunConfig& config, ModelState& state, const MetricValues& values,
                     std::int64_t steps_done) {
  const optim::ScheduleConfig& schedule = config.schedule;
  if (schedule.kind != optim::ScheduleKind::reduce_on_plateau) return;
  for (const auto& [name, value] : values) {
    if (name != schedule.plateau.monitor) continue;
    state.plateau().observe(schedule.plateau, value, steps_done);
  }
}

}  // namespace dlt::train
