// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "base/dtype.h"
#include "ddp/leaf_tree.h"
#include "tensor/backend.h"

namespace dlt::ddp {

/// How the kernel tree_sum is told a tree: for each source, left to right, how many additions of
/// the two newest values follow it. errors  Error(Exit::internal) if the additions are not one tree
/// over adjacent sources
[[nodiscard]] std::vector<std::int64_t> merges_of(std::size_t num_sources,
                                                  const std::vector<Addition>& additions);
/// ((0 + 1) + 2) + ...
[[nodiscard]] std::vector<std::int64_t> one_after_the_other(std::size_t num_sources);

/// A sum in memory of a device, ready to be put into a queue.
class DeviceSum {
 public:
  void run(tensor::Queue& queue) const;

 private:
  friend class DeviceSums;
  std::unique_ptr<tensor::Kernel> kernel_;
  std::vector<tensor::View> inputs_;
  std::vector<tensor::View> outputs_;
};

/// Makes sums by the device's kernel tree_sum.
class DeviceSums {
 public:
  struct Options {
    std::vector<const void*> from;
    DType from_type = DType::f32;
    std::vector<std::int64_t> merges = {0};
    void* to = nullptr;  // may be one of `from`
    DType to_type = DType::f32;
    std::int64_t count = 0;
  };
  /// errors  Error(Exit::unavailable) if the device has no such kernel
  explicit DeviceSums(tensor::Backend& device);
  /// errors  Error(Exit::unavailable) if there are too many sources for the kernel
  [[nodiscard]] DeviceSum make(const Options& options) const;

 private:
  tensor::KernelFactory factory_;
};

}  // namespace dlt::ddp
