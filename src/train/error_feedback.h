// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

#include "comm/communicator.h"
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
  /// Brings the residuals of all ranks to rank 0. Collective.
  void gather(comm::Communicator& comm, const ddp::ReductionState& from);
  /// Rank 0, behind gather(). The tensors are valid until the next gather().
  void save(const tensor::FlatLayout& layout, tensor::StateDict& to);

 private:
  tensor::StateDict loaded_;
  std::vector<std::vector<float>> residuals_;  // of each rank
  std::vector<ddp::ReductionState::Shared> shared_;
};

}  // namespace dlt::train
