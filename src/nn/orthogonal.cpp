// SPDX-License-Identifier: Apache-2.0
#include "nn/orthogonal.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <vector>

namespace dlt::nn {
namespace {

/// In a fixed order, several sums side by side.
double dot(std::span<const double> a, std::span<const double> b) {
  constexpr std::size_t kSums = 8;
  std::array<double, kSums> sums{};
  std::size_t i = 0;
  for (; i + kSums <= a.size(); i += kSums) {
    for (std::size_t s = 0; s < kSums; ++s) sums[s] += a[i + s] * b[i + s];
  }
  for (; i < a.size(); ++i) sums[0] += a[i] * b[i];
  return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

}  // namespace

void fill_orthogonal(const rng::Key& key, std::int64_t rows, std::int64_t cols, float* out) {
  const auto count = static_cast<std::size_t>(std::min(rows, cols));
  const auto size = static_cast<std::size_t>(std::max(rows, cols));
  std::vector<double> all(count * size);
  for (std::size_t i = 0; i < all.size(); ++i) all[i] = static_cast<double>(rng::normal(key, i));
  const auto vector = [&](std::size_t i) { return std::span(all).subspan(i * size, size); };
  for (std::size_t i = 0; i < count; ++i) {
    const std::span<double> current = vector(i);
    const double length = std::sqrt(dot(current, current));
    for (double& x : current) x /= length;
    for (std::size_t later = i + 1; later < count; ++later) {
      const std::span<double> other = vector(later);
      const double share = dot(current, other);
      for (std::size_t k = 0; k < size; ++k) other[k] -= share * current[k];
    }
  }
  const bool by_rows = rows <= cols;
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t k = 0; k < size; ++k) {
      out[by_rows ? i * size + k : k * count + i] = static_cast<float>(all[i * size + k]);
    }
  }
}

}  // namespace dlt::nn
