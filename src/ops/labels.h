// SPDX-License-Identifier: Apache-2.0
// Class labels as the ops of losses have them: i32, one for each row of n predictions.
#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "ops/rules.h"
#include "tensor/kernel.h"

namespace dlt::ops {

/// The attribute ignore_index: a label that does not count; without it every label does.
inline std::int64_t ignored_label(const tensor::Attrs& attrs) {
  return attrs.integer("ignore_index", std::numeric_limits<std::int64_t>::min());
}

/// Predictions [B, ..., n] as rows of n: B samples of `per_sample` rows each.
struct LabelRows {
  std::int64_t samples = 0, per_sample = 0, n = 0;
  explicit LabelRows(const tensor::Shape& predictions);
  [[nodiscard]] std::int64_t rows() const { return samples * per_sample; }
};

/// predictions [B, ..., n] are floats with n >= 1.
void expect_label_rows(std::string_view op, std::string_view what, const tensor::TensorType& x);
/// labels are i32 [B, ...] for predictions x [B, ..., n].
void expect_labels(std::string_view op, std::string_view what, const tensor::TensorType& x,
                   const tensor::TensorType& labels);
/// class_weights: none, or n numbers >= 0.
void expect_class_weights(std::string_view op, std::int64_t n, const tensor::Attrs& attrs);
/// `type` is one number a sample ([B]) of x's dtype.
void expect_per_sample(std::string_view op, const tensor::TensorType& x, std::string_view what,
                       const tensor::TensorType& type);
/// [B, ...] of predictions [B, ..., n].
[[nodiscard]] tensor::Shape shape_of_labels(const tensor::Shape& predictions);

/// Labels of one run. errors of check()  Exit::data if a label that counts is out of range
class Labels {
 public:
  Labels(const tensor::View& labels, const LabelRows& rows, const tensor::Attrs& attrs);
  [[nodiscard]] bool counts(std::int64_t row) const { return labels_[row] != ignored_; }
  [[nodiscard]] std::int32_t at(std::int64_t row) const { return labels_[row]; }
  void check(std::int64_t row) const;
  /// 1 / the number of the sample's labels that count; 0 if none does.
  [[nodiscard]] double share(std::int64_t sample) const;

 private:
  LabelRows rows_;
  const std::int32_t* labels_;
  std::int64_t ignored_;
};

}  // namespace dlt::ops
