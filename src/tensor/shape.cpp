// SPDX-License-Identifier: Apache-2.0
#include "tensor/shape.h"

#include <algorithm>
#include <limits>

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {
namespace {

std::string dims_text(std::span<const std::int64_t> dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i > 0) text += ", ";
    text += std::to_string(dims[i]);
  }
  return text + "]";
}

// A zero counts as one, so that no partial product (rows, sizes behind the first) overflows either;
// the limit leaves room for eight bytes an element.
void check_dims(std::span<const std::int64_t> dims) {
  if (dims.size() > static_cast<std::size_t>(Shape::kMaxRank)) {
    throw Error(Exit::config, cat("shape ", printable(dims_text(dims)), ": ", dims.size(),
                                  " sizes, want at most ", Shape::kMaxRank));
  }
  std::int64_t room = std::numeric_limits<std::int64_t>::max() / 8;
  for (const std::int64_t dim : dims) {
    if (dim < 0) {
      throw Error(Exit::config, cat("shape ", dims_text(dims), ": size ", dim, " is negative"));
    }
    room /= std::max<std::int64_t>(dim, 1);
    if (room == 0) {
      throw Error(Exit::config, cat("shape ", dims_text(dims), ": too many elements"));
    }
  }
}

std::int64_t product(std::span<const std::int64_t> dims) {
  std::int64_t result = 1;
  for (const std::int64_t dim : dims) result *= dim;
  return result;
}

}  // namespace

Shape::Shape(std::initializer_list<std::int64_t> dims)
    : Shape(std::span<const std::int64_t>(dims.begin(), dims.size())) {}

Shape::Shape(std::span<const std::int64_t> dims) : rank_(static_cast<int>(dims.size())) {
  check_dims(dims);
  std::copy(dims.begin(), dims.end(), dims_.begin());
}

std::int64_t Shape::dim(int axis) const {
  const int index = axis < 0 ? axis + rank_ : axis;
  DLT_CHECK(index >= 0 && index < rank_, cat("axis ", axis, " of ", text()));
  return dims_[static_cast<std::size_t>(index)];
}

std::int64_t Shape::numel() const { return product(dims()); }

std::int64_t Shape::rows() const {
  return rank_ == 0 ? 1 : product(dims().first(static_cast<std::size_t>(rank_ - 1)));
}

Shape Shape::with_front(std::int64_t size) const {
  std::array<std::int64_t, kMaxRank + 1> sizes{};
  sizes[0] = size;
  std::copy(dims().begin(), dims().end(), sizes.begin() + 1);
  return Shape(std::span<const std::int64_t>(sizes.data(), static_cast<std::size_t>(rank_ + 1)));
}

Shape Shape::without_front() const {
  DLT_CHECK(rank_ > 0, "a scalar has no leading size");
  return Shape(dims().subspan(1));
}

std::string Shape::text() const { return dims_text(dims()); }

std::string TensorType::text() const { return std::string(name(dtype)) + shape.text(); }

}  // namespace dlt::tensor
