// SPDX-License-Identifier: Apache-2.0
#include "train/scaling_plan.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "train/comm_options.h"
#include "train/comm_plan.h"
#include "train/local_steps.h"
#include "train/state_place.h"
#include "train/step_profile.h"
#include "train/trainer.h"

namespace dlt::train {
namespace {

constexpr auto kElement_bytes = static_cast<std::int64_t>(sizeof(float));
/// Of the step's message: a control word and stamps beside the sums of each leaf.
constexpr std::int64_t kHeader_bytes = 64;

Division one_rank(const RunConfig& config, int ranks_per_host) {
  Division out;
  const int cores = static_cast<int>(allowed_cores().size());
  out.threads = static_cast<int>(
      config.threads.value_or(std::clamp(cores / ranks_per_host, 1, useful_threads(config, 1))));
  out.total_threads = out.threads;
  divide_leaves(config, 1, 0, 0, out);
  return out;
}

/// Buffers of the model's size that an update reads or writes: gradients and parameters read,
/// parameters written, each state both.
std::int64_t update_passes(const RunConfig& config) {
  return 3 + 2 * static_cast<std::int64_t>(config.optimizer->state_names().size());
}

/// What all rows share.
struct Model {
  const RunConfig& config;
  const autodiff::Program& program;
  const ScalingPlan& plan;
  ddp::Fabric fabric;
  int num_sums = 2;
};

ddp::ReplicaMean mean_of(const Model& model, int ranks) {
  const RunConfig& config = model.config;
  const LocalSteps::Shape shape{
      .total = model.program.layout().total,
      .num_states = static_cast<std::int64_t>(config.optimizer->state_names().size()),
      .average = config.averaging.active(),
      .world_size = ranks};
  return {.every = config.sync_every,
          .cost = LocalSteps::cost(shape),
          .memory_bytes = LocalSteps::memory_bytes(shape)};
}

ddp::ScaledJob job_of(const Model& model, int ranks, int leaves) {
  const RunConfig& config = model.config;
  const ScalingPlan& plan = model.plan;
  const auto options = [&](const std::optional<ddp::Link>& link) {
    ddp::ReducerOptions reducer = reducer_options_of(
        config, model.program, suppose_communication(config, model.program, ranks, link),
        {.num_leaves = leaves, .num_workers = plan.threads, .world_size = ranks});
    const comm::Hosts hosts = ddp::blocks_of_ranks(ranks, plan.ranks_per_host);
    if (!wants_shared_replica(config, hosts)) return reducer;
    reducer.gathers = false;
    if (!reducer.shards) {
      reducer.host_slices = ddp::ShardPlan(model.program.layout(), reducer.buckets,
                                           static_cast<int>(hosts.back().size()));
    }
    return reducer;
  };
  const auto cores = static_cast<int>(allowed_cores().size());
  const bool local = config.sync_every > 1 && ranks > 1;
  ddp::ScaledJob job{.num_ranks = ranks,
                     .ranks_per_host = plan.ranks_per_host,
                     .reducer = options({}),
                     .updates_early = updates_as_buckets_land(config) && !local,
                     .spare_cores = plan.threads * plan.ranks_per_host < cores};
  if (local) job.mean = mean_of(model, ranks);
  job.message_bytes = kHeader_bytes + static_cast<std::int64_t>(sizeof(double)) * model.num_sums *
                                          ((leaves + ranks - 1) / ranks);
  if (cuts_for_link(config, model.program, ranks)) {
    job.reducer = options(ddp::supposed_link(model.fabric, job));
  }
  return job;
}

ScalingRow row_of(const Model& model, int ranks) {
  const bool weak = model.plan.scaling == Scaling::weak;
  const int leaves = model.plan.leaves_per_rank * (weak ? ranks : 1);
  const ddp::ScaledJob job = job_of(model, ranks, leaves);
  return {.ranks = ranks,
          .global_batch_size = model.config.global_batch_size * (weak ? ranks : 1),
          .num_buckets = static_cast<std::int64_t>(job.reducer.buckets.size()),
          .time = ddp::predict_step(model.plan.profile, model.fabric, job)};
}

void add_rows(const Model& model, const std::vector<int>& ranks, ScalingPlan& plan) {
  plan.rows.push_back(row_of(model, 1));
  for (const int n : ranks) {
    if (n == 1) continue;
    if (plan.scaling == Scaling::strong && n > plan.leaves_per_rank) {
      plan.too_many.push_back(n);
    } else {
      plan.rows.push_back(row_of(model, n));
    }
  }
  for (ScalingRow& row : plan.rows) {
    row.samples_per_s = static_cast<double>(row.global_batch_size) / row.time.step_s;
    row.efficiency = row.samples_per_s / (plan.rows[0].samples_per_s * row.ranks);
  }
}

/// The buckets of a compressed run do not depend on the ranks.
void set_coding(const Surroundings& around, const RunConfig& config,
                const autodiff::Program& program, double memory_bytes_per_s, ScalingPlan& plan) {
  const ddp::ReducerOptions options = reducer_options_of(
      config, program, suppose_communication(config, program, 2), {.world_size = 2});
  plan.profile.coding = plan.measured ? ddp::measure_coding(options, around.clock)
                                      : ddp::suppose_coding(options, memory_bytes_per_s);
  for (const ddp::CodingTime& time : plan.profile.coding) plan.coding_s += time.of(2);
}

std::string milliseconds(double seconds) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(2) << seconds * 1e3 << " ms";
  return out.str();
}

void add_remarks(const RunConfig& config, ScalingPlan& plan) {
  if (config.compression.active()) {
    const auto kind = static_cast<std::size_t>(config.compression.kind);
    plan.remarks.push_back(cat("comm.compression: ", ddp::compression_names()[kind],
                               ": every rank computes ", milliseconds(plan.coding_s),
                               " a step to compress and get back (two ranks; ",
                               plan.measured ? "measured here)" : "by memory's bandwidth)"));
  }
  if (config.shard != Sharding::none) {
    plan.remarks.push_back(
        "train.shard: a rank updates its share; exposed has what the next forward pass waits for");
  }
  if (config.sync_every > 1) {
    plan.remarks.push_back(cat("comm.sync_every: wire, exposed and step are means over ",
                               config.sync_every, " steps, the last of which takes the mean"));
  }
}

}  // namespace

