// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/low_rank.h"

#include <algorithm>
#include <array>
#include <cmath>

#include <immintrin.h>

namespace dlt::ddp {
namespace {

constexpr std::int64_t kLanes = 8;
/// A column whose length falls to this share of what it was is rounding and nothing else.
constexpr double kRounding = 1e-6;

float sum_of_lanes(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

/// Products of a row with kColumns columns of q at once, so that the row is loaded once.
constexpr std::int64_t kColumns = 4;

template <std::int64_t kCount>
void dots(const float* row, const float* q, std::int64_t cols, std::array<float, kCount>& out) {
  __m256 sums[kCount];
#pragma GCC unroll 4
  for (std::int64_t k = 0; k < kCount; ++k) sums[k] = _mm256_setzero_ps();
  std::int64_t i = 0;
  for (; i + kLanes <= cols; i += kLanes) {
    const __m256 m = _mm256_loadu_ps(row + i);
#pragma GCC unroll 4
    for (std::size_t k = 0; k < kCount; ++k) {
      const float* column = q + static_cast<std::int64_t>(k) * cols;
      sums[k] = _mm256_fmadd_ps(m, _mm256_loadu_ps(column + i), sums[k]);
    }
  }
#pragma GCC unroll 4
  for (std::size_t k = 0; k < kCount; ++k) {
    float tail = 0;
    for (std::int64_t j = i; j < cols; ++j) {
      tail = std::fma(row[j], q[static_cast<std::int64_t>(k) * cols + j], tail);
    }
    out[k] = sum_of_lanes(sums[k]) + tail;
  }
}

double dot_f64(const float* a, const float* b, std::int64_t count) {
  std::array<double, kLanes> lanes{};
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    for (std::int64_t j = 0; j < kLanes; ++j) {
      lanes[static_cast<std::size_t>(j)] +=
          static_cast<double>(a[i + j]) * static_cast<double>(b[i + j]);
    }
  }
  double sum = 0;
  for (const double lane : lanes) sum += lane;
  for (; i < count; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

/// out[i] += factor * x[i]
void add_multiple(float* out, float factor, const float* x, std::int64_t count) {
  const __m256 f = _mm256_set1_ps(factor);
  std::int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    _mm256_storeu_ps(out + i, _mm256_fmadd_ps(f, _mm256_loadu_ps(x + i), _mm256_loadu_ps(out + i)));
  }
  for (; i < count; ++i) out[i] = std::fma(factor, x[i], out[i]);
}

/// Rows that are added to a column of q at once, so that it is loaded and stored once.
constexpr std::int64_t kRows = 4;

/// out += factors[0] * row 0 + ... of kRows rows, in that order.
void add_rows(float* out, const float* factors, const float* rows, std::int64_t cols) {
  std::int64_t j = 0;
  for (; j + kLanes <= cols; j += kLanes) {
    __m256 sum = _mm256_loadu_ps(out + j);
#pragma GCC unroll 4
    for (std::int64_t r = 0; r < kRows; ++r) {
      sum = _mm256_fmadd_ps(_mm256_set1_ps(factors[r]), _mm256_loadu_ps(rows + r * cols + j), sum);
    }
    _mm256_storeu_ps(out + j, sum);
  }
  for (; j < cols; ++j) {
    for (std::int64_t r = 0; r < kRows; ++r)
      out[j] = std::fma(factors[r], rows[r * cols + j], out[j]);
  }
}

void scale(float* x, double factor, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) {
    x[i] = static_cast<float>(static_cast<double>(x[i]) * factor);
  }
}

/// Columns of p that are multiplied with a row at once.
constexpr std::int64_t kMost_rank = 256;

}  // namespace

void project(const float* m, const float* q, const MatrixSize& size, float* p) {
  std::array<float, kColumns> some{};
  std::array<float, 1> one{};
  for (std::int64_t i = 0; i < size.rows; ++i) {
    const float* row = m + i * size.cols;
    std::int64_t k = 0;
    for (; k + kColumns <= size.rank; k += kColumns) {
      dots<kColumns>(row, q + k * size.cols, size.cols, some);
      for (std::int64_t c = 0; c < kColumns; ++c) {
        p[(k + c) * size.rows + i] = some[static_cast<std::size_t>(c)];
      }
    }
    for (; k < size.rank; ++k) {
      dots<1>(row, q + k * size.cols, size.cols, one);
      p[k * size.rows + i] = one[0];
    }
  }
}

void project_back(const float* m, const float* p, const MatrixSize& size, float* q) {
  std::fill_n(q, size.cols * size.rank, 0.0F);
  std::int64_t i = 0;
  for (; i + kRows <= size.rows; i += kRows) {
    for (std::int64_t k = 0; k < size.rank; ++k) {
      add_rows(q + k * size.cols, p + k * size.rows + i, m + i * size.cols, size.cols);
    }
  }
  for (; i < size.rows; ++i) {
    for (std::int64_t k = 0; k < size.rank; ++k) {
      add_multiple(q + k * size.cols, p[k * size.rows + i], m + i * size.cols, size.cols);
    }
  }
}

bool orthonormalise(float* p, const MatrixSize& size) {
  const std::int64_t n = size.rows;
  for (std::int64_t k = 0; k < size.rank; ++k) {
    float* column = p + k * n;
    const double before = dot_f64(column, column, n);
    if (!std::isfinite(before)) return false;
    for (std::int64_t j = 0; j < k; ++j) {
      add_multiple(column, static_cast<float>(-dot_f64(p + j * n, column, n)), p + j * n, n);
    }
    const double after = dot_f64(column, column, n);
    if (after <= before * (kRounding * kRounding)) {
      std::fill_n(column, n, 0.0F);
    } else {
      scale(column, 1 / std::sqrt(after), n);
    }
  }
  return true;
}

void normalise(float* q, const float* fallback, const MatrixSize& size) {
  for (std::int64_t k = 0; k < size.rank; ++k) {
    float* column = q + k * size.cols;
    const double square = dot_f64(column, column, size.cols);
    if (square > 0) {
      scale(column, 1 / std::sqrt(square), size.cols);
    } else {
      std::copy_n(fallback + k * size.cols, size.cols, column);
    }
  }
}

void rebuild(const Rebuild& args, const MatrixSize& size) {
  std::array<float, kMost_rank> p{};
  const std::int64_t cols = size.cols;
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t k = 0; k < size.rank; ++k) {
      p[static_cast<std::size_t>(k)] = args.p[k * size.rows + i];
    }
    const std::int64_t row = i * cols;
    std::int64_t j = 0;
    for (; j + kLanes <= cols; j += kLanes) {
      __m256 sum = _mm256_setzero_ps(), own = sum;
      for (std::int64_t k = 0; k < size.rank; ++k) {
        const __m256 f = _mm256_set1_ps(p[static_cast<std::size_t>(k)]);
        sum = _mm256_fmadd_ps(f, _mm256_loadu_ps(args.q_sum + k * cols + j), sum);
        own = _mm256_fmadd_ps(f, _mm256_loadu_ps(args.q_own + k * cols + j), own);
      }
      const __m256 rest = _mm256_sub_ps(_mm256_loadu_ps(args.m + row + j), own);
      _mm256_storeu_ps(args.rest + row + j, rest);
      _mm256_storeu_ps(args.sum + row + j, sum);
    }
    for (; j < cols; ++j) {
      float sum = 0, own = 0;
      for (std::int64_t k = 0; k < size.rank; ++k) {
        const float f = p[static_cast<std::size_t>(k)];
        sum = std::fma(f, args.q_sum[k * cols + j], sum);
        own = std::fma(f, args.q_own[k * cols + j], own);
      }
      args.rest[row + j] = args.m[row + j] - own;
      args.sum[row + j] = sum;
    }
  }
}

}  // namespace dlt::ddp
