// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/kernel.h"

namespace dlt::autodiff {

class Graph;
struct Node;

/// Index of a value in its graph.
struct ValueId {
  std::int32_t index = -1;
  [[nodiscard]] bool valid() const { return index >= 0; }
  friend auto operator<=>(const ValueId&, const ValueId&) = default;
};

/// Output types from input types; throws Error(Exit::config) with both shapes and the rule if they
/// do not fit: "matmul: inner sizes differ: [32, 128] x [64, 10]; want lhs.shape[1] ==
/// rhs.shape[0]".
using Infer = std::vector<tensor::TensorType> (*)(std::span<const tensor::TensorType> inputs,
                                                  const tensor::Attrs& attrs);

/// Appends the nodes that compute the gradients of the inputs and returns their ids, one for each
/// input (invalid: no gradient, as for labels). grads holds the gradient of each output (invalid:
/// zero).
using Vjp = std::vector<ValueId> (*)(Graph& graph, const Node& node,
                                     std::span<const ValueId> grads);

using Flops = std::int64_t (*)(std::span<const tensor::TensorType> inputs,
                               std::span<const tensor::TensorType> outputs,
                               const tensor::Attrs& attrs);

struct InPlacePair {
  int output = -1, input = -1;
};

/// What element i of an op's only output depends on.
enum class Pointwise : std::uint8_t {
  no,       // on more
  each,     // on element i of the inputs (and, in dropout, on i)
  repeats,  // the same, but input 1 is a vector along the last axis
};

/// An op: a shape rule, a host kernel for f32 and f64 (the test oracle, and what any device without
/// a kernel of its own falls back to) and a derivative.
struct OpDef {
  std::string_view name;
  Infer infer = nullptr;
  tensor::HostKernelFactory host = nullptr;
  Vjp vjp = nullptr;      // null: not differentiable
  Flops flops = nullptr;  // null: one per output element
  /// Its operands are rounded as attribute precision says: f32, bf16, fp16, ... (docs/ops.md; see
  /// set_precision in passes.h). The host kernel does so in f32 and leaves f64 alone.
  bool product = false;
  bool in_place = false;  // output 0 may use the memory of input 0 (same byte size)
  /// ... and any output that of any input of its size, each once, even one that is given twice.
  bool in_place_all = false;
  /// ... and this output the memory of this input, where both are there.
  InPlacePair also_in_place = {};
  /// Output 0 is the sum of input 0 over all leaves of the step, which whoever runs the leaves puts
  /// there (Executor::sync_view); the kernel only copies, which is the sum of a single leaf.
  bool sync = false;
  bool alias = false;  // output 0 IS input 0's memory under another shape; nothing runs (reshape)
  Pointwise pointwise = Pointwise::no;  // what fuse_pointwise may put into one kernel
  bool random = false;                  // the result depends on seed, epoch and samples of the run
};

/// The ops by name.
class OpTable {
 public:
  explicit OpTable(std::vector<OpDef> ops);
  [[nodiscard]] const OpDef* find(std::string_view name) const;
  [[nodiscard]] std::span<const OpDef> all() const { return ops_; }

 private:
  std::vector<OpDef> ops_;  // sorted by name
};

}  // namespace dlt::autodiff
