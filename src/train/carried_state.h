// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "comm/communicator.h"
#include "ddp/leaf_tree.h"
#include "nn/layer.h"
#include "tensor/tensor.h"

namespace dlt::train {

/// What recurrent layers carry from step to step, of each row of the global batch. A rank keeps the
/// rows of its leaves up to date; gather() makes all of them known to all ranks, in an order that
/// does not depend on who has which.
class CarriedState {
 public:
  CarriedState() = default;
  CarriedState(std::vector<nn::CarriedSpec> specs, std::int64_t num_rows);

  [[nodiscard]] const std::vector<nn::CarriedSpec>& specs() const { return specs_; }
  /// Where the rows of a leaf begin; leaf == num_leaves: their end.
  [[nodiscard]] std::int64_t first_row(int leaf, int num_leaves) const;
  /// size numbers each, one row behind the other.
  [[nodiscard]] float* row(std::size_t state, std::int64_t row);
  [[nodiscard]] const float* row(std::size_t state, std::int64_t row) const;
  void clear();
  /// Collective where there is a state.
  void gather(comm::Communicator& comm, const ddp::LeafDivision& division);

  [[nodiscard]] std::int64_t num_rows() const { return num_rows_; }

  /// From tensors "state.lstm_1.h", f32 [rows, size]. errors  Error(Exit::data) naming the first
  /// that is missing or does not fit
  void load(const tensor::StateDict& from);

 private:
  std::vector<nn::CarriedSpec> specs_;
  std::int64_t num_rows_ = 0;
  std::vector<std::vector<float>> values_;
};

}  // namespace dlt::train
