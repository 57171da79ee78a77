// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <map>
#include <span>
#include <string>

#include "tensor/shape.h"
#include "tensor/storage.h"

namespace dlt::tensor {

/// A dense row-major tensor value; copies share the memory.
class Tensor {
 public:
  Tensor() = default;
  /// Zeroed.
  Tensor(Shape shape, DType dtype);
  Tensor(TensorType type, Storage storage, std::int64_t offset_bytes);
  [[nodiscard]] const TensorType& type() const { return type_; }
  [[nodiscard]] const Shape& shape() const { return type_.shape; }
  [[nodiscard]] DType dtype() const { return type_.dtype; }
  [[nodiscard]] std::byte* bytes() const { return storage_.data() + offset_bytes_; }
  [[nodiscard]] std::span<const std::byte> byte_span() const {
    return {bytes(), static_cast<std::size_t>(type_.bytes())};
  }
  /// The elements; T must be the C++ type of dtype().
  template <typename T>
  [[nodiscard]] std::span<T> as() const {
    return {reinterpret_cast<T*>(bytes()), static_cast<std::size_t>(type_.shape.numel())};
  }

 private:
  TensorType type_;
  Storage storage_;
  std::int64_t offset_bytes_ = 0;
};

/// Name -> tensor in name order: what a checkpoint holds.
using StateDict = std::map<std::string, Tensor>;

}  // namespace dlt::tensor
