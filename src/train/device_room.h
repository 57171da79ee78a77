// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/executor.h"
#include "base/error.h"
#include "ddp/leaf_tree.h"
#include "train/run_config.h"

namespace dlt::train {

/// A job's part on one device, as far as it decides about memory.
struct DevicePlan {
  const RunConfig& config;
  const autodiff::Program& training;
  const autodiff::Program* evaluation = nullptr;  // null: there is none
  int num_leaves = 1;                             // of all ranks
  ddp::LeafRange leaves = {};                     // of this rank
  bool resident = false;                          // parameters and all that belongs to them stay
};

/// What a rank holds in the memory of its device, before anything is allocated there.
struct DeviceNeeds {
  struct Part {
    std::string name;
    std::int64_t num_bytes = 0;
  };
  std::vector<Part> parts;
  std::vector<Part> largest;  // tensors, where the training pass needs most; at most five
  [[nodiscard]] std::int64_t total_bytes() const;
  /// A line for each part and each of the largest tensors.
  [[nodiscard]] std::string text() const;
};
[[nodiscard]] DeviceNeeds device_needs(const DevicePlan& plan);

struct DeviceRoom {
  const autodiff::OpTable& table;
  tensor::Backend& device;
  std::string name;  // of the device
  int ranks = 1;     // that share it
};

/// errors  Error(Exit::unavailable) if the device has less free memory than the plan needs: with
/// what needs how much, and what would fit. Host memory always has room.
void require_room(const DevicePlan& plan, const DeviceRoom& room);

/// What to say of an allocation on the device that failed nevertheless: the same.
[[nodiscard]] Error no_room(const Error& failure, const DevicePlan& plan, const DeviceRoom& room);

}  // namespace dlt::train
