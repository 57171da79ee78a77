// SPDX-License-Identifier: Apache-2.0
#include "train/step_profile.h"

#include <algorithm>

#include "ddp/sum.h"
#include "tensor/storage.h"
#include "train/bench.h"
#include "train/leaf_runner.h"
#include "train/trainer.h"

namespace dlt::train {
namespace {

constexpr double kMeasure_s = 1.0;
constexpr std::int64_t kWarmup = 2, kFewest = 5, kMost = 200;

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Leaves of a rank that a thread runs one after the other, at most.
int rounds_of(const Division& division) {
  return (division.num_leaves + division.num_workers - 1) / division.num_workers;
}

/// Notes when parameters are read and when gradients are final.
class Stamps final : public autodiff::GradientSink, public autodiff::ParamGate {
 public:
  explicit Stamps(const Clock& clock) : clock_(clock) {}
  void begin() {
    points_.clear();
    needed_.clear();
    begin_s_ = clock_.monotonic_s();
  }
  void wait_for_params(std::int64_t from) override {
    needed_.push_back({.from = from, .time_s = clock_.monotonic_s() - begin_s_});
  }
  void gradients_final(std::int64_t prefix) override {
    points_.push_back({.prefix = prefix, .time_s = clock_.monotonic_s() - begin_s_});
  }
  [[nodiscard]] const std::vector<ddp::ReadyPoint>& points() const { return points_; }
  [[nodiscard]] const std::vector<ddp::NeedPoint>& needed() const { return needed_; }

 private:
  const Clock& clock_;
  std::vector<ddp::ReadyPoint> points_;
  std::vector<ddp::NeedPoint> needed_;
  double begin_s_ = 0;
};

/// Times of a leaf's points, leaf by leaf.
class PointTimes {
 public:
  template <typename Point>
  void add(const std::vector<Point>& points, double leaf_s) {
    times_.resize(points.size());
    for (std::size_t p = 0; p < points.size(); ++p) times_[p].push_back(points[p].time_s / leaf_s);
  }
  template <typename Point>
  void set_medians(std::vector<Point>& points) const {
    for (std::size_t p = 0; p < points.size(); ++p) points[p].time_s = median(times_[p]);
  }

