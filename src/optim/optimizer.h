// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/node.h"
#include "tensor/backend.h"
#include "tensor/flat_layout.h"
#include "tensor/tensor.h"

namespace dlt::optim {

/// What an update needs beside the buffers. grad_scale multiplies every gradient first (one over
/// the step's sum of sample weights, times the clipping factor).
struct UpdateArgs {
  float* params = nullptr;  // flat buffers, whole
  const float* grads = nullptr;
  std::int64_t begin = 0;  // range to update, multiples of 16 elements
  std::int64_t end = 0;
  std::int64_t step = 0;  // counted from 0
  double learning_rate = 0;
  double grad_scale = 1;
};

/// An optimiser over the flat buffers: one fused pass over a range, any range on any thread, since
/// it is element-wise. Its state is a few flat buffers of the parameters' size, named by
/// state_names().
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  [[nodiscard]] virtual std::vector<std::string> state_names() const = 0;
  /// Base learning rate, before the schedule.
  [[nodiscard]] virtual double learning_rate() const = 0;
  /// states[i] is the flat buffer of state_names()[i], zeros before step 0. Allocates nothing.
  virtual void update(const UpdateArgs& args, const std::vector<float*>& states) const = 0;
};

/// Reads `optimizer:` {name, learning_rate, ...}. Legal keys are those of the named optimiser:
/// sgd {learning_rate 0.01, momentum 0, nesterov false, weight_decay 0};
/// adam, adamw {learning_rate 0.001, betas [0.9, 0.999], eps 1e-8, weight_decay 0 (adamw 0.01)}.
/// A plain word ("optimizer: adam") is the name alone. Returns null after recording mistakes.
/// parent is where a missing key is reported; backend is used during the call only.
[[nodiscard]] std::unique_ptr<Optimizer> make_optimizer(const config::Node* node,
                                                        config::Diagnostics& diagnostics,
                                                        const tensor::Backend& backend,
                                                        const config::Mark& parent = {});
[[nodiscard]] std::vector<std::string> optimizer_names();

/// Flat state buffers <-> named tensors "m.dense_1.weight" of a checkpoint. The tensors of
/// unflatten() lie in flat and are valid as long as it is.
[[nodiscard]] tensor::StateDict unflatten(const tensor::FlatLayout& layout,
                                          const std::string& prefix, float* flat);
/// errors  Error(Exit::data) naming the first tensor that is missing, unexpected, or of another
/// shape or dtype;
///         (flat is then as it was). prefix "" is for parameters, where no other tensor may be;
///         another prefix looks at the tensors that begin with "prefix." alone
void flatten(const tensor::FlatLayout& layout, const std::string& prefix,
             const tensor::StateDict& state, float* flat);

/// Sum of squares of flat[begin, end) for one parameter at a time, in f64, in an order fixed by the
/// layout alone; the square root of the whole is the global norm.
[[nodiscard]] double sum_of_squares(const tensor::FlatLayout& layout, const float* flat);

}  // namespace dlt::optim
