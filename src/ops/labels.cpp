// SPDX-License-Identifier: Apache-2.0
#include "ops/labels.h"

#include "base/error.h"
#include "base/text.h"

namespace dlt::ops {

using tensor::Shape;
using tensor::TensorType;

LabelRows::LabelRows(const Shape& predictions) : samples(predictions[0]), n(predictions.last()) {
  per_sample = 1;
  for (int i = 1; i + 1 < predictions.rank(); ++i) per_sample *= predictions[i];
}

Shape shape_of_labels(const Shape& predictions) {
  return Shape(predictions.dims().first(predictions.dims().size() - 1));
}

void expect_label_rows(std::string_view op, std::string_view what, const TensorType& x) {
  expect_float(op, what, x);
  if (x.shape.rank() < 2 || x.shape.last() == 0) {
    rule_broken(op, cat(what, " is ", x.text(), "; want [B, ..., n] with n >= 1"));
  }
}

void expect_labels(std::string_view op, std::string_view what, const TensorType& x,
                   const TensorType& labels) {
  const TensorType wanted{shape_of_labels(x.shape), DType::i32};
  if (labels == wanted) return;
  rule_broken(
      op, cat(what, " is ", x.text(), ", labels are ", labels.text(), "; want ", wanted.text()));
}

void expect_class_weights(std::string_view op, std::int64_t n, const tensor::Attrs& attrs) {
  const std::vector<double> weights = attrs.numbers("class_weights");
  if (!weights.empty() && static_cast<std::int64_t>(weights.size()) != n) {
    rule_broken(op, cat(weights.size(), " class_weights for ", n, " classes; want one for each"));
  }
  for (const double weight : weights) {
    expect_number(op, "a class weight", weight, weight >= 0 && weight < 1e30, "0 or more");
  }
}

void expect_per_sample(std::string_view op, const TensorType& x, std::string_view what,
                       const TensorType& type) {
  const TensorType wanted{{x.shape[0]}, x.dtype};
  if (type == wanted) return;
  rule_broken(
      op, cat("input 0 is ", x.text(), ", ", what, " is ", type.text(), "; want ", wanted.text()));
}

Labels::Labels(const tensor::View& labels, const LabelRows& rows, const tensor::Attrs& attrs)
    : rows_(rows), labels_(labels.as<const std::int32_t>()), ignored_(ignored_label(attrs)) {}

void Labels::check(std::int64_t row) const {
  if (labels_[row] >= 0 && labels_[row] < rows_.n) return;
  const std::int64_t sample = row / rows_.per_sample;
  const std::string place = rows_.per_sample == 1 ? "" : cat(", position ", row % rows_.per_sample);
  throw Error(Exit::data, cat("the label of sample ", sample, " of the leaf", place, " is ",
                              labels_[row], "; want 0 to ", rows_.n - 1));
}

double Labels::share(std::int64_t sample) const {
  std::int64_t count = 0;
  for (std::int64_t i = 0; i < rows_.per_sample; ++i) {
    count += counts(sample * rows_.per_sample + i) ? 1 : 0;
  }
  return count == 0 ? 0.0 : 1.0 / static_cast<double>(count);
}

}  // namespace dlt::ops
