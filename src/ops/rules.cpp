// SPDX-License-Identifier: Apache-2.0
#include "ops/rules.h"

#include "base/error.h"
#include "base/text.h"

namespace dlt::ops {

void rule_broken(std::string_view op, std::string_view message) {
  throw Error(Exit::config, cat(op, ": ", message));
}

void expect_inputs(std::string_view op, Types inputs, std::size_t count) {
  DLT_CHECK(inputs.size() == count, cat(op, ": ", inputs.size(), " inputs, want ", count));
}

void expect_float(std::string_view op, std::string_view what, const tensor::TensorType& type) {
  const DType dtype = type.dtype;
  if (dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16) {
    return;
  }
  rule_broken(op, cat(what, " is ", type.text(), "; want a float type"));
}

void expect_rank(std::string_view op, std::string_view what, const tensor::TensorType& type,
                 std::string_view sizes) {
  const auto rank = 1 + std::count(sizes.begin(), sizes.end(), ',');
  if (type.shape.rank() == rank) return;
  rule_broken(op, cat(what, " is ", type.text(), "; want ", rank,
                      rank == 1 ? " size, " : " sizes, ", sizes));
}

void expect_same(std::string_view op, std::string_view a, const tensor::TensorType& first,
                 std::string_view b, const tensor::TensorType& second) {
  if (first == second) return;
  rule_broken(op, cat(a, " is ", first.text(), ", ", b, " is ", second.text(),
                      "; want the same shape and dtype"));
}

void expect_number(std::string_view op, std::string_view name, double value, bool holds,
                   std::string_view wanted) {
  if (!holds) rule_broken(op, cat(name, " is ", value, "; want ", wanted));
}

void expect_precision(std::string_view op, const tensor::Attrs& attrs) {
  const std::string word = attrs.word("precision", "f32");
  for (const std::string_view known : {"bf16", "bf16_emulated", "f32", "fp16", "tf32"}) {
    if (word == known) return;
  }
  rule_broken(
      op, cat("precision is ", printable(word), "; want bf16, bf16_emulated, f32, fp16 or tf32"));
}

void expect_label_smoothing(std::string_view op, const tensor::Attrs& attrs) {
  const double smoothing = attrs.number("label_smoothing");
  expect_number(op, "label_smoothing", smoothing, smoothing >= 0 && smoothing <= 1,
                "0 <= label_smoothing <= 1");
}

}  // namespace dlt::ops
