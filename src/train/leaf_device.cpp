// SPDX-License-Identifier: Apache-2.0
#include "train/leaf_device.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kLine_bytes = 256;  // of a device's memory

std::int64_t whole_lines(std::int64_t num_bytes) {
  return (num_bytes + kLine_bytes - 1) / kLine_bytes * kLine_bytes;
}

constexpr std::int64_t kIds_offset_bytes = kLine_bytes;  // behind the DeviceRun
static_assert(sizeof(tensor::DeviceRun) <= kIds_offset_bytes);

}  // namespace

LeafDevice::LeafDevice(const autodiff::Program& program, tensor::Backend& backend,
                       const Options& options)
    : backend_(backend),
      total_(program.layout().total),
      compute_(backend.make_queue()),
      upload_(backend.make_queue()),
      download_(backend.make_queue()),
      resident_(options.resident),
      host_params_(options.params),
      device_params_(options.params),
      wait_(options.wait ? options.wait : [](const tensor::Event& event) { event.wait(); }) {
  if (!resident_) {
    params_copy_ = backend.allocate(total_ * static_cast<std::int64_t>(sizeof(float)));
    device_params_ = reinterpret_cast<const float*>(params_copy_.data());
  }
  plan_block(program);
  for (const auto& [name, id] : program.graph().outputs()) {
    if (std::find(options.wanted.begin(), options.wanted.end(), name) == options.wanted.end()) {
      continue;
    }
    const tensor::TensorType type = program.graph().value(id).type;
    outputs_.push_back({name, type, results_bytes_});
    results_bytes_ += whole_lines(type.bytes());
  }
  for (Slot& slot : slots_) make_slot(slot, options);
}

LeafDevice::~LeafDevice() {
  // Work may still use this memory if a leaf failed half-way; a device that failed says so again.
  for (const auto* queue : {&compute_, &upload_, &download_}) {
    try {
      (*queue)->wait();
    } catch (const Error&) {
    }
  }
}

/// [DeviceRun, ids, then each input of the graph].
void LeafDevice::plan_block(const autodiff::Program& program) {
  const autodiff::Graph& graph = program.graph();
  for (const autodiff::ValueId id : graph.inputs()) {
    const autodiff::Value& value = graph.value(id);
    const bool state = value.name.starts_with("state.");
    if (!state) capacity_ = std::max(capacity_, value.type.shape[0]);
    inputs_.push_back({value.name, 0, value.type.bytes(), state});
  }
  block_bytes_ =
      kIds_offset_bytes + whole_lines(capacity_ * static_cast<std::int64_t>(sizeof(std::int64_t)));
  for (Input& input : inputs_) {
    input.offset_bytes = block_bytes_;
    block_bytes_ += whole_lines(input.num_bytes);
  }
}

void LeafDevice::make_slot(Slot& slot, const Options& options) {
  slot.staging = backend_.allocate_staging(block_bytes_);
  slot.block = backend_.allocate(block_bytes_);
  slot.results = backend_.allocate_staging(results_bytes_);
  slot.weights.resize(static_cast<std::size_t>(capacity_));
  slot.labels.resize(static_cast<std::size_t>(capacity_));
  if (options.gradients && !resident_) {
    slot.gradients = backend_.allocate(total_ * static_cast<std::int64_t>(sizeof(float)));
  }
  slot.sent = backend_.make_event(tensor::EventKind::order);
  slot.done = backend_.make_event(tensor::EventKind::order);
}

const LeafDevice::Input* LeafDevice::find(std::string_view name) const {
  const auto found = std::find_if(inputs_.begin(), inputs_.end(),
                                  [&](const Input& input) { return input.name == name; });
  return found != inputs_.end() ? &*found : nullptr;
}

float* LeafDevice::staged_floats(const Input& input) {
  return reinterpret_cast<float*>(begun().staging.data() + input.offset_bytes);
}

void LeafDevice::take_next_slot() {
  DLT_CHECK(begun_ - finished_ < kSlots, "more leaves under way than there is room for");
  ++begun_;
  begun().num_finals = 0;
}

/// To memory that stays: the loader's is good for one leaf only.
void LeafDevice::copy_batch(const data::LeafBatch& batch) {
  Slot& slot = begun();
  slot.batch = batch;
  const auto copy = [&](std::string_view name, const void* from) -> const void* {
    const Input* input = find(name);
    if (input == nullptr || from == nullptr) return nullptr;
    std::byte* to = slot.staging.data() + input->offset_bytes;
    std::memcpy(to, from, static_cast<std::size_t>(input->num_bytes));
    return to;
  };
  slot.batch.inputs = copy("input", batch.inputs);
  slot.batch.targets = copy("target", batch.targets);
  if (const Input* weight = find("weight")) {
    std::transform(batch.weights, batch.weights + capacity_, staged_floats(*weight),
                   [this](float value) { return value * weight_scale_; });
  }
  std::copy_n(batch.weights, capacity_, slot.weights.begin());
  slot.batch.weights = slot.weights.data();
  auto* ids = reinterpret_cast<std::int64_t*>(slot.staging.data() + kIds_offset_bytes);
  std::copy(batch.sample_ids.begin(), batch.sample_ids.end(), ids);
  slot.batch.sample_ids = {ids, batch.sample_ids.size()};
  if (batch.labels != nullptr) {
    std::copy_n(batch.labels, capacity_, slot.labels.begin());
    slot.batch.labels = slot.labels.data();
  }
}

