// SPDX-License-Identifier: Apache-2.0
#include "train/devices.h"

#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "ddp/replica.h"
#include "tensor/gpus.h"
#include "train/gpu_places.h"
#include "train/run_config.h"

namespace dlt::train {

Devices::Devices(tensor::Backend& host) : host_(&host) {}

Devices::Devices(tensor::Backend& host, LocalRank local) : host_(&host), local_(local) {}

Devices::Devices(tensor::Backend& host, std::unique_ptr<tensor::Gpus> gpus, LocalRank local)
    : host_(&host), local_(local), gpus_(std::move(gpus)) {}

Devices::~Devices() = default;

void Devices::look_for_gpus(const RunConfig& config) {
  if (config.device == Device::cpu) return;
  if (local_ && gpus_ == nullptr) gpus_ = std::make_unique<tensor::Gpus>();
}

void Devices::place(const RunConfig& config, comm::Communicator& comm, const std::string& host) {
  look_for_gpus(config);
  const bool looks = gpus_ != nullptr && config.device != Device::cpu;
  const std::vector<tensor::GpuInfo> none;
  const GpuPlaces places = place_ranks(comm, looks ? gpus_->list() : none);
  if (places.mine.index >= 0) {
    chosen_ = static_cast<std::size_t>(places.mine.index);
    why_ = places.mine.why;
    ranks_on_gpu_ = 1 + static_cast<int>(places.mine.peers.size());
  }
  warnings_ = places.warnings;
  ddp::together(comm, host, [&] { (void)for_leaves(config); });
}

tensor::Backend& Devices::for_leaves(const RunConfig& config) {
  if (config.device == Device::cpu) return *host_;
  if (gpu_ != nullptr) return *gpu_;
  look_for_gpus(config);
  if (gpus_ == nullptr || gpus_->list().empty()) {
    if (config.device != Device::cuda) return *host_;
    throw Error(Exit::unavailable,
                cat("train.device: expected a GPU for 'cuda', got none: ",
                    gpus_ != nullptr ? gpus_->why_not() : "this program uses the CPU alone"),
                "`dltrain info` says what this host has; train.device: cpu trains without");
  }
  const std::size_t index =
      chosen_.value_or(static_cast<std::size_t>(local_->rank) % gpus_->list().size());
  const tensor::GpuInfo& info = gpus_->list()[index];
  gpu_ = open(info);
  chosen_ = index;
  placement_ = cat("GPU ", describe(info), why_.empty() ? "" : ", ", why_);
  return *gpu_;
}

const tensor::GpuInfo* Devices::gpu() const {
  return gpu_ != nullptr ? &gpus_->list()[*chosen_] : nullptr;
}

std::unique_ptr<tensor::Backend> Devices::open(const tensor::GpuInfo& gpu) const {
  if (gpu.prohibited) {
    throw Error(Exit::unavailable,
                cat("GPU ", describe(gpu), ": its compute mode lets no process use it"),
                cat("`nvidia-smi -i ", gpu.pci,
                    " -c DEFAULT` allows it; CUDA_VISIBLE_DEVICES with "
                    "the other GPUs' numbers leaves it out"));
  }
  try {
    return gpus_->open(gpu.index);
  } catch (const Error& error) {
    if (error.exit() != Exit::unavailable) throw;
    const char* hint =
        gpu.exclusive
            ? "only one process at a time may use it (its compute mode): start one rank for each "
              "GPU, and see in `nvidia-smi` who else has it"
            : "`nvidia-smi` says who uses it; CUDA_VISIBLE_DEVICES with other GPUs' numbers leaves "
              "it out";
    throw Error(Exit::unavailable, cat("GPU ", describe(gpu), ": cannot be used: ", error.what()),
                hint);
  }
}

}  // namespace dlt::train
