// SPDX-License-Identifier: Apache-2.0
// What the recurrent ops share. Tensors are batch-major; a state that a step does not change (mask
// 0) is carried over, and the output of that step repeats it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "autodiff/graph.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {

/// The attributes of recurrent ops: 1 where that optional operand is there.
struct RecurrentForm {
  bool initial = false;                // states before the first step
  bool masked = false;                 // mask [B, T]
  bool reverse = false;                // steps run from the last to the first
  bool bias = false;                   // gru: of the recurrent product
  bool dy = false;                     // gradient of y
  bool dlast_h = false;                // gradient of the last h
  bool dlast_c = false;                // gradient of the last c
  Rounding rounding = Rounding::none;  // of the operands of products
  explicit RecurrentForm(const tensor::Attrs& attrs);
};

struct RecurrentSizes {
  std::int64_t batch = 0, steps = 0, units = 0;
  [[nodiscard]] tensor::Shape state() const { return {batch, units}; }
  [[nodiscard]] tensor::Shape sequence(std::int64_t width) const { return {batch, steps, width}; }
  [[nodiscard]] tensor::Shape mask() const { return {batch, steps}; }
};

/// Reads B, T and H from x [B, T, gates · H], which must be the first input.
[[nodiscard]] RecurrentSizes recurrent_sizes(std::string_view op, Types inputs, std::int64_t gates);

/// Checks the inputs one after the other; all are of the first one's dtype.
class OperandRules {
 public:
  OperandRules(std::string_view op, Types inputs) : op_(op), inputs_(inputs) {}
  OperandRules& expect(std::string_view name, const tensor::Shape& shape);
  OperandRules& expect_if(bool present, std::string_view name, const tensor::Shape& shape);
  void finish() const;

 private:
  std::string_view op_;
  Types inputs_;
  std::size_t next_ = 0;
};

/// Operands of a host kernel, in the same order.
template <typename T>
class OperandPointers {
 public:
  explicit OperandPointers(std::span<const tensor::View> views) : views_(views) {}
  [[nodiscard]] T* next() { return views_[next_++].template as<T>(); }
  [[nodiscard]] T* next_if(bool present) { return present ? next() : nullptr; }

 private:
  std::span<const tensor::View> views_;
  std::size_t next_ = 0;
};

/// The steps of one sample in the order in which they run.
struct StepOrder {
  std::int64_t steps = 0;
  bool reverse = false;
  [[nodiscard]] std::int64_t at(std::int64_t index) const {
    return reverse ? steps - 1 - index : index;
  }
};

/// The state before step `index`, of one sample: a row of `all`, or `start` (null: zeros).
template <typename T>
[[nodiscard]] const T* state_before(const StepOrder& order, std::int64_t index, const T* all,
                                    const T* start, std::int64_t units) {
  return index == 0 ? start : all + order.at(index - 1) * units;
}

/// x + h · column of the recurrent weight [units, width]; h null: zeros.
template <typename T>
[[nodiscard]] double recurrent_sum(double x, const T* h, const T* weight, std::int64_t units,
                                   std::int64_t width, Rounding rounding) {
  for (std::int64_t k = 0; h != nullptr && k < units; ++k) {
    x += operand(h[k], rounding) * operand(weight[k * width], rounding);
  }
  return x;
}

/// Gradients of the states of one sample, in f64 on their way through the steps.
template <typename T>
void add_row(const T* rows, std::int64_t row, std::span<double> to) {
  if (rows == nullptr) return;
  for (std::size_t j = 0; j < to.size(); ++j) {
    to[j] += static_cast<double>(rows[static_cast<std::size_t>(row) * to.size() + j]);
  }
}
template <typename T>
void load_state(const T* states, std::int64_t sample, std::span<double> to) {
  std::fill(to.begin(), to.end(), 0.0);
  if (states != nullptr) add_row(states, sample, to);
}
template <typename T>
void store_state(std::span<const double> from, std::int64_t sample, T* states) {
  for (std::size_t j = 0; states != nullptr && j < from.size(); ++j) {
    states[static_cast<std::size_t>(sample) * from.size() + j] = static_cast<T>(from[j]);
  }
}

/// dh = weight · d for a recurrent weight [units, width].
template <typename T>
void back_through(const T* weight, std::span<const double> d, std::span<double> dh,
                  Rounding rounding) {
  for (double& sum : dh) {
    sum = 0;
    for (const double change : d) {
      sum += (rounding == Rounding::none ? change : operand(static_cast<T>(change), rounding)) *
             operand(*weight++, rounding);
    }
  }
}

/// The gradient of the recurrent weight: previous states (from y, and the optional h0) times d.
struct RecurrentWeightGrad {
  autodiff::ValueId y, d;
  autodiff::ValueId inner = {};  // gru: d of the last third of the columns
  autodiff::ValueId h0 = {};     // invalid: zeros
  bool reverse = false;
};
[[nodiscard]] autodiff::ValueId add_recurrent_weight_grad(autodiff::Graph& graph,
                                                          const RecurrentWeightGrad& product);

}  // namespace dlt::ops
