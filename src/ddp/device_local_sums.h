// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ddp/leaf_tree.h"
#include "tensor/backend.h"

namespace dlt::ddp {

/// The part of the leaf tree inside a rank whose leaves run one after the other on a device with
/// memory of its own: what LocalSums does on the host, as work of a queue. Allocates when made
/// only.
class DeviceLocalSums {
 public:
  struct Options {
    std::int64_t total = 0;  // elements of a flat buffer
    int num_leaves = 1;
    LeafRange leaves;  // of this rank
  };
  DeviceLocalSums(tensor::Backend& device, const Options& options);

  [[nodiscard]] int num_leaves() const { return static_cast<int>(plan_.steps.size()); }
  /// Where leaf `index` of this rank puts its gradients. Gaps between parameters are zero.
  [[nodiscard]] float* leaf_gradients(int index) const;
  /// Elements [begin, end) of leaf `index` are final behind the queue's work so far: adds to them
  /// what the tree adds. Leaves in order; a leaf's ranges in order.
  void add(int index, std::int64_t begin, std::int64_t end, tensor::Queue& queue) const;
  /// The leaf has no sample in this step: zeros in its place.
  void add_empty(int index, tensor::Queue& queue) const;
  /// Flat buffers that hold cover(leaves) behind the last leaf, left to right; none without leaves.
  [[nodiscard]] std::vector<float*> results() const;

 private:
  [[nodiscard]] float* buffer(int index) const;
  std::int64_t total_;
  WorkerPlan plan_;
  tensor::Storage memory_;
  std::unique_ptr<tensor::Kernel> accumulate_;
};

}  // namespace dlt::ddp
