// SPDX-License-Identifier: Apache-2.0
#include "train/bench.h"

#include <algorithm>

#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"
#include "observe/json_object.h"
#include "train/comm_plan.h"
#include "train/gpu_link.h"
#include "train/model_state.h"
#include "train/state_place.h"
#include "train/trainer.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kBatchesOfData = 8;

double quantile(std::vector<double> values, double q) {
  std::sort(values.begin(), values.end());
  const auto last = static_cast<double>(values.size() - 1);
  return values[static_cast<std::size_t>(q * last + 0.5)];
}

/// Times of the buckets in the measured steps.
class BucketLog {
 public:
  BucketLog(std::size_t num_buckets, std::int64_t num_steps) : num_buckets_(num_buckets) {
    times_.reserve(num_buckets * static_cast<std::size_t>(num_steps));
  }
  void add(std::span<const ddp::BucketTimes> times) {
    times_.insert(times_.end(), times.begin(), times.end());
  }
  /// An object a bucket, with the median of each of its times.
  [[nodiscard]] std::vector<observe::JsonObject> json(
      const std::vector<ddp::Bucket>& buckets) const {
    std::vector<observe::JsonObject> out;
    for (std::size_t b = 0; b < num_buckets_ && !times_.empty(); ++b) {
      const auto bytes = (buckets[b].end - buckets[b].begin) * std::int64_t{sizeof(float)};
      observe::JsonObject row;
      row.set("mb", static_cast<double>(bytes) / 1048576.0);
      row.set("ready_ms", median_ms(b, &ddp::BucketTimes::ready_s));
      row.set("started_ms", median_ms(b, &ddp::BucketTimes::started_s));
      row.set("finished_ms", median_ms(b, &ddp::BucketTimes::finished_s));
      row.set("waited_ms", median_ms(b, &ddp::BucketTimes::waited_s));
      out.push_back(row);
    }
    return out;
  }

 private:
  [[nodiscard]] double median_ms(std::size_t bucket, double ddp::BucketTimes::*time) const {
    std::vector<double> values;
    for (std::size_t i = bucket; i < times_.size(); i += num_buckets_) {
      values.push_back(times_[i].*time * 1e3);
    }
    return quantile(values, 0.5);
  }
  std::size_t num_buckets_;
  std::vector<ddp::BucketTimes> times_;  // step by step
};

/// What the measured steps took.
class StepTimes {
 public:
  StepTimes(std::size_t num_buckets, std::int64_t num_steps) : buckets_(num_buckets, num_steps) {
    step_s_.reserve(static_cast<std::size_t>(num_steps));
    cpu_s_.reserve(static_cast<std::size_t>(num_steps));
  }
  void add(const StepReport& report, double step_s, double cpu_s) {
    step_s_.push_back(step_s);
    cpu_s_.push_back(cpu_s);
    total_s_ += step_s;
    compute_s_ += report.compute_s;
    exposed_s_ += report.comm_exposed_s;
    data_s_ += report.data_wait_s;
    update_s_ += report.update_s;
    samples_ += static_cast<double>(report.samples);
    buckets_.add(report.buckets);
  }
  [[nodiscard]] double median_s() const { return quantile(step_s_, 0.5); }
  [[nodiscard]] const BucketLog& buckets() const { return buckets_; }
  void describe(observe::JsonObject& json) const {
    observe::JsonObject ms, share;
    ms.set("median", median_s() * 1e3);
    ms.set("p95", quantile(step_s_, 0.95) * 1e3);
    share.set("compute", compute_s_ / total_s_);
    share.set("comm", exposed_s_ / total_s_);
    share.set("data", data_s_ / total_s_);
    share.set("update", update_s_ / total_s_);
    json.set("samples_per_s", samples_ / total_s_);
    json.set("step_ms", ms);
    json.set("step_cpu_ms", quantile(cpu_s_, 0.5) * 1e3);
    json.set("share", share);
  }

