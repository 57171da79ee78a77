// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "autodiff/executor.h"
#include "data/loader.h"
#include "tensor/backend.h"

namespace dlt::train {

/// A leaf's way to a device with memory of its own and back. Two leaves are under way at once:
/// while one computes, the next one's samples travel. What a leaf brings is copied at once from one
/// block of staging memory to one of the device, in front of its kernels.
class LeafDevice {
 public:
  static constexpr std::size_t kSlots = 2;
  struct Options {
    const float* params = nullptr;  // flat
    bool resident = false;   // parameters and gradients are the device's, and stay there; else they
                             // are the host's, and travel
    bool gradients = false;  // of a training program
    std::function<void(const tensor::Event&)> wait = {};  // instead of Event::wait
    std::vector<std::string> wanted;                      // outputs to bring to the host
  };
  LeafDevice(const autodiff::Program& program, tensor::Backend& backend, const Options& options);
  ~LeafDevice();

  [[nodiscard]] const float* params() const { return device_params_; }
  [[nodiscard]] tensor::Queue& queue() { return *compute_; }
  [[nodiscard]] bool resident() const { return resident_; }
  void params_changed() { params_old_ = true; }
  /// What the next leaves' weights are multiplied by, for the device alone.
  void scale_weights(double scale) { weight_scale_ = static_cast<float>(scale); }
  void bind_gate(autodiff::ParamGate* gate) { gate_ = gate; }

  /// Begins the next leaf: its samples travel, and everything is bound to the executor. gradients:
  /// the device's, where they are resident. state(name, memory) fills in the carried states.
  template <typename FillState>
  void begin(const data::LeafBatch& batch, autodiff::Executor& executor, float* gradients,
             FillState state) {
    take_next_slot();
    copy_batch(batch);
    for (const Input& input : inputs_) {
      if (input.state) state(input.name, staged_floats(input));
    }
    bind(executor, gradients);
  }
  /// Of the leaf that was begun last.
  [[nodiscard]] tensor::RunContext context(std::uint64_t seed, std::uint64_t epoch);
  /// Takes note of gradients that the queue is about to finish.
  void gradients_final(std::int64_t prefix);
  /// Behind the last kernel: the results travel.
  void end(const autodiff::Executor& executor);
  /// Behind end(), outside a capture: what finish() waits for.
  void mark_end();
  /// Captures and replays what `give` gives to the queue, in the place of giving it, once it has
  /// been given the same way often enough. key: of what is always given alike; the leaf's place in
  /// memory is part of it.
  void give_recorded(std::size_t key, const std::function<void()>& give);

  /// Waits for the oldest leaf under way, brings its gradients to `gradients` (null: there are
  /// none) and tells the sink. Its batch and outputs are then at hand, until another leaf is
  /// finished.
  void finish(float* gradients, autodiff::GradientSink* sink);
  [[nodiscard]] const data::LeafBatch& batch() const { return finished().batch; }
  [[nodiscard]] tensor::View output(std::string_view name) const;

  /// The value at a place where all leaves wait for each other, in host memory: fetched, to be
  /// changed, and sent back.
  [[nodiscard]] float* fetch_sync(const tensor::View& value);
  void send_sync(const tensor::View& value);

 private:
  struct Input {
    std::string name;
    std::int64_t offset_bytes = 0;  // in a slot's block
    std::int64_t num_bytes = 0;
    bool state = false;
  };
  struct Output {
    std::string name;
    tensor::TensorType type;
    std::int64_t offset_bytes = 0;
  };
  struct Final {
    std::int64_t prefix = 0;
    std::unique_ptr<tensor::Event> computed, copied;
  };
  struct Recorded {
    int times_given = 0;
    std::unique_ptr<tensor::Recording> recording;
  };
  struct Slot {
    tensor::Storage staging, block;  // what a leaf brings: here and on the device
    tensor::Storage results;         // wanted outputs, here
    std::vector<float> weights;      // of the batch; the device may have no use for them
    std::vector<std::int32_t> labels;
    tensor::Storage gradients;  // flat, on the device
    std::unique_ptr<tensor::Event> sent, done;
    std::vector<Recorded> recorded;  // by key
    std::vector<Final> finals;
    std::size_t num_finals = 0;
    data::LeafBatch batch;  // in staging
  };

  void plan_block(const autodiff::Program& program);
  void make_slot(Slot& slot, const Options& options);
  void take_next_slot();
  void copy_batch(const data::LeafBatch& batch);
  void bind(autodiff::Executor& executor, float* gradients);
  void send_params();
  [[nodiscard]] float* staged_floats(const Input& input);
  [[nodiscard]] const Input* find(std::string_view name) const;
  [[nodiscard]] Slot& begun() { return slots_[begun_ % kSlots]; }
  [[nodiscard]] const Slot& finished() const { return slots_[finished_ % kSlots]; }

  tensor::Backend& backend_;
  std::int64_t total_;  // elements of the flat buffers
  std::int64_t capacity_ = 0;
  std::int64_t block_bytes_ = 0, results_bytes_ = 0;
  std::vector<Input> inputs_;
  std::vector<Output> outputs_;
  std::unique_ptr<tensor::Queue> compute_, upload_, download_;
  bool resident_;
  const float* host_params_;
  const float* device_params_;
  tensor::Storage params_copy_;
  bool params_old_ = true;
  float weight_scale_ = 1;
  autodiff::ParamGate* gate_ = nullptr;
  std::function<void(const tensor::Event&)> wait_;
  std::array<Slot, kSlots> slots_;
  std::size_t begun_ = kSlots - 1;     // counts on from there
  std::size_t finished_ = kSlots - 1;  // likewise
  tensor::Storage sync_;
};

}  // namespace dlt::train
