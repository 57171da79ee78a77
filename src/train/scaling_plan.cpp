// SPDX-License-Identifier: Apache-2.0
#include "train/scaling_plan.h"

#include <algorithm>
#include <iomanip>
#include <sstream>

#include "base/error.h"
#include "base/text.h"
#include "observe/json_object.h"
#include "train/comm_plan.h"
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

std::vector<std::string> unknown_settings(const RunConfig& config, int ranks_per_host) {
  std::vector<std::string> remarks;
  if (config.shard != Sharding::none) {
    remarks.push_back(
        "train.shard: predicted as if every rank updated all parameters; the same bytes move");
  }
  if (config.compression.active()) {
    remarks.push_back("comm.compression: predicted for gradients that are sent as they are");
  }
  if (config.sync_every > 1) {
    remarks.push_back("comm.sync_every: predicted for a step that communicates");
  }
  if (!config.shared_memory && ranks_per_host > 1) {
    remarks.push_back("comm.shared_memory: predicted as auto");
  }
  return remarks;
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

ScalingRow row_of(const Model& model, int ranks) {
  const RunConfig& config = model.config;
  const bool weak = model.plan.scaling == Scaling::weak;
  const int leaves = model.plan.leaves_per_rank * (weak ? ranks : 1);
  ddp::ScaledJob job{.num_ranks = ranks,
                     .ranks_per_host = model.plan.ranks_per_host,
                     .num_leaves = leaves,
                     .threads = model.plan.threads,
                     .reduction = config.reduction,
                     .overlap = config.overlap,
                     .updates_early = updates_as_buckets_land(config),
                     .buckets = ddp::plan_buckets(model.program.layout(), config.bucket_bytes)};
  job.message_bytes = kHeader_bytes + static_cast<std::int64_t>(sizeof(double)) * model.num_sums *
                                          ((leaves + ranks - 1) / ranks);
  if (config.bucket_bytes == 0 && ranks > 1) {
    job.buckets = buckets_for_link(config, model.program, ddp::supposed_link(model.fabric, job));
  }
  return {.ranks = ranks,
          .global_batch_size = config.global_batch_size * (weak ? ranks : 1),
          .num_buckets = static_cast<std::int64_t>(job.buckets.size()),
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

std::string fixed(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string heading(const ScalingPlan& plan) {
  std::ostringstream out;
  out << plan.name << ": " << fixed(static_cast<double>(plan.gradient_bytes) / 1048576.0, 2)
      << " MiB of gradients; a rank of " << counted(plan.threads, "thread", "threads")
      << (plan.measured ? ", measured here: leaf " : ", given: leaf ")
      << fixed(plan.profile.leaf_s * 1e3, 2) << " ms, update "
      << fixed(plan.profile.update_s * 1e3, 2) << " ms\n";
  out << plan.bandwidth_gbps << " Gbit/s a host each way, latency " << plan.latency_us << " us, "
      << counted(plan.ranks_per_host, "rank", "ranks") << " a host; ";
  if (plan.scaling == Scaling::weak) {
    out << "weak scaling: " << counted(plan.leaves_per_rank, "leaf", "leaves") << " of "
        << counted(plan.leaf_samples, "sample", "samples")
        << " a rank, so the batch grows with the ranks\n";
  } else {
    out << "strong scaling: " << counted(plan.leaves_per_rank, "leaf", "leaves") << " of "
        << counted(plan.leaf_samples, "sample", "samples")
        << " shared by the ranks, so the batch stays\n";
  }
  return out.str();
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
      .latency_us = options.latency_us,
      .remarks = unknown_settings(config, options.ranks_per_host)};
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
  const SumLayout sums{.metrics = &config.metrics};
  add_rows({.config = config,
            .program = *program,
            .plan = plan,
            .fabric = fabric,
            .num_sums = sums.size()},
           options.ranks, plan);
  return plan;
}

std::string scaling_table(const ScalingPlan& plan) {
  std::ostringstream out;
  out << heading(plan) << "\n"
      << "   ranks      batch  buckets    compute       wire    exposed    step ms  efficiency"
         "     samples/s\n";
  const auto ms = [&](double seconds) {
    out << std::setw(11) << fixed(seconds * 1e3, seconds < 0.1 ? 3 : 1);
  };
  for (const ScalingRow& row : plan.rows) {
    out << std::setw(8) << row.ranks << std::setw(11) << row.global_batch_size << std::setw(9)
        << row.num_buckets;
    ms(row.time.compute_s);
    ms(row.time.wire_s);
    ms(row.time.exposed_s);
    ms(row.time.step_s);
    out << std::setw(10) << fixed(row.efficiency * 100, 1) << " %" << std::setw(14)
        << fixed(row.samples_per_s, 0) << "\n";
  }
  for (const int ranks : plan.too_many) {
    out << std::setw(8) << ranks << "   more ranks than leaves: set train.leaves to " << ranks
        << " or more\n";
  }
  for (const std::string& remark : plan.remarks) out << remark << "\n";
  return out.str();
}

std::string scaling_json(const ScalingPlan& plan) {
  observe::JsonObject json;
  json.set("name", plan.name);
  json.set("scaling", std::string(plan.scaling == Scaling::weak ? "weak" : "strong"));
  json.set("threads", std::int64_t{plan.threads});
  json.set("leaves_per_rank", std::int64_t{plan.leaves_per_rank});
  json.set("ranks_per_host", std::int64_t{plan.ranks_per_host});
  json.set("gradient_bytes", plan.gradient_bytes);
  json.set("leaf_flops", plan.leaf_flops);
  json.set("leaf_kernels", plan.leaf_kernels);
  json.set("update_bytes", plan.update_bytes);
  json.set("bandwidth_gbps", plan.bandwidth_gbps);
  json.set("latency_us", plan.latency_us);
  json.set("leaf_ms", plan.profile.leaf_s * 1e3);
  json.set("update_ms", plan.profile.update_s * 1e3);
  std::vector<observe::JsonObject> rows;
  for (const ScalingRow& row : plan.rows) {
    observe::JsonObject out;
    out.set("ranks", std::int64_t{row.ranks});
    out.set("global_batch_size", row.global_batch_size);
    out.set("buckets", row.num_buckets);
    out.set("compute_ms", row.time.compute_s * 1e3);
    out.set("wire_ms", row.time.wire_s * 1e3);
    out.set("exposed_ms", row.time.exposed_s * 1e3);
    out.set("step_ms", row.time.step_s * 1e3);
    out.set("efficiency", row.efficiency);
    out.set("samples_per_s", row.samples_per_s);
    rows.push_back(std::move(out));
  }
  json.set("rows", std::move(rows));
  return json.text(2) + "\n";
}

}  // namespace dlt::train
