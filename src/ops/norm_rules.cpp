// SPDX-License-Identifier: Apache-2.0
#include "ops/norm_rules.h"

#include "base/text.h"

namespace dlt::ops {

void expect_vector(std::string_view op, std::string_view what, const tensor::TensorType& type,
                   std::int64_t size, DType dtype) {
  const tensor::TensorType wanted{{size}, dtype};
  if (type == wanted) return;
  rule_broken(op, cat(what, " is ", type.text(), "; want ", wanted.text()));
}

void expect_samples(std::string_view op, const tensor::TensorType& x) {
  expect_float(op, "x", x);
  if (x.shape.rank() >= 2 && x.shape.numel() > 0) return;
  rule_broken(op, cat("x is ", x.text(), "; want [B, ..., C] with no size 0"));
}

void check_eps(std::string_view op, const tensor::Attrs& attrs) {
  expect_number(op, "eps", eps_of(attrs), eps_of(attrs) > 0, "eps > 0");
}

}  // namespace dlt::ops
