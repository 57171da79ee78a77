// SPDX-License-Identifier: Apache-2.0
#include "train/gpu_link.h"

#include <algorithm>
#include <vector>

#include "base/text.h"
#include "comm/nccl_communicator.h"
#include "tensor/gpus.h"

namespace dlt::train {

std::string needs_host(const RunConfig& config) {
  if (config.shard != Sharding::none) return "train.shard";
  if (config.sync_every > 1) return "comm.sync_every";
  const ddp::Compression compression = config.compression.kind;
  if (compression != ddp::Compression::none && compression != ddp::Compression::bf16) {
    return "comm.compression";
  }
  return "";
}

GpuLink link_gpus(const RunConfig& config, comm::Communicator& comm, const tensor::Backend& device,
                  const Devices* devices) {
  if (comm.world_size() == 1) return {};
  const char mine = device.in_host_memory() ? 0 : 1;
  std::vector<char> all(static_cast<std::size_t>(comm.world_size()));
  comm.allgather(&mine, all.data(), 1);
  const auto num_gpus = std::count(all.begin(), all.end(), 1);
  if (num_gpus == 0) return {};
  if (num_gpus < comm.world_size()) {
    return {.comm = nullptr,
            .why_not = cat(num_gpus, " of ", comm.world_size(), " ranks have a GPU")};
  }
  if (std::string reason = needs_host(config); !reason.empty()) {
    return {.comm = nullptr, .why_not = std::move(reason)};
  }
  comm::NcclStart start = comm::start_nccl(
      comm, devices->find_nccl(),
      {.gpu = devices->gpu()->uuid, .call_timeout_s = config.fault.hang_timeout_s});
  return {.comm = std::move(start.comm), .why_not = std::move(start.why_not)};
}

}  // namespace dlt::train
