// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn_plans.h"

#include "backend/cuda/library_check.h"

namespace dlt::cuda {

std::shared_ptr<const GraphPlan> CudnnPlans::get(const std::string& key, const Find& find) {
  const std::lock_guard lock(mutex_);
  const auto known = plans_.find(key);
  if (known != plans_.end()) return known->second;
  return plans_.emplace(key, find(handle_)).first->second;
}

void CudnnPlans::run(const GraphPlan& plan, std::span<const Binding> bindings, std::byte* workspace,
                     cudaStream_t stream) {
  const std::lock_guard lock(mutex_);
  DLT_CUDNN(cudnnSetStream(handle_, stream));
  plan.run(handle_, bindings, workspace);
}

}  // namespace dlt::cuda
