// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "checkpoint/store.h"
#include "nn/model.h"
#include "optim/optimizer.h"
#include "tensor/flat_layout.h"
#include "tensor/storage.h"

namespace dlt::train {

/// Parameters and optimiser state of one rank, in flat buffers; with the step, all that a run needs
/// to go on.
class ModelState {
 public:
  /// layout and optimizer must outlive this. optimizer may be null (evaluation, prediction).
  ModelState(const tensor::FlatLayout& layout, const optim::Optimizer* optimizer,
             tensor::Backend& backend);

  void initialize(const std::vector<nn::ParamSpec>& specs, std::uint64_t seed);
  /// errors  Error(Exit::data) naming the first tensor that does not fit
  void load(const checkpoint::Checkpoint& checkpoint);
  void save(checkpoint::Checkpoint& checkpoint) const;

  [[nodiscard]] float* params() const { return reinterpret_cast<float*>(params_.data()); }
  [[nodiscard]] const std::vector<float*>& states() const { return states_; }
  [[nodiscard]] const tensor::FlatLayout& layout() const { return *layout_; }
  [[nodiscard]] std::string weights_hash() const;
  /// Name of the first parameter that holds a NaN or an infinity, "" if none does.
  [[nodiscard]] std::string first_nonfinite() const;

 private:
  const tensor::FlatLayout* layout_;
  const optim::Optimizer* optimizer_;
  tensor::Storage params_;
  std::vector<tensor::Storage> state_storage_;
  std::vector<float*> states_;
};

}  // namespace dlt::train
