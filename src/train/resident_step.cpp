// SPDX-License-Identifier: Apache-2.0
#include "train/resident_step.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "train/comm_options.h"
#include "train/comm_plan.h"
#include "train/engine.h"
#include "train/gpu_link.h"

namespace dlt::train {
namespace {

/// Leaves of a rank whose work is recorded: a recording takes some memory.
constexpr int kMost_recorded = 16;

std::unique_ptr<tensor::Kernel> make_statistics_kernel(tensor::Backend& device, std::int64_t rows) {
  const tensor::TensorType flat{tensor::Shape{1}, DType::f32};
  const std::array<tensor::TensorType, 2> in{
      flat,
      tensor::TensorType{tensor::Shape{rows, RunningStatisticsUpdate::kTableColumns}, DType::f64}};
  const std::array<tensor::TensorType, 1> out{flat};
  const tensor::Attrs attrs;
  return tensor::require_kernel(device, "running_statistics_update",
                                {.inputs = in, .outputs = out, .attrs = attrs});
}

}  // namespace

std::string ResidentStep::why_not(const TrainerParts& parts) {
  const RunConfig& config = parts.config;
  if (parts.leaf_device().in_host_memory()) return "the device is the host";
  if (parts.program.num_segments() > 1) return "batch_norm: {sync: true}";
  if (std::string reason = needs_host(config); !reason.empty()) return reason;
  if (parts.comm.world_size() > 1 && parts.gpus == nullptr) return "several ranks without NCCL";
  return "";
}

ResidentStep::ResidentStep(const TrainerParts& parts, ModelState& state, ddp::LeafRange leaves,
                           int num_leaves)
    : device_(parts.leaf_device()),
      state_(state),
      total_(parts.program.layout().total),
      sums_(device_, {.total = total_, .num_leaves = num_leaves, .leaves = leaves}),
      reduced_(sums_.results().at(0)),
      layout_(&parts.program.layout()),
      pool_(&parts.pool),
      gpus_(parts.gpus),
      timeout_s_(parts.config.fault.hang_timeout_s),
      records_(parts.config.capture && parts.program.host_fallbacks().empty() &&
               parts.watch == nullptr && sums_.num_leaves() <= kMost_recorded) {
  make_reduction(parts, num_leaves);
  here_ = device_.make_event(tensor::EventKind::order);
  make_hash();
  const std::int64_t flat_bytes = total_ * static_cast<std::int64_t>(sizeof(float));
  params_ = device_.allocate(flat_bytes);
  if (state.average() != nullptr) average_ = device_.allocate(flat_bytes);
  for (std::size_t i = 0; i < state.states().size(); ++i) {
    state_storage_.push_back(device_.allocate(flat_bytes));
    states_.push_back(floats(state_storage_.back()));
  }
  config::Diagnostics diagnostics;
  optimizer_ = optim::make_optimizer(parts.config.resolved.find("optimizer"), diagnostics, device_);
  DLT_CHECK(optimizer_ != nullptr, "an optimizer that was read before");
  optimizer_->set_groups(parts.config.optimizer->groups());
  updates_alone_ = state.average() == nullptr && !optimizer_->adapts();
  clip_norm_ = parts.config.clip_norm;
  if (updates_alone_ && clip_norm_) make_clipping();
  updater_options_.excluded = statistic_names(*parts.config.model);
  if (parts.config.clip_value) updater_options_.clip_value = *parts.config.clip_value;
  const RunningStatisticsUpdate statistics(parts.config.model->running_statistics(), *layout_);
  const std::vector<double> table = statistics.table();
  num_statistics_ =
      static_cast<std::int64_t>(table.size()) / RunningStatisticsUpdate::kTableColumns;
  if (num_statistics_ > 0) {
    statistics_ = make_statistics_kernel(device_, num_statistics_);
    statistics_table_ = device_.allocate(static_cast<std::int64_t>(table.size() * sizeof(double)));
    tensor::copy_now(device_, statistics_table_.data(), table.data(),
                     statistics_table_.size_bytes());
  }
  send_state();
}

ResidentStep::~ResidentStep() = default;

void ResidentStep::make_reduction(const TrainerParts& parts, int num_leaves) {
  const int world_size = parts.comm.world_size();
  if (world_size == 1) return;
  buckets_ = parts.plan != nullptr
                 ? parts.plan->buckets
                 : ddp::plan_buckets(parts.program.layout(), parts.config.bucket_bytes);
  reduction_ = std::make_unique<ddp::DeviceReduction>(ddp::DeviceReductionOptions{
      .rank = parts.comm.rank(),
      .division = ddp::LeafDivision(num_leaves, world_size),
      .buckets = buckets_,
      .nodes = sums_.results(),
      .reduced = reduced_,
      .kind = parts.config.reduction,
      .bf16 = parts.config.compression.kind == ddp::Compression::bf16,
      .unrounded = statistic_ranges(parts.config, parts.program.layout()),
      .device = &device_,
      .comm = gpus_});
}

void ResidentStep::make_hash() {
  const std::array<tensor::TensorType, 1> in{tensor::TensorType{tensor::Shape{1}, DType::f32}};
  const std::array<tensor::TensorType, 1> out{tensor::TensorType{tensor::Shape{1}, DType::i64}};
  const tensor::Attrs attrs;
  bits_hash_ =
      tensor::require_kernel(device_, "bits_hash", {.inputs = in, .outputs = out, .attrs = attrs});
  hash_ = device_.allocate(sizeof(std::int64_t));
  hash_here_ = device_.allocate_staging(sizeof(std::int64_t));
}

void ResidentStep::make_clipping() {
  const tensor::TensorType numbers{tensor::Shape{1}, DType::f64};
  const std::array<tensor::TensorType, 1> in{numbers};
  const std::array<tensor::TensorType, 2> out{numbers, numbers};
  const tensor::Attrs attrs;
  clip_scale_ =
      tensor::require_kernel(device_, "clip_scale", {.inputs = in, .outputs = out, .attrs = attrs});
  norm_ = device_.allocate(sizeof(double));
  norm_here_ = device_.allocate_staging(sizeof(double));
}

void ResidentStep::bind(tensor::Queue& queue) {
  queue_ = &queue;
  updater_options_.device = &device_;
  updater_options_.queue = &queue;
  updater_ =
      std::make_unique<optim::Updater>(*optimizer_, *layout_, device_, *pool_, updater_options_);
  if (updates_alone_) {
    // The kernels', the statistics' and the clipping's.
    scalars_ = std::make_unique<optim::ScalarTable>(device_, updater_->num_kernels() + 2);
  }
}

void ResidentStep::each_buffer(
    const std::function<void(const tensor::Storage& there, float* here)>& use) const {
  use(params_, state_.params());
  if (average_.data() != nullptr) use(average_, state_.average());
  for (std::size_t i = 0; i < states_.size(); ++i) use(state_storage_[i], state_.states()[i]);
}

void ResidentStep::send_state() {
  each_buffer([&](const tensor::Storage& there, float* here) {
    tensor::copy_now(device_, there.data(), here, there.size_bytes());
  });
}

/// All that the queue has; where that waits for other ranks, with the deadline.
void ResidentStep::wait_here() {
  queue_->record(*here_);
  wait(*here_);
}

void ResidentStep::fetch_state() {
  if (state_is_here_) return;
  wait_here();
  each_buffer([&](const tensor::Storage& there, float* here) {
    queue_->copy(here, there.data(), there.size_bytes());
  });
  queue_->wait();
  state_is_here_ = true;
}

const float* ResidentStep::fetch_gradients() {
  if (gradients_here_.data() == nullptr) {
    gradients_here_ = tensor::Storage::allocate(total_ * static_cast<std::int64_t>(sizeof(float)));
  }
  wait_here();
  queue_->copy(gradients_here_.data(), reduced_, gradients_here_.size_bytes());
  queue_->wait();
  return floats(gradients_here_);
}

void ResidentStep::begin_step(std::int64_t step) {
  step_ = step;
  next_bucket_ = 0;
  if (reduction_) reduction_->begin_step(step);
}

void ResidentStep::wait(const tensor::Event& event) {
  if (gpus_ == nullptr) {
    event.wait();
    return;
  }
  gpus_->wait_until([&] { return event.done(); }, [&] { return cat("the GPU's step ", step_); },
                    timeout_s_);
}

void ResidentStep::give_up() {
  if (gpus_ != nullptr) gpus_->abort();
}

void ResidentStep::gradients_final(int index, std::int64_t prefix) {
  if (reduction_ == nullptr || index + 1 < num_leaves()) {
    sums_.add(index, final_, prefix, *queue_);
    final_ = prefix < total_ ? prefix : 0;
    return;
  }
  for (; next_bucket_ < buckets_.size() && buckets_[next_bucket_].end <= prefix; ++next_bucket_) {
    sums_.add(index, buckets_[next_bucket_].begin, buckets_[next_bucket_].end, *queue_);
    reduction_->enqueue(next_bucket_, *queue_);
  }
  if (prefix == total_) join_buckets();
}

/// Nodes are written again only behind this.
void ResidentStep::join_buckets() {
  for (std::size_t b = 0; b < buckets_.size(); ++b) reduction_->join(b, *queue_);
  next_bucket_ = 0;
}

void ResidentStep::leaf_empty(int index) {
  if (reduction_ == nullptr || index + 1 < num_leaves()) {
    sums_.add_empty(index, *queue_);
    return;
  }
  queue_->zero(leaf_gradients(index), total_ * static_cast<std::int64_t>(sizeof(float)));
  gradients_final(index, total_);
}

std::uint64_t ResidentStep::replica_hash() {
  const std::array<tensor::View, 1> in{
      tensor::View{params_.data(), {tensor::Shape{total_}, DType::f32}}};
  const std::array<tensor::View, 1> out{tensor::View{hash_.data(), {tensor::Shape{1}, DType::i64}}};
  tensor::RunContext run;
  run.queue = queue_;
  bits_hash_->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = run});
  queue_->copy(hash_here_.data(), hash_.data(), hash_.size_bytes());
  wait_here();
  return *reinterpret_cast<const std::uint64_t*>(hash_here_.data());
}