 private:
  std::vector<std::vector<double>> times_;
};

/// When parameters are read and gradients final, as shares of a leaf's time: medians of some leaves
/// run alone.
void measure_points(const Surroundings& around, const RunConfig& config,
                    const autodiff::Program& program, const data::Dataset& dataset,
                    ModelState& state, int num_leaves, ddp::StepProfile& profile) {
  const std::int64_t total = program.layout().total;
  if (program.num_segments() > 1) {  // behind all leaves
    profile.ready = {{.prefix = total, .time_s = 1}};
    return;
  }
  const SumLayout sums{
      .metrics = &config.metrics, .labels = config.target.labels(), .positions = config.positions};
  LeafRunner runner(program, around.backend, state.params(), sums, config.seed);
  const data::Sampler sampler({.num_rows = dataset.num_rows(),
                               .global_batch_size = config.global_batch_size,
                               .num_leaves = num_leaves,
                               .shuffle = config.shuffle,
                               .streams = config.streams,
                               .seed = config.seed});
  data::Loader loader(dataset, sampler, {.first_step = 0, .end_step = kMost, .num_threads = 0});
  const auto gradients =
      tensor::Storage::allocate(total * static_cast<std::int64_t>(sizeof(float)));
  Stamps stamps(around.clock);
  runner.bind_gate(&stamps);
  PointTimes ready, needed;
  const double start_s = around.clock.monotonic_s();
  for (std::int64_t i = 0; i < kMost; ++i) {
    const bool long_enough = around.clock.monotonic_s() - start_s > kMeasure_s / 4;
    if (i >= kFewest && long_enough) break;
    const data::LeafBatch& batch = loader.next();
    runner.params_changed();
    runner.carry_in(nullptr, 0, batch.count);
    stamps.begin();
    (void)runner.run(batch, 0, reinterpret_cast<float*>(gradients.data()), &stamps);
    if (i == 0) continue;
    const double leaf_s = stamps.points().back().time_s;
    ready.add(stamps.points(), leaf_s);
    needed.add(stamps.needed(), leaf_s);
  }
  profile.ready = stamps.points();
  profile.needed = stamps.needed();
  ready.set_medians(profile.ready);
  needed.set_medians(profile.needed);
}

void scale_points(ddp::StepProfile& profile, double factor) {
  for (ddp::ReadyPoint& point : profile.ready) point.time_s *= factor;
  for (ddp::NeedPoint& point : profile.needed) point.time_s *= factor;
}

}  // namespace

ddp::StepProfile measure_step(const Surroundings& around, const RunConfig& config,
                              const autodiff::Program& program, const Division& division) {
  ThreadPool pool(division.num_workers);
  const auto comm = comm::make_self();
  const auto dataset = random_data(config);
  ModelState state(program.layout(), config.optimizer.get(), around.backend,
                   state_extras(config, steps_per_epoch(config, dataset->num_rows())));
  state.initialize(config.model->params(), config.seed);
  std::vector<double> step_s, compute_s, update_s;
  {
    Trainer trainer({.config = config,
                     .program = program,
                     .backend = around.backend,
                     .comm = *comm,
                     .pool = pool,
                     .clock = around.clock,
                     .host = around.host},
                    *dataset, state,
                    {.num_leaves = division.num_leaves, .end_step = kMost, .total_steps = kMost});
    double start_s = around.clock.monotonic_s();
    for (std::int64_t i = 0; i < kMost; ++i) {
      if (i == kWarmup) start_s = around.clock.monotonic_s();
      const double before = around.clock.monotonic_s();
      if (i >= kWarmup + kFewest && before - start_s > kMeasure_s) break;
      const StepReport report = trainer.step({});
      if (i < kWarmup) continue;
      step_s.push_back(around.clock.monotonic_s() - before);
      compute_s.push_back(report.compute_s + report.data_wait_s);
      update_s.push_back(report.update_s);
    }
  }
  ddp::StepProfile profile;
  profile.leaf_s = median(compute_s) / rounds_of(division);
  profile.update_s = median(update_s);
  profile.other_s = std::max(0.0, median(step_s) - median(compute_s) - profile.update_s);
  measure_points(around, config, program, *dataset, state, division.num_leaves, profile);
  scale_points(profile, profile.leaf_s);
  return profile;
}

ddp::StepProfile suppose_step(const autodiff::Program& program, const Division& division,
                              double step_s) {
  ddp::StepProfile profile;
  profile.leaf_s = step_s / rounds_of(division);
  for (const autodiff::Program::FinalPoint& point : program.final_points()) {
    profile.ready.push_back({.prefix = point.prefix, .time_s = static_cast<double>(point.flops)});
  }
  for (const autodiff::Program::NeedPoint& point : program.need_points()) {
    profile.needed.push_back({.from = point.from, .time_s = static_cast<double>(point.flops)});
  }
  if (program.num_segments() > 1) {
    profile.ready.clear();
    profile.needed.clear();
  }
  const std::int64_t total = program.layout().total;
  if (profile.ready.empty() || profile.ready.back().prefix < total) {
    profile.ready.push_back({.prefix = total, .time_s = static_cast<double>(program.flops())});
  }
  scale_points(profile, profile.leaf_s / std::max(1.0, static_cast<double>(program.flops())));
  return profile;
}

double measure_memory(ThreadPool& pool, const Clock& clock) {
  constexpr std::int64_t kCount = 4 << 20;  // beyond the caches
  constexpr int kRepeats = 4;
  std::vector<tensor::Storage> buffers(static_cast<std::size_t>(pool.num_workers()));
  const auto add_up = [&](int worker) {
    tensor::Storage& buffer = buffers[static_cast<std::size_t>(worker)];
    if (buffer.size_bytes() == 0) {
      buffer = tensor::Storage::allocate(3 * kCount * static_cast<std::int64_t>(sizeof(float)));
    }
    auto* to = reinterpret_cast<float*>(buffer.data());
    ddp::add(to, to + kCount, to + 2 * kCount, kCount);
  };
  pool.run(add_up);
  std::vector<double> times;
  for (int i = 0; i < kRepeats; ++i) {
    const double before = clock.monotonic_s();
    pool.run(add_up);
    times.push_back(clock.monotonic_s() - before);
  }
  return 3.0 * kCount * sizeof(float) * pool.num_workers() / median(times);
}

}  // namespace dlt::train
