// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "base/rng.h"

namespace dlt::nn {

/// A matrix [rows, cols] whose rows (columns, if there are fewer of them) are orthonormal: normal
/// numbers of the key's stream, made orthogonal one after the other in f64.
/// source  Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning in deep linear
///         neural networks"; modified Gram-Schmidt gives Q of the QR decomposition with a positive
///         diagonal of R, so it is uniform among all such matrices
void fill_orthogonal(const rng::Key& key, std::int64_t rows, std::int64_t cols, float* out);

}  // namespace dlt::nn