 private:
  std::vector<double> step_s_, cpu_s_;
  BucketLog buckets_;
  double total_s_ = 0, compute_s_ = 0, exposed_s_ = 0, data_s_ = 0, update_s_ = 0, samples_ = 0;
};

}  // namespace

std::unique_ptr<data::Dataset> random_data(const RunConfig& config) {
  const nn::TargetSpec& target = config.target;
  return data::make_random_dataset(
      {.num_rows = config.global_batch_size * kBatchesOfData,
       .input_shape = config.model->input_shape(),
       .target_shape = target.shape,
       .num_tokens = config.model->num_tokens(),
       .target_kind = target.labels() ? data::TargetKind::labels : data::TargetKind::values,
       .num_classes = target.num_classes,
       .seed = config.seed});
}

std::string run_bench(const Surroundings& around, const RunConfig& config,
                      const BenchOptions& options, comm::Communicator& comm) {
  around.backend.enter_thread();
  tensor::Backend& device = around.leaf_device(config, comm);
  const Division division = divide(config, comm, around.host, 0, device);
  ThreadPool pool(division.update_threads);
  const GpuLink gpus = link_gpus(config, comm, device, around.devices);
  const auto program =
      training_program(config, around.table, device, division.leaf_capacity, division.num_workers);
  const auto dataset = random_data(config);
  const CommPlan plan = plan_communication(config, *program, comm, around.clock);
  StateExtras extras = state_extras(config, steps_per_epoch(config, dataset->num_rows()));
  place_state(config, *program, plan, device, comm, SharedRoom::gradients, extras);
  ModelState state(program->layout(), config.optimizer.get(), around.backend, std::move(extras));
  state.initialize(config.model->params(), config.seed);
  const std::int64_t end = options.warmup + options.steps;
  Trainer trainer(
      {.config = config,
       .program = *program,
       .backend = around.backend,
       .comm = comm,
       .pool = pool,
       .clock = around.clock,
       .host = around.host,
       .plan = &plan,
       .device = &device,
       .gpus = gpus.comm.get()},
      *dataset, state,
      {.num_leaves = division.num_leaves, .first_step = 0, .end_step = end, .total_steps = end});
  StepTimes times(plan.buckets.size(), options.steps);
  for (std::int64_t step = 0; step < end; ++step) {
    const double before = around.clock.monotonic_s(), cpu_before = process_cpu_s();
    const StepReport report = trainer.step({});
    if (step < options.warmup) continue;
    times.add(report, around.clock.monotonic_s() - before, process_cpu_s() - cpu_before);
  }
  trainer.settle();
  const int my_leaves = ddp::split({0, division.num_leaves}, comm.world_size(), comm.rank()).size();
  observe::JsonObject json;
  times.describe(json);
  json.set("gflops_per_s",
           static_cast<double>(program->flops()) * my_leaves / times.median_s() * 1e-9);
  json.set("world_size", std::int64_t{comm.world_size()});
  json.set("device", std::string(device.name()));
  if (gpus.comm != nullptr) json.set("between_gpus", gpus.comm->version());
  if (!gpus.why_not.empty()) json.set("between_gpus", cat("the hosts: ", gpus.why_not));
  json.set("threads", std::int64_t{division.threads});
  json.set("leaves", std::int64_t{division.num_leaves});
  json.set("steps", options.steps);
  json.set("shared_replica", state.host() != nullptr);
  if (plan.link) {
    observe::JsonObject link;
    link.set("latency_us", plan.link->latency_s * 1e6);
    link.set("gb_per_s", 1e-9 / plan.link->seconds_per_byte);
    json.set("link", link);
  }
  json.set("buckets", times.buckets().json(plan.buckets));
  json.set("peak_rss_mb", static_cast<double>(peak_rss_bytes()) / 1048576.0);
  return json.text(2) + "\n";
}

}  // namespace dlt::train
