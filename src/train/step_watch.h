// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "autodiff/executor.h"
#include "tensor/tensor.h"

namespace dlt::train {

/// Told of what the kernels of a trainer's leaves make.
class StepWatch {
 public:
  virtual ~StepWatch() = default;
  /// The watch of a leaf (of all leaves), which one thread at a time runs; null: nobody looks.
  [[nodiscard]] virtual autodiff::CallWatch* leaf(int leaf) = 0;
};

/// The first number of a leaf that is not finite, in the order of its kernels.
struct BadNumber {
  int leaf = 0;
  std::string layer;  // "dense_1"
  std::string op;     // "matmul"
  bool backward = false;
  std::int64_t element = 0;  // of the output
  tensor::Shape shape;       // of the output
  double value = 0;
  /// "layer 'dense_1', op matmul (backward), element [3, 17] of [8, 64] is nan"
  [[nodiscard]] std::string text() const;
};

/// Looks for numbers that are not finite, and keeps what one leaf's kernels made if asked to.
class NumberWatch final : public StepWatch {
 public:
  /// keep_leaf: whose kernels' outputs are kept; -1: of none.
  explicit NumberWatch(int num_leaves, int keep_leaf = -1);
  ~NumberWatch() override;
  [[nodiscard]] autodiff::CallWatch* leaf(int leaf) override;

  /// Forgets what it saw. Off, it looks at nothing. Between steps.
  void begin_step(bool on);
  /// Of the lowest leaf that has one.
  [[nodiscard]] std::optional<BadNumber> first_bad() const;
  /// "activation.0003.dense_1.matmul" and so on, in the order of the kernels; backward ones are
  /// called "backward.0040....".
  [[nodiscard]] const tensor::StateDict& kept() const;

 private:
  struct Leaf;
  std::vector<std::unique_ptr<Leaf>> leaves_;
  tensor::StateDict none_;
  int keep_leaf_;
};

/// Index of the first number of a view that is NaN or infinite, -1 if there is none or it holds no
/// floating-point numbers.
[[nodiscard]] std::int64_t first_nonfinite(const tensor::View& view);

}  // namespace dlt::train
