// SPDX-License-Identifier: Apache-2.0
// Whether a run has room on its device, and what it says if not.
#include <string_view>

#include "base/text.h"
#include "tensor/gpus.h"
#include "train/resident_step.h"
#include "train/train_loop.h"

namespace dlt::train {

DevicePlan TrainLoop::device_plan() {
  return {.config = job_->config_,
          .training = *train_program_,
          .evaluation = eval_program_.get(),
          .num_leaves = division_.num_leaves,
          .leaves = ddp::split({0, division_.num_leaves}, comm_->world_size(), comm_->rank()),
          .resident = ResidentStep::why_not(parts(*train_program_)).empty()};
}

DeviceRoom TrainLoop::device_room() const {
  const Devices* devices = job_->around_.devices;
  const tensor::GpuInfo* gpu = devices != nullptr ? devices->gpu() : nullptr;
  return {.table = job_->around_.table,
          .device = *device_,
          .name = gpu != nullptr ? cat("GPU ", describe(*gpu)) : std::string(device_->name()),
          .ranks = devices != nullptr ? devices->ranks_on_gpu() : 1};
}

void TrainLoop::allocate(const std::function<void()>& make) {
  try {
    make();
  } catch (const Error& error) {
    const bool no_memory =
        std::string_view(error.what()).find(tensor::kNo_room) != std::string::npos;
    if (device_->in_host_memory() || !no_memory) throw;
    throw no_room(error, device_plan(), device_room());
  }
}

}  // namespace dlt::train
