// SPDX-License-Identifier: Apache-2.0
#include "train/model_state.h"

#include <cmath>

#include "base/error.h"
#include "base/text.h"
#include "checkpoint/safetensors.h"

namespace dlt::train {

ModelState::ModelState(const tensor::FlatLayout& layout, const optim::Optimizer* optimizer,
                       tensor::Backend& backend)
    : layout_(&layout), optimizer_(optimizer) {
  const std::int64_t num_bytes = layout.total * static_cast<std::int64_t>(sizeof(float));
  params_ = backend.allocate(num_bytes);
  if (optimizer == nullptr) return;
  for (std::size_t i = 0; i < optimizer->state_names().size(); ++i) {
    state_storage_.push_back(backend.allocate(num_bytes));
    states_.push_back(reinterpret_cast<float*>(state_storage_.back().data()));
  }
}

void ModelState::initialize(const std::vector<nn::ParamSpec>& specs, std::uint64_t seed) {
  nn::initialize(*layout_, specs, seed, params());
}

void ModelState::load(const checkpoint::Checkpoint& checkpoint) {
  optim::flatten(*layout_, "", checkpoint.model, params());
  if (optimizer_ == nullptr) return;
  const std::vector<std::string> names = optimizer_->state_names();
  std::size_t expected = names.size() * layout_->entries.size();
  if (checkpoint.optimizer.size() != expected) {
    throw Error(Exit::data, cat("optimizer.safetensors: ", checkpoint.optimizer.size(),
                                " tensors, expected ", expected));
  }
  for (std::size_t i = 0; i < names.size(); ++i) {
    tensor::StateDict part;
    const std::string prefix = names[i] + ".";
    for (const auto& [name, value] : checkpoint.optimizer) {
      if (name.starts_with(prefix)) part.emplace(name, value);
    }
    optim::flatten(*layout_, names[i], part, states_[i]);
  }
}

void ModelState::save(checkpoint::Checkpoint& checkpoint) const {
  checkpoint.model = optim::unflatten(*layout_, "", params());
  checkpoint.optimizer.clear();
  if (optimizer_ == nullptr) return;
  const std::vector<std::string> names = optimizer_->state_names();
  for (std::size_t i = 0; i < names.size(); ++i) {
    checkpoint.optimizer.merge(optim::unflatten(*layout_, names[i], states_[i]));
  }
}

std::string ModelState::weights_hash() const {
  return checkpoint::weights_hash(optim::unflatten(*layout_, "", params()));
}

std::string ModelState::first_nonfinite() const {
  for (const auto& entry : layout_->entries) {
    const float* values = params() + entry.offset;
    for (std::int64_t i = 0; i < entry.numel; ++i) {
      if (!std::isfinite(values[i])) return entry.name;
    }
  }
  return "";
}

}  // namespace dlt::train
