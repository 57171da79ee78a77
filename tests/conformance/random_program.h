// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "tensor/pointwise_program.h"
#include "tensor/tensor.h"

namespace dlt::test {

/// A program over [batch, rows, n] with 1 to 4 inputs, a vector [n], and 2 to 12 steps.
class RandomProgram {
 public:
  explicit RandomProgram(std::uint64_t seed) : seed_(seed) {
    // Samples below, at and beyond a block of the kernel, and no whole vectors.
    static constexpr std::int64_t kSizes[][3] = {
        {1, 1, 1},    {3, 1, 7},   {2, 1, 64},   {70, 3, 5},   {2, 1, 1024},
        {3, 1, 1025}, {2, 40, 64}, {5, 1, 3000}, {1, 100, 33}, {300, 1, 16},
    };
    for (int i = 0; i < 3; ++i) sizes_.push_back(kSizes[seed % 10][i]);
    const std::int64_t num_inputs = 1 + pick(4);
    for (std::int64_t i = 0; i < num_inputs; ++i) {
      inputs_.push_back(cube());
      values_.push_back(static_cast<int>(i));
    }
    inputs_.push_back({tensor::Shape{sizes_[2]}, DType::f32});
    vector_ = static_cast<int>(num_inputs);
    program_.num_inputs = vector_ + 1;
    const std::int64_t num_steps = 2 + pick(11);
    for (std::int64_t i = 0; i < num_steps; ++i) add_step();
    for (std::int64_t i = 1 + pick(3); i > 0; --i) {
      const int made = program_.num_registers() - 1 -
                       static_cast<int>(pick(static_cast<std::int64_t>(program_.steps.size())));
      const auto& outputs = program_.outputs;
      if (std::find(outputs.begin(), outputs.end(), made) == outputs.end() &&
          program_.steps[static_cast<std::size_t>(made - program_.num_inputs)].op != "reshape") {
        program_.outputs.push_back(made);
      }
    }
    if (program_.outputs.empty()) program_.outputs.push_back(program_.num_registers() - 1);
  }
  [[nodiscard]] const tensor::PointwiseProgram& program() const { return program_; }
  [[nodiscard]] const std::vector<tensor::TensorType>& inputs() const { return inputs_; }

 private:
  [[nodiscard]] tensor::TensorType cube() const {
    return {tensor::Shape{sizes_[0], sizes_[1], sizes_[2]}, DType::f32};
  }
  std::int64_t pick(std::int64_t count) {
    return rng::block({seed_, 2, 0, 0}, counter_++)[0] % static_cast<std::uint32_t>(count);
  }
  /// An input or a step's result of the cube's shape.
  int any() {
    return values_[static_cast<std::size_t>(pick(static_cast<std::int64_t>(values_.size())))];
  }
  void add_step() {
    static constexpr const char* kUnary[] = {"relu", "tanh",   "sigmoid", "silu",  "gelu",
                                             "neg",  "square", "abs",     "scale", "leaky_relu"};
    static constexpr const char* kBinary[] = {"add",          "sub",       "mul",
                                              "sigmoid_grad", "silu_grad", "gelu_grad"};
    tensor::PointwiseStep step;
    const std::int64_t kind = pick(10);
    if (kind < 4) {
      step = {kUnary[pick(10)], {any()}, {}};
      if (step.op == "scale") step.attrs.set("factor", -0.75);
    } else if (kind < 8) {
      step = {kBinary[pick(6)], {any(), any()}, {}};
    } else if (kind == 8) {
      step = {"bias_add", {any(), vector_}, {}};
    } else {
      step = {"dropout", {any()}, {{"rate", 0.3}, {"op", std::int64_t{-12345}}}};
    }
    if (first_step_) {  // first through another shape and back: an alias of an alias
      const std::int64_t numel = cube().shape.numel();
      program_.steps.push_back(
          {"reshape", {step.inputs[0]}, {{"shape", std::vector<std::int64_t>{numel}}}});
      program_.steps.push_back({"reshape", {program_.num_registers() - 1}, {{"shape", sizes_}}});
      step.inputs[0] = program_.num_registers() - 1;
      first_step_ = false;
    }
    program_.steps.push_back(std::move(step));
    values_.push_back(program_.num_registers() - 1);
  }

  std::uint64_t seed_;
  std::uint32_t counter_ = 0;
  bool first_step_ = true;
  int vector_ = 0;
  std::vector<int> values_;  // registers that steps may read
  std::vector<std::int64_t> sizes_;
  std::vector<tensor::TensorType> inputs_;
  tensor::PointwiseProgram program_;
};

}  // namespace dlt::test
