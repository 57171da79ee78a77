// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "comm/nccl_library.h"
#include "tensor/backend.h"

namespace dlt::tensor {
class Gpus;
}

namespace dlt::train {

struct RunConfig;

/// This rank among those of its host.
struct LocalRank {
  int rank = 0;
  int size = 1;
};

/// What a rank's leaves run on: the host, or one of its GPUs, opened when it is first asked for.
class Devices {
 public:
  /// The host alone.
  explicit Devices(tensor::Backend& host);
  /// With the GPUs that this process sees, looked for when a config wants one.
  Devices(tensor::Backend& host, LocalRank local);
  /// With these.
  Devices(tensor::Backend& host, std::unique_ptr<tensor::Gpus> gpus, LocalRank local);
  ~Devices();

  /// As train.device says: cpu; cuda; auto, which is a GPU where there is one.
  /// errors  Error(Exit::unavailable) if the config demands a GPU and none can be used, with what
  /// was
  ///         found; or if the one that is this rank's fails
  [[nodiscard]] tensor::Backend& for_leaves(const RunConfig& config);
  /// Which GPU for_leaves() took and why, one line; "" for the host.
  [[nodiscard]] const std::string& placement() const { return placement_; }
  /// Of that GPU; "" for the host.
  [[nodiscard]] const std::string& gpu_uuid() const { return gpu_uuid_; }
  /// The library that joins GPUs: the plug-in's, or one that tests bring.
  [[nodiscard]] comm::NcclFound find_nccl() const {
    return find_nccl_ ? find_nccl_() : comm::find_nccl();
  }
  void set_find_nccl(std::function<comm::NcclFound()> find) { find_nccl_ = std::move(find); }

 private:
  tensor::Backend* host_;
  std::optional<LocalRank> local_;  // none: the host alone
  std::unique_ptr<tensor::Gpus> gpus_;
  std::unique_ptr<tensor::Backend> gpu_;
  std::string placement_, gpu_uuid_;
  std::function<comm::NcclFound()> find_nccl_;
};

}  // namespace dlt::train
