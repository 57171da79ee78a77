// SPDX-License-Identifier: Apache-2.0
#include "train/leaf_runner.h"

#include <algorithm>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "train/leaf_device.h"

namespace dlt::train {
namespace {

std::int64_t row_bytes(const autodiff::Value& value) {
  return value.type.bytes() / value.type.shape[0];
}

}  // namespace

template <typename F>
void SumLayout::for_metrics(const double* sums, F use) const {
  if (metrics == nullptr) return;
  const double* at = sums + 2;
  for (const auto& metric : *metrics) {
    if (!has(*metric)) continue;
    use(*metric, at);
    at += metric->num_sums();
  }
}

int SumLayout::size() const {
  int n = hashes ? 3 : 2;
  if (metrics == nullptr) return n;
  for (const auto& metric : *metrics) n += has(*metric) ? metric->num_sums() : 0;
  return n;
}

MetricValues SumLayout::values(std::span<const double> sums) const {
  MetricValues out{{"loss", loss(sums)}};
  for_metrics(sums.data(), [&](const Metric& metric, const double* at) {
    if (metric.num_columns() == 0) out.emplace_back(metric.name(), metric.value(at));
  });
  return out;
}

MetricTables SumLayout::table_values(std::span<const double> sums) const {
  MetricTables out;
  for_metrics(sums.data(), [&](const Metric& metric, const double* at) {
    const int columns = metric.num_columns();
    if (columns == 0) return;
    observe::Table rows;
    for (int begin = 0; begin < metric.num_sums(); begin += columns) {
      rows.emplace_back(at + begin, at + begin + columns);
    }
    out.emplace_back(metric.name(), std::move(rows));
  });
  return out;
}

/// Notes what a device is about to finish, and passes the rest on.
struct LeafRunner::Relay final : autodiff::GradientSink {
  Relay(LeafDevice& to, autodiff::GradientSink* next) : device(to), sink(next) {}
  void backward_begins() override {
    if (sink != nullptr) sink->backward_begins();
  }
  void gradients_final(std::int64_t prefix) override {
    if (!device.resident()) {
      device.gradients_final(prefix);
    } else if (sink != nullptr) {
      sink->gradients_final(prefix);
    }
  }
  LeafDevice& device;
  autodiff::GradientSink* sink;
};

namespace {

bool reads_predictions(const SumLayout& sums) {
  if (sums.metrics == nullptr) return false;
  return std::any_of(sums.metrics->begin(), sums.metrics->end(), [&](const auto& metric) {
    return sums.has(*metric) && metric->reads_predictions();
  });
}

std::unique_ptr<LeafDevice> make_leaf_device(const autodiff::Program& program,
                                             tensor::Backend& backend, const float* params,
                                             const SumLayout& sums,
                                             const LeafResidence& residence) {
  if (backend.in_host_memory()) return nullptr;
  LeafDevice::Options options{.params = params,
                              .resident = residence.state == Residence::device,
                              .gradients = !program.graph().gradients().empty(),
                              .wait = residence.wait,
                              .wanted = {"loss", "mask"}};
  const auto& outputs = program.graph().outputs();
  if (reads_predictions(sums) || !outputs.contains("loss")) {
    options.wanted.emplace_back("prediction");
  }
  for (const auto& output : outputs) {
    if (output.first.starts_with("state.")) options.wanted.push_back(output.first);
  }
  return std::make_unique<LeafDevice>(program, backend, options);
}

}  // namespace

LeafRunner::LeafRunner(const autodiff::Program& program, tensor::Backend& backend,
                       const float* params, SumLayout sums, std::uint64_t seed,
                       const LeafResidence& residence)
    : device_(make_leaf_device(program, backend, params, sums, residence)),
      executor_(program, backend, device_ != nullptr ? device_->params() : params),
      layout_(sums),
      seed_(seed),
      has_loss_(program.graph().outputs().contains("loss")),
      has_mask_(program.graph().outputs().contains("mask")),
      sums_(static_cast<std::size_t>(sums.size())),
      num_segments_(program.num_segments()),
      reads_predictions_(reads_predictions(sums)) {
  const auto& outputs = program.graph().outputs();
  if (const auto found = outputs.find("prediction"); found != outputs.end()) {
    const tensor::Shape& shape = program.graph().shape(found->second);
    prediction_width_ = shape.without_front().numel() / sums.positions;
  }
  bind_carried(program);
}

LeafRunner::~LeafRunner() = default;

tensor::Queue* LeafRunner::queue() { return device_ != nullptr ? &device_->queue() : nullptr; }

void LeafRunner::params_changed() {
  executor_.params_changed();
  if (device_ != nullptr) device_->params_changed();
}

void LeafRunner::scale_weights(double scale) {
  DLT_CHECK(device_ != nullptr || scale == 1, "weights are scaled on devices alone");
  if (device_ != nullptr) device_->scale_weights(scale);
}

void LeafRunner::bind_gate(autodiff::ParamGate* gate) {
  if (device_ != nullptr) {
    device_->bind_gate(gate);
  } else {
    executor_.bind_gate(gate);
  }
}

tensor::View LeafRunner::output(std::string_view name) const {
  return device_ != nullptr ? device_->output(name) : executor_.output(name);
}

/// All other inputs are bound anew for each leaf.
void LeafRunner::bind_carried(const autodiff::Program& program) {
  const autodiff::Graph& graph = program.graph();
  for (const autodiff::ValueId id : graph.inputs()) {
    const autodiff::Value& value = graph.value(id);
    if (value.name == "input") input_row_bytes_ = row_bytes(value);
    if (value.name == "target") target_row_bytes_ = row_bytes(value);
    if (!value.name.starts_with("state.")) continue;
    const auto numel = static_cast<std::size_t>(value.type.shape.numel());
    carried_.push_back({value.name, std::vector<float>(numel, 0.0F)});
    if (device_ == nullptr) executor_.bind_input(value.name, carried_.back().values.data());
  }
}

void LeafRunner::carry_in(const CarriedState* state, std::int64_t first_row, std::int64_t count) {
  for (std::size_t i = 0; i < carried_.size(); ++i) {
    std::vector<float>& values = carried_[i].values;
    std::fill(values.begin(), values.end(), 0.0F);
    if (state == nullptr) continue;
    const nn::CarriedSpec& spec = state->specs()[i];
    DLT_CHECK(spec.name == carried_[i].name, cat(spec.name, " is input ", carried_[i].name));
    std::copy_n(state->row(i, first_row), count * spec.size, values.begin());
  }
}

void LeafRunner::carry_out(CarriedState& state, std::int64_t first_row, std::int64_t count) const {
  for (std::size_t i = 0; i < carried_.size(); ++i) {
    const nn::CarriedSpec& spec = state.specs()[i];
    std::copy_n(output(spec.name).as<const float>(), count * spec.size, state.row(i, first_row));
  }
}

void LeafRunner::begin(const data::LeafBatch& batch, float* gradients) {
  if (device_ != nullptr) {
    device_->begin(batch, executor_, gradients, [&](const std::string& name, float* memory) {
      const auto found = std::find_if(carried_.begin(), carried_.end(),
                                      [&](const CarriedInput& one) { return one.name == name; });
      std::copy(found->values.begin(), found->values.end(), memory);
    });
    return;
  }
  batch_ = &batch;
  executor_.bind_input("input", batch.inputs);
  if (has_loss_) executor_.bind_input("target", batch.targets);
  if (gradients != nullptr) {
    executor_.bind_input("weight", batch.weights);
    executor_.bind_gradients(gradients);
  }
}

void LeafRunner::run_segment(int segment, const data::LeafBatch& batch, std::uint64_t epoch,
                             autodiff::GradientSink* sink) {
  if (device_ == nullptr) {
    executor_.run_segment(
        segment, {.seed = seed_, .epoch = epoch, .sample_ids = batch.sample_ids, .scalars = {}},
        sink);
    return;
  }
  if (segment == 0) {
    context_ = device_->context(seed_, epoch);
  } else {
    device_->send_sync(executor_.sync_view(segment - 1));
  }
  Relay relay(*device_, sink);
  executor_.run_segment(segment, context_, &relay);
  if (segment + 1 < num_segments_) return;
  device_->end(executor_);
  device_->mark_end();
}

float* LeafRunner::sync_values(int segment) {
  const tensor::View value = executor_.sync_view(segment);
  return device_ != nullptr ? device_->fetch_sync(value) : value.as<float>();
}

std::span<const double> LeafRunner::finish(float* gradients, autodiff::GradientSink* sink) {
  if (device_ != nullptr) device_->finish(gradients, sink);
  if (has_loss_) add_up(device_ != nullptr ? device_->batch() : *batch_);
  return sums_;
}

void LeafRunner::submit(const data::LeafBatch& batch, std::uint64_t epoch, float* gradients,
                        autodiff::GradientSink* sink) {
  begin(batch, gradients);
  for (int segment = 0; segment < num_segments_; ++segment) {
    run_segment(segment, batch, epoch, sink);
  }
}

void LeafRunner::submit_recorded(const data::LeafBatch& batch, std::uint64_t epoch,
                                 float* gradients, autodiff::GradientSink* sink,
                                 const Recorded& recorded) {
  DLT_CHECK(device_ != nullptr && num_segments_ == 1, "recorded are whole leaves of a device");
  begin(batch, gradients);
  context_ = device_->context(seed_, epoch);
  device_->give_recorded(recorded.key, [&] {
    Relay relay(*device_, sink);
    executor_.run(context_, &relay);
    device_->end(executor_);
    if (recorded.tail) recorded.tail();
  });
  device_->mark_end();
}

std::span<const double> LeafRunner::run(const data::LeafBatch& batch, std::uint64_t epoch,
                                        float* gradients, autodiff::GradientSink* sink) {
  submit(batch, epoch, gradients, sink);
  return finish(gradients, sink);
}

void LeafRunner::add_up(const data::LeafBatch& batch) {
  std::fill(sums_.begin(), sums_.end(), 0.0);
  const auto* losses = output("loss").as<float>();
  for (std::int64_t i = 0; i < batch.count; ++i) {
    sums_[0] += static_cast<double>(losses[i]) * static_cast<double>(batch.weights[i]);
    sums_[1] += static_cast<double>(batch.weights[i]);
  }
  if (layout_.hashes) sums_.back() = samples_hash(batch);
  if (layout_.metrics == nullptr) return;
  MetricBatch view{.predictions = reads_predictions_ ? prediction().as<float>() : nullptr,
                   .targets = batch.labels != nullptr ? batch.labels : batch.targets,
                   .losses = losses,
                   .labels = layout_.labels,
                   .count = batch.count,
                   .width = prediction_width_,
                   .positions = layout_.positions};
  if (has_mask_) {
    const tensor::View mask = output("mask");
    if (mask.type.shape.without_front().numel() == layout_.positions) view.mask = mask.as<float>();
  }
  double* at = sums_.data() + 2;
  for (const auto& metric : *layout_.metrics) {
    if (!layout_.has(*metric)) continue;
    metric->accumulate(view, at);
    at += metric->num_sums();
  }
}

/// Of the leaf's rows, what was read of them, and how they count.
double LeafRunner::samples_hash(const data::LeafBatch& batch) const {
  const auto count = static_cast<std::size_t>(batch.count);
  const auto bytes = [&](const void* data, std::int64_t row_bytes) {
    return std::span(static_cast<const std::byte*>(data),
                     count * static_cast<std::size_t>(row_bytes));
  };
  std::uint64_t hash =
      xxh3(std::as_bytes(batch.sample_ids.first(count)), static_cast<std::uint64_t>(batch.leaf));
  hash = xxh3(bytes(batch.inputs, input_row_bytes_), hash);
  hash = xxh3(bytes(batch.targets, target_row_bytes_), hash);
  hash = xxh3(bytes(batch.weights, sizeof(float)), hash);
  return static_cast<double>(hash & 0xffffffffU);
}

}  // namespace dlt::train
