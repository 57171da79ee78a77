// SPDX-License-Identifier: Apache-2.0
#include "train/estimate.h"

#include <algorithm>
#include <iomanip>
#include <numeric>
#include <sstream>

#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"
#include "checkpoint/draft.h"
#include "ddp/bucket_plan.h"
#include "ddp/cost.h"
#include "ddp/leaf_tree.h"
#include "train/comm_options.h"
#include "train/comm_plan.h"
#include "train/local_steps.h"
#include "train/state_place.h"
#include "train/trainer.h"

namespace dlt::train {
namespace {

/// What an MPI rank holds beside the rest: library state and its part of the shared segment
/// (Open MPI 4.1: measured as the difference of peak resident sets).
constexpr std::int64_t kMpiBytes = 9 << 20;
/// What a run touches beside its buffers and what `check` has touched itself: threads, checkpoint
/// code, logs.
constexpr std::int64_t kRunBytes = 4 << 20;

std::string grouped(std::int64_t n) {
  std::string digits = std::to_string(n);
  for (auto at = static_cast<std::int64_t>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

/// The division of the work over `ranks` ranks of this host, each with its share of the cores.
Division assumed_division(const RunConfig& config, int ranks) {
  Division out;
  const int cores = static_cast<int>(allowed_cores().size());
  out.threads = static_cast<int>(
      config.threads.value_or(std::clamp(cores / ranks, 1, useful_threads(config, ranks))));
  out.total_threads = out.threads * ranks;
  divide_leaves(config, ranks, ranks - 1, 0, out);
  return out;
}

std::string cost_table(const Estimate& e) {
  std::ostringstream out;
  const auto row = [&](const std::string& name, const std::string& text) {
    out << std::left << std::setw(20) << name << text << "\n";
  };
  row("parameters", e.frozen > 0
                        ? cat(grouped(e.params), ", ", grouped(e.frozen), " of them frozen")
                        : grouped(e.params));
  row("steps", cat(grouped(e.steps), ", ", grouped(e.steps_per_epoch), " an epoch"));
  row("division",
      cat(counted(e.ranks, "rank", "ranks"), " x ", counted(e.threads, "thread", "threads"), ", ",
          counted(e.leaves, "leaf", "leaves"), " of ",
          counted(e.leaf_capacity, "sample", "samples")));
  row("compute", cat(grouped(e.flops_per_step), " FLOP a step"));
  row("communication", cat(mebibytes(e.bytes_per_step), " sent by a rank each step, ",
                           counted(e.num_buckets, "bucket", "buckets")));
  row("peak memory",
      cat(mebibytes(e.peak_bytes()), " a rank (program ", mebibytes(e.program_bytes), ", data ",
          mebibytes(e.data_bytes), ", model ", mebibytes(e.model_bytes), ", gradients ",
          mebibytes(e.gradient_bytes), ", activations ", mebibytes(e.activation_bytes), ", saving ",
          mebibytes(e.saving_bytes), ")"));
  if (e.shared_bytes > 0) {
    row("shared memory",
        cat(mebibytes(e.shared_bytes), " on a host, counted by each rank that uses it"));
  }
  return out.str();
}

void count_parameters(const RunConfig& config, Estimate& e) {
  e.params = count_params(config);
  for (const auto& spec : config.model->params()) {
    if (spec.kind == nn::ParamKind::trainable &&
        optim::is_frozen(config.optimizer->groups(), spec.name)) {
      e.frozen += spec.shape.numel();
    }
  }
}

/// What is estimated, of the last rank of this host.
struct Supposed {
  const RunConfig& config;
  const autodiff::Program& train;
  const Division& division;
  const CommPlan& plan;
  [[nodiscard]] std::int64_t flat_bytes() const {
    return train.layout().total * ddp::kElement_bytes;
  }
  [[nodiscard]] std::int64_t num_states() const {
    return static_cast<std::int64_t>(config.optimizer->state_names().size());
  }
};

comm::Hosts this_host(int num_ranks) {
  comm::Hosts hosts(1, std::vector<int>(static_cast<std::size_t>(num_ranks)));
  std::iota(hosts[0].begin(), hosts[0].end(), 0);
  return hosts;
}

void estimate_state(const Supposed& job, Estimate& e) {
  const RunConfig& config = job.config;
  const std::int64_t flat_bytes = job.flat_bytes(), states = job.num_states();
  const std::optional<optim::Shard> shard = job.plan.shard_of(e.ranks - 1);
  const std::int64_t state_bytes = shard ? shard->num_elements() * ddp::kElement_bytes : flat_bytes;
  const std::int64_t whole_buffers = 1 + (config.averaging.active() ? 1 : 0);
  e.model_bytes = flat_bytes * whole_buffers + state_bytes * states;
  for (const nn::CarriedSpec& spec : config.model->carried()) {
    e.model_bytes += config.global_batch_size * spec.size * ddp::kElement_bytes;
  }
  // A rank's share of what all have, which is not cut finer than a block, and all it alone has.
  const std::int64_t common = flat_bytes * (whole_buffers + (shard ? 0 : states));
  e.saving_bytes =
      common / std::clamp<std::int64_t>(common / checkpoint::kBlock_bytes, 1, e.ranks) +
      (shard ? state_bytes * states : 0);
  if (wants_shared_replica(config, this_host(e.ranks))) e.shared_bytes += common;
}

void estimate_communication(const Supposed& job, Estimate& e) {
  const RunConfig& config = job.config;
  const comm::Hosts hosts = this_host(e.ranks);
  ddp::ReducerOptions reducer = reducer_options_of(config, job.train, job.plan,
                                                   {.num_leaves = job.division.num_leaves,
                                                    .num_workers = job.division.num_workers,
                                                    .world_size = e.ranks});
  reducer.release = reducer.release && job.train.num_segments() == 1;
  reducer.gathers = !wants_shared_replica(config, hosts);
  const bool local_steps = config.sync_every > 1 && e.ranks > 1;
  e.num_buckets = static_cast<std::int64_t>(reducer.buckets.size());
  const ddp::Cost cost = ddp::planned_cost(reducer, hosts, e.ranks - 1);
  e.gradient_bytes = cost.buffer_bytes;
  e.bytes_per_step = cost.sent_bytes;
  for (const int rank : hosts[0]) {
    e.shared_bytes += ddp::planned_cost(reducer, hosts, rank).shared_bytes;
  }
  if (!local_steps) return;
  const ddp::Cost mean = LocalSteps::cost({.total = job.train.layout().total,
                                           .num_states = job.num_states(),
                                           .average = config.averaging.active(),
                                           .world_size = e.ranks,
                                           .rank = e.ranks - 1});
  e.model_bytes += mean.buffer_bytes;
  e.bytes_per_step = mean.sent_bytes / config.sync_every;
}

}  // namespace

std::string model_table(const nn::Model& model) {
  std::ostringstream out;
  out << std::left << std::setw(28) << "layer" << std::setw(18) << "output" << std::right
      << std::setw(14) << "parameters"
      << "\n";
  out << std::left << std::setw(28) << "input" << std::setw(18) << model.input_shape().text()
      << std::right << std::setw(14) << 0 << "\n";
  for (const nn::LayerRow& row : model.rows()) {
    out << std::left << std::setw(28)
        << std::string(2 * static_cast<std::size_t>(row.depth), ' ') + row.name << std::setw(18)
        << row.output.text() << std::right << std::setw(14) << grouped(row.num_params) << "\n";
  }
  return out.str();
}

std::string run_check(const Surroundings& around, const CheckOptions& options) {
  around.backend.enter_thread();
  const RunConfig config =
      read_run_config(options.config_path, options.overrides, around.table, around.backend);
  const Division division = assumed_division(config, options.ranks);
  const auto train = training_program(config, around.table, around.backend, division.leaf_capacity,
                                      division.num_workers);
  const auto train_data = open_dataset(config, *config.train_data);
  const auto eval_data = config.eval_data ? open_dataset(config, *config.eval_data) : nullptr;

  Estimate e;
  e.data_bytes = train_data->cached_bytes() + (eval_data ? eval_data->cached_bytes() : 0);
  e.ranks = options.ranks;
  e.threads = division.threads;
  e.leaves = division.num_leaves;
  e.leaf_capacity = division.leaf_capacity;
  e.steps = total_steps(config, train_data->num_rows());
  e.steps_per_epoch = steps_per_epoch(config, train_data->num_rows());
  e.flops_per_step = train->flops() * division.num_leaves;
  count_parameters(config, e);
  const CommPlan plan = suppose_communication(config, *train, options.ranks);
  estimate_state({config, *train, division, plan}, e);
  estimate_communication({config, *train, division, plan}, e);
  e.activation_bytes = train->plan().arena_bytes * division.num_workers;
  if (division.num_leaves > options.ranks * division.num_workers) {  // a worker has several
    e.activation_bytes += train->kept_bytes() * division.num_workers;
  }
  if (eval_data) {
    const auto eval = evaluation_program(config, around.table, around.backend, &train->layout());
    e.activation_bytes += (eval->plan().arena_bytes + eval->kept_bytes()) * division.num_workers;
  }
  // What this process holds now is a rank's own, but for the buffers it has not made.
  e.program_bytes =
      peak_rss_bytes() - e.data_bytes + kRunBytes + (options.ranks > 1 ? kMpiBytes : 0);
  return model_table(*config.model) + "\n" + cost_table(e);
}

}  // namespace dlt::train
