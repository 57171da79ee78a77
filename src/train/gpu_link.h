// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "comm/communicator.h"
#include "comm/device_communicator.h"
#include "train/devices.h"
#include "train/run_config.h"

namespace dlt::train {

/// How the ranks' GPUs reach each other.
struct GpuLink {
  std::unique_ptr<comm::DeviceCommunicator> comm;  // null: by way of the host
  std::string why_not;                             // in words; "" if there is nothing to say
};

/// What of a config keeps gradients and updates on the host, "" if nothing does.
[[nodiscard]] std::string needs_host(const RunConfig& config);

/// Joins the GPUs of all ranks where the job has a use for it. device: what this rank's leaves run
/// on. Collective. errors  Error(Exit::peer_lost) if a rank is lost
[[nodiscard]] GpuLink link_gpus(const RunConfig& config, comm::Communicator& comm,
                                const tensor::Backend& device, const Devices* devices);

}  // namespace dlt::train
