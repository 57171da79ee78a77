// SPDX-License-Identifier: Apache-2.0
#include "train/model_state.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"
#include "data/convert.h"

namespace dlt::train {
namespace {

constexpr const char* kPlateau = "schedule.plateau";
const tensor::TensorType& plateau_type() {
  static const tensor::TensorType type{{optim::PlateauState::kSize}, DType::f64};
  return type;
}

/// The tensors of a prefix.
tensor::StateDict part_of(const tensor::StateDict& state, const std::string& name) {
  tensor::StateDict part;
  const std::string prefix = name + ".";
  for (const auto& [key, value] : state) {
    if (key.starts_with(prefix)) part.emplace(key, value);
  }
  return part;
}

}  // namespace

int num_shared_buffers(const StateExtras& extras, const optim::Optimizer& optimizer) {
  const auto num_states = static_cast<int>(optimizer.state_names().size());
  return 1 + (extras.averaging.active() ? 1 : 0) + (extras.shard ? 0 : num_states);
}

ModelState::ModelState(const tensor::FlatLayout& layout, const optim::Optimizer* optimizer,
                       tensor::Backend& backend, StateExtras extras)
    : layout_(&layout), optimizer_(optimizer), extras_(std::move(extras)) {
  params_ = next_buffer(backend);
  if (extras_.averaging.active()) average_ = next_buffer(backend);
  if (optimizer == nullptr) return;
  for (std::size_t i = 0; i < optimizer->state_names().size(); ++i) {
    state_storage_.push_back(extras_.shard
                                 ? backend.allocate(extras_.shard->num_elements() * kFloat_bytes)
                                 : next_buffer(backend));
    states_.push_back(reinterpret_cast<float*>(state_storage_.back().data()));
  }
}

tensor::Storage ModelState::next_buffer(tensor::Backend& backend) {
  if (extras_.host) return extras_.host->buffer(num_shared_++);
  return backend.allocate(layout_->total * kFloat_bytes);
}

void ModelState::write(const std::function<void()>& writing) {
  if (extras_.host) {
    extras_.host->write_once(writing);
  } else {
    writing();
  }
}

void ModelState::initialize(const std::vector<nn::ParamSpec>& specs, std::uint64_t seed) {
  write([&] { nn::initialize(*layout_, specs, seed, params()); });
}

void ModelState::reset(const std::vector<nn::ParamSpec>& specs, std::uint64_t seed) {
  const auto clear = [](const tensor::Storage& storage) {
    std::fill_n(storage.data(), storage.size_bytes(), std::byte{0});
  };
  write([&] {
    clear(params_);
    clear(average_);
    for (const tensor::Storage& state : state_storage_) clear(state);
  });
  if (extras_.shard) {  // its state is this rank's own
    for (const tensor::Storage& state : state_storage_) clear(state);
  }
  plateau_ = {};
  errors_ = {};
  numerics_ = {};
  extras_.carried.clear();
  initialize(specs, seed);
}

void ModelState::load(const checkpoint::Checkpoint& checkpoint) {
  take("", checkpoint.model, params());
  if (optimizer_ == nullptr) return;
  const std::vector<std::string> names = optimizer_->state_names();
  const bool averages = extras_.averaging.active();
  const std::size_t expected = (names.size() + (averages ? 1 : 0)) * layout_->entries.size() +
                               (extras_.plateau ? 1 : 0) + extras_.carried.specs().size() +
                               ErrorFeedback::count(checkpoint.optimizer) +
                               NumericsState::count(checkpoint.optimizer);
  if (checkpoint.optimizer.size() != expected) {
    throw Error(Exit::data, cat("optimizer.safetensors: ", checkpoint.optimizer.size(),
                                " tensors, expected ", expected));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    const tensor::StateDict part = part_of(checkpoint.optimizer, names[i]);
    if (extras_.shard) {
      optim::flatten_shard(*layout_, names[i], part, *extras_.shard, states_[i]);
    } else {
      take(names[i], part, states_[i]);
    }
  }
  if (averages) {
    const std::string name = extras_.averaging.name();
    take(name, part_of(checkpoint.optimizer, name), average());
  }
  extras_.carried.load(checkpoint.optimizer);
  errors_.load(checkpoint.optimizer);
  numerics_.load(checkpoint.optimizer);
  if (extras_.plateau) {
    const auto found = checkpoint.optimizer.find(kPlateau);
    if (found == checkpoint.optimizer.end() || found->second.type() != plateau_type()) {
      throw Error(Exit::data, cat("optimizer.safetensors: tensor '", kPlateau, "': expected ",
                                  plateau_type().text(), ", got none or another"));
    }
    plateau_ = optim::PlateauState::of(found->second.as<double>().data());
  }
}

/// The tensors of a prefix to a flat buffer. Refused by all ranks or none.
void ModelState::take(const std::string& prefix, const tensor::StateDict& part, float* flat) {
  optim::check_fits(*layout_, prefix, part);
  write([&] { optim::flatten(*layout_, prefix, part, flat); });
}

void ModelState::load_average(const checkpoint::Checkpoint& checkpoint, const std::string& name) {
  const tensor::StateDict part = part_of(checkpoint.optimizer, name);
  if (part.empty()) {
    throw Error(
        Exit::data,
        cat("optimizer.safetensors: expected the average '", name, "' of the weights, got none"),
        cat("to use the weights themselves: --set train.", name, ".use_for_eval=false"));
  }
  take(name, part, params());
}

void ModelState::complete_average(std::int64_t steps_done) {
  if (average() == nullptr) return;
  const bool begun = extras_.averaging.updates_after(steps_done) > 0;
  write([&] {
    for (const auto& entry : layout_->entries) {
      const auto& statistics = extras_.statistics;
      if (begun &&
          std::find(statistics.begin(), statistics.end(), entry.name) == statistics.end()) {
        continue;
      }
      std::memcpy(average() + entry.offset, params() + entry.offset,
                  static_cast<std::size_t>(entry.numel) * sizeof(float));
    }
  });
}

void ModelState::save(checkpoint::Checkpoint& checkpoint) const {
  DLT_CHECK(!extras_.shard && extras_.carried.specs().empty(), "a state of one rank alone");
  checkpoint.model = optim::unflatten(*layout_, "", params());
  checkpoint.optimizer.clear();
  if (optimizer_ == nullptr) return;
  const std::vector<std::string> names = optimizer_->state_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    checkpoint.optimizer.merge(optim::unflatten(*layout_, names[i], states_[i]));
  }
  if (extras_.averaging.active()) {
    checkpoint.optimizer.merge(optim::unflatten(*layout_, extras_.averaging.name(), average()));
  }
  save_small(checkpoint.optimizer);
}

void ModelState::save_small(tensor::StateDict& to) const {
  numerics_.save(to);
  if (!extras_.plateau) return;
  const tensor::Tensor values(plateau_type().shape, plateau_type().dtype);
  const auto numbers = plateau_.values();
  std::copy(numbers.begin(), numbers.end(), values.as<double>().begin());
  to.emplace(kPlateau, values);
}

std::string ModelState::weights_hash() const {
  return checkpoint::weights_hash(optim::unflatten(*layout_, "", params()));
}

std::uint64_t ModelState::replica_hash() const {
  return xxh3({params_.data(), static_cast<std::size_t>(params_.size_bytes())});
}

std::string ModelState::first_nonfinite() const {
  for (const auto& entry : layout_->entries) {
    if (data::find_non_finite(params() + entry.offset, entry.numel) >= 0) return entry.name;
  }
  return "";
}

}  // namespace dlt::train