ScalingPlan make_scaling_plan(const Surroundings& around, const PlanOptions& options) {
  around.backend.enter_thread();
  const RunConfig config =
      read_run_config(options.config_path, options.overrides, around.table, around.backend);
  const Division division = one_rank(config, options.ranks_per_host);
  const auto program = training_program(config, around.table, around.backend,
                                        division.leaf_capacity, division.num_workers);
  ScalingPlan plan{
      .name = config.name,
      .scaling = options.scaling.value_or(config.leaves ? Scaling::strong : Scaling::weak),
      .threads = division.num_workers,
      .leaves_per_rank = division.num_leaves,
      .ranks_per_host = options.ranks_per_host,
      .leaf_samples = division.leaf_capacity,
      .gradient_bytes = program->layout().total * kElement_bytes,
      .leaf_flops = program->flops(),
      .leaf_kernels = static_cast<std::int64_t>(program->graph().nodes().size()),
      .update_bytes = program->layout().total * kElement_bytes * update_passes(config),
      .measured = !options.step_ms,
      .bandwidth_gbps = options.bandwidth_gbps,
      .latency_us = options.latency_us};
  plan.profile = options.step_ms ? suppose_step(*program, division, *options.step_ms * 1e-3)
                                 : measure_step(around, config, *program, division);
  ddp::Fabric fabric{.bytes_per_s = options.bandwidth_gbps * 1e9 / 8,
                     .latency_s = options.latency_us * 1e-6,
                     .message_s = options.message_us * 1e-6};
  if (options.memory_gb_per_s) {
    fabric.memory_bytes_per_s = *options.memory_gb_per_s * 1e9;
  } else {
    ThreadPool pool(static_cast<int>(allowed_cores().size()));
    fabric.memory_bytes_per_s = measure_memory(pool, around.clock);
  }
  set_coding(around, config, *program, fabric.memory_bytes_per_s / options.ranks_per_host, plan);
  add_remarks(config, plan);
  const SumLayout sums{.metrics = &config.metrics};
  add_rows({.config = config,
            .program = *program,
            .plan = plan,
            .fabric = fabric,
            .num_sums = sums.size()},
           options.ranks, plan);
  return plan;
}

}  // namespace dlt::train
