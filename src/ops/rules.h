// SPDX-License-Identifier: Apache-2.0
// Shape rules that several ops share. A rule that does not hold is Error(Exit::config) with both
// shapes and what was wanted; a wrong number of inputs is a bug.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/kernel.h"

namespace dlt::ops {

using Types = std::span<const tensor::TensorType>;
using TypeList = std::vector<tensor::TensorType>;

/// What an attribute that says yes or no is set to.
inline constexpr std::int64_t kYes = 1;

/// The name of an op as a template argument, so that a shared rule can say whose it is.
template <std::size_t N>
struct OpName {
  char text[N] = {};
  constexpr OpName(const char (&name)[N]) { std::copy(name, name + N, text); }  // NOLINT
  [[nodiscard]] constexpr std::string_view view() const { return {text, N - 1}; }
};

[[noreturn]] void rule_broken(std::string_view op, std::string_view message);
void expect_inputs(std::string_view op, Types inputs, std::size_t count);
/// "relu: x is i32[3]; want a float type"
void expect_float(std::string_view op, std::string_view what, const tensor::TensorType& type);
/// "linear: x is f32[3]; want 2 sizes, [m, k]"
void expect_rank(std::string_view op, std::string_view what, const tensor::TensorType& type,
                 std::string_view sizes);
/// "add: a is f32[3], b is f32[4]; want the same shape and dtype"
void expect_same(std::string_view op, std::string_view a, const tensor::TensorType& first,
                 std::string_view b, const tensor::TensorType& second);
/// "dropout: rate is 1.5; want 0 <= rate < 1"
void expect_number(std::string_view op, std::string_view name, double value, bool holds,
                   std::string_view wanted);
/// Attribute precision of a product: bf16, bf16_emulated, f32, fp16 or tf32.
void expect_precision(std::string_view op, const tensor::Attrs& attrs);
void expect_label_smoothing(std::string_view op, const tensor::Attrs& attrs);

/// One float input, an output like it.
template <OpName kName>
TypeList infer_unary(Types inputs, const tensor::Attrs&) {
  expect_inputs(kName.view(), inputs, 1);
  expect_float(kName.view(), "x", inputs[0]);
  return {inputs[0]};
}

/// Two float inputs of one type, an output like them.
template <OpName kName>
TypeList infer_binary(Types inputs, const tensor::Attrs&) {
  expect_inputs(kName.view(), inputs, 2);
  expect_float(kName.view(), "a", inputs[0]);
  expect_same(kName.view(), "a", inputs[0], "b", inputs[1]);
  return {inputs[0]};
}

/// A value of the forward pass and the gradient of the output, of one type.
template <OpName kName>
TypeList infer_grad(Types inputs, const tensor::Attrs&) {
  expect_inputs(kName.view(), inputs, 2);
  expect_float(kName.view(), "input 0", inputs[0]);
  expect_same(kName.view(), "input 0", inputs[0], "dy", inputs[1]);
  return {inputs[0]};
}

}  // namespace dlt::ops
