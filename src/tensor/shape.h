// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "base/dtype.h"

namespace dlt::tensor {

/// Sizes of a dense row-major tensor, at most eight of them; rank 0 is a scalar.
/// errors  Exit::config if there are more than eight, one is negative, or eight bytes an element do
///         not fit 63 bits
class Shape {
 public:
  static constexpr int kMaxRank = 8;
  Shape() = default;
  Shape(std::initializer_list<std::int64_t> dims);
  explicit Shape(std::span<const std::int64_t> dims);
  [[nodiscard]] int rank() const { return rank_; }
  [[nodiscard]] std::int64_t operator[](int axis) const {
    return dims_[static_cast<std::size_t>(axis)];
  }
  /// Negative axes count from the end.
  [[nodiscard]] std::int64_t dim(int axis) const;
  [[nodiscard]] std::span<const std::int64_t> dims() const {
    return {dims_.data(), static_cast<std::size_t>(rank_)};
  }
  [[nodiscard]] std::int64_t numel() const;
  /// Product of all sizes but the last.
  [[nodiscard]] std::int64_t rows() const;
  [[nodiscard]] std::int64_t last() const {
    return rank_ == 0 ? 1 : dims_[static_cast<std::size_t>(rank_ - 1)];
  }
  /// This shape behind one more leading size.
  [[nodiscard]] Shape with_front(std::int64_t size) const;
  [[nodiscard]] Shape without_front() const;
  /// "[32, 128]"
  [[nodiscard]] std::string text() const;
  friend bool operator==(const Shape&, const Shape&) = default;

 private:
  std::array<std::int64_t, kMaxRank> dims_{};
  int rank_ = 0;
};

/// What is known of a value before it exists.
struct TensorType {
  Shape shape;
  DType dtype = DType::f32;
  [[nodiscard]] std::int64_t bytes() const {
    return shape.numel() * static_cast<std::int64_t>(size_bytes(dtype));
  }
  /// "f32[32, 128]"
  [[nodiscard]] std::string text() const;
  friend bool operator==(const TensorType&, const TensorType&) = default;
};

}  // namespace dlt::tensor