void LeafDevice::bind(autodiff::Executor& executor, float* gradients) {
  Slot& slot = begun();
  send_params();
  for (const Input& input : inputs_) {
    executor.bind_input(input.name, slot.block.data() + input.offset_bytes);
  }
  if (slot.gradients.data() != nullptr) {
    gradients = reinterpret_cast<float*>(slot.gradients.data());
  }
  if (gradients != nullptr) executor.bind_gradients(gradients);
}

void LeafDevice::send_params() {
  if (params_copy_.data() == nullptr || !params_old_) return;
  if (gate_ != nullptr) gate_->wait_for_params(0);
  compute_->copy(params_copy_.data(), host_params_, params_copy_.size_bytes());
  params_old_ = false;
}

tensor::RunContext LeafDevice::context(std::uint64_t seed, std::uint64_t epoch) {
  Slot& slot = begun();
  auto* run = reinterpret_cast<tensor::DeviceRun*>(slot.staging.data());
  *run = {
      .seed = seed,
      .epoch = epoch,
      .sample_ids = reinterpret_cast<const std::int64_t*>(slot.block.data() + kIds_offset_bytes)};
  upload_->copy(slot.block.data(), slot.staging.data(), block_bytes_);
  upload_->record(*slot.sent);
  compute_->wait_for(*slot.sent);
  return {.seed = seed,
          .epoch = epoch,
          .sample_ids = slot.batch.sample_ids,
          .scalars = {},
          .queue = compute_.get(),
          .device = reinterpret_cast<const tensor::DeviceRun*>(slot.block.data())};
}

void LeafDevice::gradients_final(std::int64_t prefix) {
  Slot& slot = begun();
  if (slot.gradients.data() == nullptr) return;  // an evaluation has none
  if (slot.num_finals == slot.finals.size()) {
    slot.finals.push_back({0, backend_.make_event(tensor::EventKind::order),
                           backend_.make_event(tensor::EventKind::order)});
  }
  Final& final = slot.finals[slot.num_finals++];
  final.prefix = prefix;
  compute_->record(*final.computed);
}

void LeafDevice::end(const autodiff::Executor& executor) {
  Slot& slot = begun();
  for (const Output& output : outputs_) {
    compute_->copy(slot.results.data() + output.offset_bytes, executor.output(output.name).data,
                   output.type.bytes());
  }
}

void LeafDevice::mark_end() { compute_->record(*begun().done); }

void LeafDevice::give_recorded(std::size_t key, const std::function<void()>& give) {
  // The first time libraries may still load what they need, which a capture forbids.
  constexpr int kGiven_before = 1;
  std::vector<Recorded>& all = begun().recorded;
  if (all.size() <= key) all.resize(key + 1);
  Recorded& mine = all[key];
  if (mine.recording == nullptr && mine.times_given++ < kGiven_before) {
    give();
    return;
  }
  if (mine.recording == nullptr) {
    compute_->begin_capture();
    try {
      give();
    } catch (...) {
      try {
        (void)compute_->end_capture();
      } catch (const Error&) {  // the first failure says more
      }
      throw;
    }
    mine.recording = compute_->end_capture();
  }
  compute_->replay(*mine.recording);
}

void LeafDevice::finish(float* gradients, autodiff::GradientSink* sink) {
  DLT_CHECK(finished_ < begun_, "no leaf is under way");
  ++finished_;
  Slot& slot = slots_[finished_ % kSlots];
  std::int64_t from = 0;
  for (std::size_t i = 0; i < slot.num_finals; ++i) {
    Final& final = slot.finals[i];
    download_->wait_for(*final.computed);
    download_->copy(gradients + from, reinterpret_cast<const float*>(slot.gradients.data()) + from,
                    (final.prefix - from) * static_cast<std::int64_t>(sizeof(float)));
    download_->record(*final.copied);
    from = final.prefix;
  }
  for (std::size_t i = 0; i < slot.num_finals; ++i) {
    slot.finals[i].copied->wait();
    if (sink != nullptr) sink->gradients_final(slot.finals[i].prefix);
  }
  wait_(*slot.done);
}

tensor::View LeafDevice::output(std::string_view name) const {
  const auto found = std::find_if(outputs_.begin(), outputs_.end(),
                                  [&](const Output& output) { return output.name == name; });
  DLT_CHECK(found != outputs_.end(), cat("output ", name, " was not asked for"));
  return {finished().results.data() + found->offset_bytes, found->type};
}

float* LeafDevice::fetch_sync(const tensor::View& value) {
  if (sync_.size_bytes() < value.type.bytes()) {
    sync_ = backend_.allocate_staging(value.type.bytes());
  }
  compute_->copy(sync_.data(), value.data, value.type.bytes());
  compute_->wait();
  return reinterpret_cast<float*>(sync_.data());
}

void LeafDevice::send_sync(const tensor::View& value) {
  compute_->copy(value.data, sync_.data(), value.type.bytes());
}

}  // namespace dlt::train
