// SPDX-License-Identifier: Apache-2.0
// Several element-wise ops as one: the attribute `program` of the op fused_pointwise.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "tensor/kernel.h"

namespace dlt::tensor {

/// An op of the table on registers: those of the op's inputs come first, then one for each step.
struct PointwiseStep {
  std::string op;
  std::vector<int> inputs;
  Attrs attrs;
};

/// Steps in order; every register is written once. As text, one step a semicolon, attributes behind
/// the registers: "inputs 3; silu %0; mul %3 %1; scale %4 factor=0.5; outputs %5 %3".
struct PointwiseProgram {
  int num_inputs = 0;
  std::vector<PointwiseStep> steps;
  std::vector<int> outputs;  // registers of steps

  [[nodiscard]] int num_registers() const { return num_inputs + static_cast<int>(steps.size()); }
  [[nodiscard]] std::string text() const;
  /// errors  Exit::internal if it is not such a text, or a step reads what is not there yet
  [[nodiscard]] static PointwiseProgram parse(std::string_view text);
};

}  // namespace dlt::tensor
