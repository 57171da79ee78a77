// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/diff.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/text.h"

namespace dlt::checkpoint {
namespace {

using tensor::Tensor;

template <typename T>
double number_at(const std::byte* bytes, std::size_t i) {
  T value;
  std::memcpy(&value, bytes + i * sizeof(T), sizeof(T));
  return static_cast<double>(value);
}

double element(const Tensor& tensor, std::size_t i) {
  const std::byte* bytes = tensor.bytes();
  switch (tensor.dtype()) {
    case DType::f32:
      return number_at<float>(bytes, i);
    case DType::f64:
      return number_at<double>(bytes, i);
    case DType::f16:
      return f16_to_f32(tensor.as<std::uint16_t>()[i]);
    case DType::bf16:
      return bf16_to_f32(tensor.as<std::uint16_t>()[i]);
    case DType::i8:
      return number_at<std::int8_t>(bytes, i);
    case DType::u8:
    case DType::boolean:
      return number_at<std::uint8_t>(bytes, i);
    case DType::i16:
      return number_at<std::int16_t>(bytes, i);
    case DType::u16:
      return number_at<std::uint16_t>(bytes, i);
    case DType::i32:
      return number_at<std::int32_t>(bytes, i);
    case DType::u32:
      return number_at<std::uint32_t>(bytes, i);
    case DType::i64:
      return number_at<std::int64_t>(bytes, i);
    case DType::u64:
      return number_at<std::uint64_t>(bytes, i);
  }
  return 0;
}

std::vector<std::int64_t> place_of(std::int64_t index, const tensor::Shape& shape) {
  std::vector<std::int64_t> out(static_cast<std::size_t>(shape.rank()));
  for (int axis = shape.rank(); axis-- > 0;) {
    out[static_cast<std::size_t>(axis)] = index % shape[axis];
    index /= shape[axis];
  }
  return out;
}

/// Widens the two sizes by one pair of elements.
void note(double a, double b, TensorDifference& out) {
  double absolute = std::abs(a - b), relative = 0;
  if (std::isnan(a) != std::isnan(b) || std::isinf(a) != std::isinf(b)) {
    absolute = relative = std::numeric_limits<double>::infinity();
  } else if (std::isnan(absolute)) {
    absolute = a == b || std::isnan(a) ? 0 : std::numeric_limits<double>::infinity();
    relative = absolute;
  } else if (absolute > 0) {
    relative = absolute / std::max(std::abs(a), std::abs(b));
  }
  out.max_absolute = std::max(out.max_absolute, absolute);
  out.max_relative = std::max(out.max_relative, relative);
}

TensorDifference compare(const std::string& name, const Tensor& a, const Tensor& b) {
  TensorDifference out{.name = name, .types = {}, .first = {}};
  if (a.type() != b.type()) {
    out.types = cat(a.type().text(), " and ", b.type().text());
    return out;
  }
  out.num_elements = a.shape().numel();
  const std::size_t size = size_bytes(a.dtype());
  for (std::size_t i = 0; i < static_cast<std::size_t>(out.num_elements); ++i) {
    if (std::memcmp(a.bytes() + i * size, b.bytes() + i * size, size) == 0) continue;
    if (out.num_different++ == 0) out.first = place_of(static_cast<std::int64_t>(i), a.shape());
    note(element(a, i), element(b, i), out);
  }
  return out;
}

}  // namespace

std::vector<TensorDifference> differences(const tensor::StateDict& first,
                                          const tensor::StateDict& second) {
  std::vector<TensorDifference> out;
  const auto only = [&](const std::string& name, const char* where) {
    out.push_back({.name = name, .types = cat("only in the ", where), .first = {}});
  };
  auto a = first.begin();
  auto b = second.begin();
  while (a != first.end() || b != second.end()) {
    if (b == second.end() || (a != first.end() && a->first < b->first)) {
      only((a++)->first, "first");
    } else if (a == first.end() || b->first < a->first) {
      only((b++)->first, "second");
    } else {
      TensorDifference one = compare(a->first, a->second, b->second);
      if (!one.types.empty() || one.num_different > 0) out.push_back(std::move(one));
      ++a;
      ++b;
    }
  }
  return out;
}

std::string describe(const TensorDifference& difference) {
  if (!difference.types.empty()) return cat(difference.name, ": ", difference.types);
  std::vector<std::string> place;
  for (const std::int64_t index : difference.first) place.push_back(std::to_string(index));
  return cat(difference.name, ": ", difference.num_different, " of ", difference.num_elements,
             " elements differ, first at [", join(place), "]; by at most ", difference.max_absolute,
             " (relative ", difference.max_relative, ")");
}

}  // namespace dlt::checkpoint
