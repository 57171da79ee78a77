// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "comm/communicator.h"
#include "ddp/bucket_reduction.h"
#include "ddp/cost.h"
#include "tensor/storage.h"
#include "train/model_state.h"

namespace dlt::train {

/// Ranks that update by themselves for some steps and then take the mean of what they have come to:
/// parameters, optimiser state, averages and running statistics alike, each rank weighted by the
/// samples it has seen. Parameters and averages are averaged as changes since the last time, so
/// that what no rank has moved keeps its bits. Sums run along a fixed tree over the ranks.
/// source  Stich 2018, "Local SGD converges fast and communicates little", arXiv:1805.09767; the
///         mean of momenta as Yu, Jin & Yang 2019, arXiv:1905.03817
class LocalSteps {
 public:
  /// The replicas must be equal. state must outlive it. Collective.
  LocalSteps(comm::Communicator& comm, ModelState& state);
  /// A step was made; of each rank the weight of its samples in it.
  void note(std::span<const double> weights);
  /// Makes the replicas equal. Nothing happens if no step was made since. Collective.
  void synchronise(comm::Communicator& comm);
  /// The replicas are equal.
  [[nodiscard]] bool synchronised() const;
  [[nodiscard]] std::int64_t buffer_bytes() const;

  /// Of one synchronisation; num_states as the optimiser's.
  struct Shape {
    std::int64_t total = 0;  // elements of a flat buffer
    std::int64_t num_states = 0;
    bool average = false;
    int world_size = 1, rank = 0;
  };
  [[nodiscard]] static ddp::Cost cost(const Shape& shape);
  /// That a rank reads and writes for it beside the messages.
  [[nodiscard]] static std::int64_t memory_bytes(const Shape& shape);

 private:
  struct Part {
    float* data = nullptr;
    tensor::Storage reference;  // what it was the last time; empty: the mean is of whole values
    std::unique_ptr<ddp::BucketReduction> sum;
  };
  void add_part(comm::Communicator& comm, float* data, bool by_changes);
  void average(comm::Communicator& comm, Part& part, float share);

  std::int64_t total_;
  std::vector<ddp::Bucket> pieces_;
  std::vector<Part> parts_;
  std::vector<double> weights_;  // since the last time
  std::int64_t num_means_ = 0;
};

}  // namespace dlt::train
