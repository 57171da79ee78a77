// SPDX-License-Identifier: Apache-2.0
#include "train/carried_state.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::train {

CarriedState::CarriedState(std::vector<nn::CarriedSpec> specs, std::int64_t num_rows)
    : specs_(std::move(specs)), num_rows_(num_rows) {
  for (const nn::CarriedSpec& spec : specs_) {
    values_.emplace_back(static_cast<std::size_t>(num_rows * spec.size), 0.0F);
  }
}

std::int64_t CarriedState::first_row(int leaf, int num_leaves) const {
  return leaf * num_rows_ / num_leaves;
}

float* CarriedState::row(std::size_t state, std::int64_t row) {
  return values_[state].data() + row * specs_[state].size;
}

const float* CarriedState::row(std::size_t state, std::int64_t row) const {
  return values_[state].data() + row * specs_[state].size;
}

void CarriedState::clear() {
  for (std::vector<float>& values : values_) std::fill(values.begin(), values.end(), 0.0F);
}

void CarriedState::gather(comm::Communicator& comm, const ddp::LeafDivision& division) {
  const int num_leaves = division.num_leaves();
  for (int rank = 0; rank < comm.world_size(); ++rank) {
    const ddp::LeafRange leaves = division.of(rank);
    const std::int64_t begin = first_row(leaves.begin, num_leaves);
    const std::int64_t end = first_row(leaves.end, num_leaves);
    for (std::size_t i = 0; i < specs_.size(); ++i) {
      const std::int64_t floats = (end - begin) * specs_[i].size;
      comm.broadcast(row(i, begin), floats * static_cast<std::int64_t>(sizeof(float)), rank);
    }
  }
}

void CarriedState::load(const tensor::StateDict& from) {
  for (std::size_t i = 0; i < specs_.size(); ++i) {
    const tensor::TensorType want{{num_rows_, specs_[i].size}, DType::f32};
    const auto found = from.find(specs_[i].name);
    if (found == from.end() || found->second.type() != want) {
      throw Error(Exit::data, cat("optimizer.safetensors: tensor '", specs_[i].name, "': expected ",
                                  want.text(), ", got ",
                                  found == from.end() ? "none" : found->second.type().text()));
    }
    const auto values = found->second.as<float>();
    std::copy(values.begin(), values.end(), values_[i].begin());
  }
}

}  // namespace dlt::train
