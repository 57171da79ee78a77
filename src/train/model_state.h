// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "ddp/host_replica.h"
#include "nn/model.h"
#include "optim/averaging.h"
#include "optim/optimizer.h"
#include "optim/plateau.h"
#include "optim/shard.h"
#include "tensor/flat_layout.h"
#include "tensor/storage.h"
#include "train/carried_state.h"
#include "train/error_feedback.h"
#include "train/numerics.h"

namespace dlt::train {

/// Parameters, gradients and the optimiser's state are f32.
inline constexpr auto kFloat_bytes = static_cast<std::int64_t>(sizeof(float));

/// What a run keeps beside parameters and optimiser state.
struct StateExtras {
  optim::Averaging averaging = {};           // resolved
  std::vector<std::string> statistics = {};  // parameters that are running statistics
  bool plateau = false;                      // the schedule has a state
  CarriedState carried = {};                 // of recurrent layers
  std::optional<optim::Shard> shard = {};    // of the optimiser's state; none: this rank has all
  /// Where the buffers lie that all ranks of the host share: parameters, the average, and unless
  /// it is cut into shards the optimiser's state; null: all buffers are this rank's own.
  std::shared_ptr<ddp::HostReplica> host = {};
};

/// Buffers that StateExtras::host is to have.
[[nodiscard]] int num_shared_buffers(const StateExtras& extras, const optim::Optimizer& optimizer);

/// Parameters and optimiser state of one rank, in flat buffers; with the step, all that a run needs
/// to go on. Where the ranks of a host share buffers, whatever writes to all of one is collective
/// on the host.
class ModelState {
 public:
  /// layout and optimizer must outlive this. optimizer may be null (evaluation, prediction).
  ModelState(const tensor::FlatLayout& layout, const optim::Optimizer* optimizer,
             tensor::Backend& backend, StateExtras extras = {});

  /// Back to what it was when it was made, and initialize().
  void reset(const std::vector<nn::ParamSpec>& specs, std::uint64_t seed);
  void initialize(const std::vector<nn::ParamSpec>& specs, std::uint64_t seed);
  /// errors  Error(Exit::data) naming the first tensor that does not fit
  void load(const checkpoint::Checkpoint& checkpoint);
  /// Takes the average of that name ("ema", "swa") as parameters.
  /// errors  Error(Exit::data) if the checkpoint holds none
  void load_average(const checkpoint::Checkpoint& checkpoint, const std::string& name);
  [[nodiscard]] const optim::Optimizer* optimizer() const { return optimizer_; }
  /// A checkpoint's tensors, of a rank that is alone: no shard, nothing carried or owed. They lie
  /// in the buffers of this object. The average must be ready for use.
  void save(checkpoint::Checkpoint& checkpoint) const;
  /// What a checkpoint holds beside the buffers: the state of a schedule, and of the handling of
  /// bad numbers.
  void save_small(tensor::StateDict& to) const;

  [[nodiscard]] const optim::Averaging& averaging() const { return extras_.averaging; }
  /// Flat buffer of the average, null if none is kept.
  [[nodiscard]] float* average() const { return reinterpret_cast<float*>(average_.data()); }
  /// Makes the average fit to be used or saved: before its first update it is the parameters, and
  /// running statistics are always those of the parameters.
  void complete_average(std::int64_t steps_done);
  [[nodiscard]] optim::PlateauState& plateau() { return plateau_; }
  [[nodiscard]] const optim::PlateauState& plateau() const { return plateau_; }
  [[nodiscard]] CarriedState& carried() { return extras_.carried; }
  [[nodiscard]] const CarriedState& carried() const { return extras_.carried; }
  [[nodiscard]] ErrorFeedback& errors() { return errors_; }
  [[nodiscard]] NumericsState& numerics() { return numerics_; }

  /// Makes somebody write what the ranks of the host share: one of them, while none reads.
  void write(const std::function<void()>& writing);
  [[nodiscard]] ddp::HostReplica* host() const { return extras_.host.get(); }

  [[nodiscard]] const std::optional<optim::Shard>& shard() const { return extras_.shard; }
  /// The buffers, for whoever must keep them alive.
  [[nodiscard]] const tensor::Storage& params_storage() const { return params_; }
  [[nodiscard]] const tensor::Storage& average_storage() const { return average_; }
  [[nodiscard]] float* params() const { return reinterpret_cast<float*>(params_.data()); }
  /// Flat; packed if this is a shard.
  [[nodiscard]] const std::vector<float*>& states() const { return states_; }
  [[nodiscard]] const tensor::FlatLayout& layout() const { return *layout_; }
  [[nodiscard]] std::string weights_hash() const;
  /// Of the parameters' bytes as they lie in memory: quick, to compare replicas of one run.
  [[nodiscard]] std::uint64_t replica_hash() const;
  /// Name of the first parameter that holds a NaN or an infinity, "" if none does.
  [[nodiscard]] std::string first_nonfinite() const;

 private:
  [[nodiscard]] tensor::Storage next_buffer(tensor::Backend& backend);
  void take(const std::string& prefix, const tensor::StateDict& part, float* flat);

  const tensor::FlatLayout* layout_;
  const optim::Optimizer* optimizer_;
  StateExtras extras_;
  optim::PlateauState plateau_;
  ErrorFeedback errors_;
  NumericsState numerics_;
  tensor::Storage params_, average_;
  std::vector<tensor::Storage> state_storage_;
  std::vector<float*> states_;
  int num_shared_ = 0;  // buffers taken of the host's
};

}  // namespace dlt::train