double ResidentStep::gradient_norm() {
  wait_here();
  return updater_->gradient_norm(reduced_);
}

double ResidentStep::clipped_norm() {
  wait_here();
  return *reinterpret_cast<const double*>(norm_here_.data());
}

optim::StepUpdate ResidentStep::here(const optim::StepUpdate& update) const {
  optim::StepUpdate out = update;
  out.params = floats(params_);
  out.grads = reduced_;
  out.states = &states_;
  out.average = floats(average_);
  return out;
}

void ResidentStep::update(const optim::StepUpdate& update, double weight_sum) {
  state_is_here_ = false;
  updater_->update(here(update));
  move_statistics(weight_sum, nullptr);
}

void ResidentStep::begin_update(const optim::StepUpdate& update, double weight_sum) {
  state_is_here_ = false;
  scalars_->begin(optim::ScalarTable::Mode::fill);
  optim::StepUpdate numbers = here(update);
  numbers.scalars = scalars_.get();
  updater_->update(numbers);
  if (clip_norm_) (void)scalars_->next(std::array{weight_sum, *clip_norm_});
  move_statistics(weight_sum, scalars_.get());
  scalars_->send(*queue_);
}

void ResidentStep::give_update(const optim::StepUpdate& update, double weight_sum) {
  const auto num_rows = updater_->num_kernels();
  if (clip_norm_) clip(num_rows);
  scalars_->begin(optim::ScalarTable::Mode::launch);
  optim::StepUpdate kernels = here(update);
  kernels.scalars = scalars_.get();
  updater_->update(kernels);
  if (clip_norm_) (void)scalars_->next({});
  move_statistics(weight_sum, scalars_.get());
}

