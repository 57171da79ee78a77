// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>

#include "data/loader.h"
#include "train/leaf_runner.h"
#include "train/resident_step.h"
#include "train/trainer.h"

namespace dlt::train {

/// One thread's part: its executor, its loader, and how its last step went.
struct Trainer::Worker final : autodiff::GradientSink, autodiff::ParamGate {
  Worker(Trainer& owner, const data::Dataset& dataset, int worker);

  void backward_begins() override { tell(observe::Phase::backward); }

  void gradients_final(std::int64_t prefix) override {
    tell(observe::Phase::backward);
    if (resident != nullptr) {
      resident->gradients_final(leaf, prefix);
    } else {
      reducer->gradients_final(id, leaf, prefix);
    }
  }

  void wait_for_params(std::int64_t from) override {
    const double waited_s = reducer->wait_gathered(from);
    if (waited_s > 0) tell(observe::Phase::forward);
    param_wait_s += waited_s;
  }

  void tell(observe::Phase phase) {
    mark.phase = phase;
    pulse->mark(mark);
  }

  /// A leaf that was submitted and not finished.
  struct UnderWay {
    int leaf = 0;
    std::int64_t first_row = 0, count = 0;
  };
  class Queue {
   public:
    void push(const UnderWay& leaf) { leaves_[static_cast<std::size_t>(size_++)] = leaf; }
    UnderWay pop() {
      const UnderWay first = leaves_[0];
      leaves_[0] = leaves_[1];
      --size_;
      return first;
    }
    void clear() { size_ = 0; }
    [[nodiscard]] int size() const { return size_; }

   private:
    std::array<UnderWay, 2> leaves_{};
    int size_ = 0;
  };

  ddp::Reducer* reducer;
  observe::Pulse* pulse;
  observe::Mark mark;  // of the leaf at hand
  Queue under_way;
  int id;
  int leaf = 0;
  ResidentStep* resident;  // null: gradients go to the reducer
  LeafRunner runner;
  data::Loader loader;
  std::unique_ptr<KernelTimes> times;  // once a step was to be timed
  double data_wait_s = 0, param_wait_s = 0;
  std::exception_ptr failure;
};

}  // namespace dlt::train
