// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ddp/bucket_reduction.h"
#include "tensor/flat_layout.h"
#include "tensor/tensor.h"

namespace dlt::train {

/// What a compression of gradients carries from step to step, on its way to and from checkpoints:
/// "error.RANK.PARAM", each rank's residual in the shape of the parameter, and "powersgd.PARAM",
/// f32 [rank, columns], which is the same on all ranks.
class ErrorFeedback {
 public:
  /// How many of a checkpoint's tensors are of this kind.
  [[nodiscard]] static std::size_t count(const tensor::StateDict& optimizer);
  /// Takes those tensors; nothing is checked yet.
  void load(const tensor::StateDict& optimizer);
  /// Puts what was loaded into a reduction and forgets it. Each rank gets its own residual; where
  /// the checkpoint is of another number of ranks, rank 0 gets the sum of all and the others none:
  /// nothing that is owed is lost. errors  Error(Exit::data) naming the first tensor that is
  /// missing or does not fit
  void restore(const tensor::FlatLayout& layout, const ddp::ReductionState& to, int rank,
               int world_size);
  /// Names of its tensors: a rank's residual of a parameter, and what belongs to the parameter that
  /// begins at this element of the flat buffers.
  [[nodiscard]] static std::string residual_name(int rank, const std::string& param);
  [[nodiscard]] static std::string shared_name(const tensor::FlatLayout& layout,
                                               std::int64_t param);

 private:
  tensor::StateDict loaded_;
};

}  // namespace dlt::train