/// Sets grad_scale in the rows of the update's kernels, which are the first; the row behind them
/// holds the weight and the largest norm.
void ResidentStep::clip(std::size_t num_rows) {
  updater_->give_squares(reduced_);
  const auto rows = static_cast<std::int64_t>(num_rows);
  const auto columns = static_cast<std::int64_t>(optim::ScalarTable::kColumns);
  const std::array<tensor::View, 1> in{
      tensor::View{const_cast<double*>(updater_->device_squares()),
                   {tensor::Shape{updater_->num_squares()}, DType::f64}}};
  const std::array<tensor::View, 2> out{
      tensor::View{scalars_->device_rows(), {tensor::Shape{rows, columns}, DType::f64}},
      tensor::View{norm_.data(), {tensor::Shape{1}, DType::f64}}};
  tensor::RunContext run;
  run.queue = queue_;
  run.device_scalars = scalars_->device_rows() + rows * columns;
  clip_scale_->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = run});
  queue_->copy(norm_here_.data(), norm_.data(), norm_.size_bytes());
}

void ResidentStep::move_statistics(double weight_sum, optim::ScalarTable* scalars) {
  if (statistics_ == nullptr) return;
  const tensor::TensorType flat{tensor::Shape{total_}, DType::f32};
  const std::array<tensor::View, 2> in{
      tensor::View{reduced_, flat},
      tensor::View{
          statistics_table_.data(),
          {tensor::Shape{num_statistics_, RunningStatisticsUpdate::kTableColumns}, DType::f64}}};
  const std::array<tensor::View, 1> out{tensor::View{params_.data(), flat}};
  tensor::RunContext run;
  run.scalars = std::span<const double>(&weight_sum, 1);
  run.queue = queue_;
  if (scalars != nullptr) {
    run.device_scalars = scalars->next(run.scalars);
    if (!scalars->launches()) return;
  }
  statistics_->run({.inputs = in, .outputs = out, .scratch = nullptr, .run = run});
}

}  // namespace dlt::train
