// SPDX-License-Identifier: Apache-2.0
// What the normalisations share.
#pragma once

#include <cstdint>
#include <string_view>

#include "ops/rules.h"

namespace dlt::ops {

/// "batch_norm: gamma is f32[4]; want f32[3]"
void expect_vector(std::string_view op, std::string_view what, const tensor::TensorType& type,
                   std::int64_t size, DType dtype);

/// x is a float tensor of samples [B, ..., C], none of its sizes 0.
void expect_samples(std::string_view op, const tensor::TensorType& x);

inline double eps_of(const tensor::Attrs& attrs) { return attrs.number("eps", 1e-5); }
void check_eps(std::string_view op, const tensor::Attrs& attrs);

}  // namespace dlt::ops
