// SPDX-License-Identifier: Apache-2.0
// What ops on images [B, H, W, C] share.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/text.h"
#include "ops/rules.h"

namespace dlt::ops {

inline void expect_image(std::string_view op, std::string_view what,
                         const tensor::TensorType& type) {
  expect_float(op, what, type);
  expect_rank(op, what, type, "[B, H, W, C]");
  if (type.shape.numel() == 0) {
    rule_broken(op, cat(what, " is ", type.text(), "; want no size 0"));
  }
}

/// The attribute `name` as `count` integers of at least `min`.
inline std::vector<std::int64_t> expect_integers(std::string_view op, const tensor::Attrs& attrs,
                                                 const std::string& name, std::size_t count,
                                                 std::int64_t min) {
  const std::vector<std::int64_t> values = attrs.integers(name);
  bool holds = values.size() == count;
  for (const std::int64_t value : values) holds = holds && value >= min && value <= INT32_MAX;
  if (holds) return values;
  std::vector<std::string> words;
  for (const std::int64_t value : values) words.push_back(std::to_string(value));
  rule_broken(op,
              cat(name, " is [", join(words), "]; want ", count, " integers of at least ", min));
}

/// The shape of the input, which the derivative cannot know from its own.
inline tensor::Shape shape_of(const tensor::Attrs& attrs) {
  return tensor::Shape(attrs.integers("shape"));
}
inline void set_shape(tensor::Attrs& attrs, const tensor::Shape& shape) {
  attrs.set("shape", std::vector<std::int64_t>(shape.dims().begin(), shape.dims().end()));
}

}  // namespace dlt::ops
