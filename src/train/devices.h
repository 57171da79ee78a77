// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "comm/nccl_library.h"
#include "tensor/backend.h"

namespace dlt::comm {
class Communicator;
}
namespace dlt::tensor {
struct GpuInfo;
class Gpus;
}  // namespace dlt::tensor

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

  /// Decides with the other ranks which GPU each takes, and opens this rank's. Collective; to be
  /// called before for_leaves(). errors  those of for_leaves() of any rank, on all of them
  void place(const RunConfig& config, comm::Communicator& comm, const std::string& host);

  /// As train.device says: cpu; cuda; auto, which is a GPU where there is one: the one of place(),
  /// or without that as many further on as there are ranks of this host in front of this one.
  /// errors  Error(Exit::unavailable) if the config demands a GPU and none can be used, with what
  /// was
  ///         found; or if the one that is this rank's cannot be used
  [[nodiscard]] tensor::Backend& for_leaves(const RunConfig& config);
  /// Which GPU for_leaves() took and why, one line; "" for the host.
  [[nodiscard]] const std::string& placement() const { return placement_; }
  /// The library that joins GPUs: the plug-in's, or one that tests bring.
  [[nodiscard]] comm::NcclFound find_nccl() const {
    return find_nccl_ ? find_nccl_() : comm::find_nccl();
  }
  void set_find_nccl(std::function<comm::NcclFound()> find) { find_nccl_ = std::move(find); }
  /// What is odd about the GPUs that place() gave to all ranks: a line each.
  [[nodiscard]] const std::vector<std::string>& warnings() const { return warnings_; }
  /// The GPU that for_leaves() took; null: the host.
  [[nodiscard]] const tensor::GpuInfo* gpu() const;
  /// Ranks that run on it, this one included, as far as place() knows.
  [[nodiscard]] int ranks_on_gpu() const { return ranks_on_gpu_; }

 private:
  void look_for_gpus(const RunConfig& config);
  [[nodiscard]] std::unique_ptr<tensor::Backend> open(const tensor::GpuInfo& gpu) const;

  tensor::Backend* host_;
  std::optional<LocalRank> local_;  // none: the host alone
  std::unique_ptr<tensor::Gpus> gpus_;
  std::unique_ptr<tensor::Backend> gpu_;
  std::optional<std::size_t> chosen_;  // by place()
  std::string placement_, why_;
  std::vector<std::string> warnings_;
  int ranks_on_gpu_ = 1;
  std::function<comm::NcclFound()> find_nccl_;
};

}  // namespace dlt::train
