// SPDX-License-Identifier: Apache-2.0
#include "train/devices.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "tensor/gpus.h"
#include "train/run_config.h"

namespace dlt::train {

Devices::Devices(tensor::Backend& host) : host_(&host) {}

Devices::Devices(tensor::Backend& host, LocalRank local) : host_(&host), local_(local) {}

Devices::Devices(tensor::Backend& host, std::unique_ptr<tensor::Gpus> gpus, LocalRank local)
    : host_(&host), local_(local), gpus_(std::move(gpus)) {}

Devices::~Devices() = default;

tensor::Backend& Devices::for_leaves(const RunConfig& config) {
  if (config.device == Device::cpu) return *host_;
  if (gpu_ != nullptr) return *gpu_;
  if (local_ && gpus_ == nullptr) gpus_ = std::make_unique<tensor::Gpus>();
  if (gpus_ == nullptr || gpus_->list().empty()) {
    if (config.device != Device::cuda) return *host_;
    throw Error(Exit::unavailable,
                cat("train.device: expected a GPU for 'cuda', got none: ",
                    gpus_ != nullptr ? gpus_->why_not() : "this program uses the CPU alone"),
                "`dltrain info` says what this host has; train.device: cpu trains without");
  }
  const auto index = static_cast<std::size_t>(local_->rank) % gpus_->list().size();
  gpu_ = gpus_->open(static_cast<int>(index));
  placement_ = cat("GPU ", describe(gpus_->list()[index]));
  gpu_uuid_ = gpus_->list()[index].uuid;
  return *gpu_;
}

}  // namespace dlt::train
