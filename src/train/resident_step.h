// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "ddp/device_local_sums.h"
#include "ddp/device_reduction.h"
#include "optim/scalar_table.h"
#include "optim/updater.h"
#include "train/leaf_runner.h"
#include "train/model_state.h"
#include "train/running_statistics.h"
#include "train/trainer.h"

namespace dlt::train {

/// Parameters, gradients and the optimiser's state of a rank in the memory of its GPU, and the part
/// of a step that concerns them: sums along the leaf tree, norms, updates. All of it is work of the
/// queue that the leaves' kernels go to; the host waits only where it wants a number.
class ResidentStep {
 public:
  /// Why a job's state cannot stay on this device, "" if it can: its leaves then run there, but
  /// gradients are summed and parameters updated on the host.
  [[nodiscard]] static std::string why_not(const TrainerParts& parts);

  /// The buffers begin as those of `state`, which must outlive it. errors  Error(Exit::unavailable)
  /// if there is no room
  ResidentStep(const TrainerParts& parts, ModelState& state, ddp::LeafRange leaves, int num_leaves);
  ~ResidentStep();

  [[nodiscard]] const float* params() const { return floats(params_); }
  /// What the leaves' kernels go to, once there is a runner.
  void bind(tensor::Queue& queue);
  [[nodiscard]] int num_leaves() const { return sums_.num_leaves(); }
  /// Whether what leaves give to the queue may be captured.
  [[nodiscard]] bool records() const { return records_; }
  /// Whether an update may be given without the host's looking at the step: its numbers lie on the
  /// device. An average is not moved in every step, and norms of parameters are the host's to use.
  [[nodiscard]] bool updates_alone() const { return updates_alone_; }

  void begin_step(std::int64_t step);
  /// Waits for a point in the queue; where that waits for other ranks, with the deadline.
  /// errors  Error(Exit::peer_lost) saying what was waited for
  void wait(const tensor::Event& event);
  /// A rank failed: what waits for the others is ended, so that memory can be freed.
  void give_up();

  [[nodiscard]] float* leaf_gradients(int index) const { return sums_.leaf_gradients(index); }
  /// While leaf `index` is given to the queue: elements [0, prefix) will be final.
  void gradients_final(int index, std::int64_t prefix);
  void leaf_empty(int index);

  /// Euclidean norm of the reduced gradient; waits for the device.
  [[nodiscard]] double gradient_norm();
  /// The one by which the step's update, given by give_update(), was clipped; likewise.
  [[nodiscard]] double clipped_norm();
  /// The step's update, in which the buffers of this object are put in the place of those of
  /// update, and the running statistics' by a step of that weight. Does not wait.
  void update(const optim::StepUpdate& update, double weight_sum);
  /// The same in two parts, of which only the second may be captured: the step's numbers travel,
  /// and the kernels read them on the device, train.clip_norm included. If it updates_alone().
  void begin_update(const optim::StepUpdate& update, double weight_sum);
  void give_update(const optim::StepUpdate& update, double weight_sum);

  /// Of the parameters' bits: equal on replicas that are. Waits for the device.
  [[nodiscard]] std::uint64_t replica_hash();
  /// Brings the state to the host's buffers, if it has changed since.
  void fetch_state();
  /// The reduced gradients, in host memory.
  [[nodiscard]] const float* fetch_gradients();

 private:
  [[nodiscard]] static float* floats(const tensor::Storage& storage) {
    return reinterpret_cast<float*>(storage.data());
  }
  /// Each buffer of the state with the host's.
  void each_buffer(const std::function<void(const tensor::Storage& there, float* here)>& use) const;
  void send_state();
  void make_reduction(const TrainerParts& parts, int num_leaves);
  void make_clipping();
  void make_hash();
  void join_buckets();
  [[nodiscard]] optim::StepUpdate here(const optim::StepUpdate& update) const;
  void move_statistics(double weight_sum, optim::ScalarTable* scalars);
  void clip(std::size_t num_rows);
  void wait_here();

  tensor::Backend& device_;
  ModelState& state_;
  std::int64_t total_;
  ddp::DeviceLocalSums sums_;
  float* reduced_;
  tensor::Queue* queue_ = nullptr;
  tensor::Storage params_, average_;
  std::vector<tensor::Storage> state_storage_;
  std::vector<float*> states_;
  std::unique_ptr<optim::Optimizer> optimizer_;  // with the device's kernels
  optim::UpdaterOptions updater_options_;
  const tensor::FlatLayout* layout_;
  ThreadPool* pool_;
  std::unique_ptr<optim::Updater> updater_;
  std::unique_ptr<tensor::Kernel> statistics_;  // null: the model has none
  tensor::Storage statistics_table_;
  std::int64_t num_statistics_ = 0;
  tensor::Storage gradients_here_;
  std::vector<ddp::Bucket> buckets_;
  std::unique_ptr<ddp::DeviceReduction> reduction_;  // null: this rank is alone
  comm::DeviceCommunicator* gpus_;
  double timeout_s_;
  std::int64_t step_ = 0;
  std::unique_ptr<optim::ScalarTable> scalars_;  // if it updates_alone_
  std::optional<double> clip_norm_;
  std::unique_ptr<tensor::Kernel> clip_scale_;  // with clip_norm_
  tensor::Storage norm_, norm_here_;            // f64 [1], on the device and in staging memory
  std::unique_ptr<tensor::Kernel> bits_hash_;
  tensor::Storage hash_, hash_here_;  // i64 [1], likewise
  std::unique_ptr<tensor::Event> here_;
  bool records_;
  bool updates_alone_ = false;
  std::size_t next_bucket_ = 0;  // of the last leaf, that is not final
  std::int64_t final_ = 0;       // elements of the leaf that is being given
  bool state_is_here_ = true;    // the host's buffers are up to date
};

}  // namespace dlt::train
