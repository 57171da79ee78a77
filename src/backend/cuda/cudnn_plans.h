// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "backend/cuda/cudnn_graph.h"

namespace dlt::cuda {

/// The plans of one cuDNN handle: equal graphs share one, since building takes long. The handle has
/// one stream at a time, so building and running take turns.
class CudnnPlans {
 public:
  using Find = std::function<std::unique_ptr<const GraphPlan>(cudnnHandle_t handle)>;
  explicit CudnnPlans(cudnnHandle_t handle) : handle_(handle) {}

  /// The plan of that key, found at the first call; null if there is none.
  [[nodiscard]] std::shared_ptr<const GraphPlan> get(const std::string& key, const Find& find);
  void run(const GraphPlan& plan, std::span<const Binding> bindings, std::byte* workspace,
           cudaStream_t stream);

 private:
  cudnnHandle_t handle_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<const GraphPlan>> plans_;
};

}  // namespace dlt::cuda
