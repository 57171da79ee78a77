// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/low_rank.h"

#include <cmath>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"

namespace dlt::ddp {
namespace {

std::vector<float> random(std::int64_t count, std::uint64_t op) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng::normal({.op = op}, i);
  return values;
}

struct Case {
  MatrixSize size;
  std::vector<float> m, q, p, rest, sum;
  explicit Case(const MatrixSize& s, std::vector<float> matrix)
      : size(s),
        m(std::move(matrix)),
        q(random(s.cols * s.rank, 9)),
        p(static_cast<std::size_t>(s.rows * s.rank)),
        rest(m.size()),
        sum(m.size()) {}
  void approximate() {
    project(m.data(), q.data(), size, p.data());
    ASSERT_TRUE(orthonormalise(p.data(), size));
    project_back(m.data(), p.data(), size, q.data());
    rebuild({.m = m.data(),
             .p = p.data(),
             .q_sum = q.data(),
             .q_own = q.data(),
             .sum = sum.data(),
             .rest = rest.data()},
            size);
  }
};

/// A matrix of exactly this rank.
std::vector<float> of_rank(const MatrixSize& size, std::int64_t rank) {
  const std::vector<float> a = random(size.rows * rank, 1), b = random(size.cols * rank, 2);
  std::vector<float> m(static_cast<std::size_t>(size.rows * size.cols));
  for (std::int64_t i = 0; i < size.rows; ++i) {
    for (std::int64_t j = 0; j < size.cols; ++j) {
      for (std::int64_t k = 0; k < rank; ++k) {
        m[static_cast<std::size_t>(i * size.cols + j)] +=
            a[static_cast<std::size_t>(i * rank + k)] * b[static_cast<std::size_t>(j * rank + k)];
      }
    }
  }
  return m;
}

double norm(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += static_cast<double>(value) * value;
  return std::sqrt(sum);
}

TEST(LowRank, AMatrixOfThatRankIsGivenBackWhole) {
  for (const std::int64_t cols : {5, 16, 37}) {
    for (const std::int64_t rank : {1, 3, 4}) {
      const MatrixSize size{.rows = 29, .cols = cols, .rank = rank};
      Case c(size, of_rank(size, rank));
      c.approximate();
      EXPECT_LT(norm(c.rest), 1e-5 * norm(c.m)) << cols << " columns, rank " << rank;
      for (std::size_t i = 0; i < c.m.size(); ++i) EXPECT_NEAR(c.sum[i], c.m[i], 1e-4);
    }
  }
}

TEST(LowRank, ColumnsAreOrthonormalOrZero) {
  const MatrixSize size{.rows = 40, .cols = 24, .rank = 4};
  Case c(size, of_rank(size, 2));  // two columns more than there are directions
  c.approximate();
  int zeros = 0;
  for (std::int64_t a = 0; a < 4; ++a) {
    for (std::int64_t b = 0; b <= a; ++b) {
      double sum = 0;
      for (std::int64_t i = 0; i < 40; ++i) {
        sum += static_cast<double>(c.p[static_cast<std::size_t>(a * 40 + i)]) *
               c.p[static_cast<std::size_t>(b * 40 + i)];
      }
      if (a == b && sum == 0) {
        ++zeros;
      } else {
        EXPECT_NEAR(sum, a == b ? 1 : 0, 1e-4) << a << ", " << b;
      }
    }
  }
  EXPECT_EQ(zeros, 2);
}

TEST(LowRank, TheRestIsNeverLongerThanTheMatrix) {
  const MatrixSize size{.rows = 33, .cols = 20, .rank = 2};
  Case c(size, random(33 * 20, 5));
  c.approximate();
  EXPECT_LT(norm(c.rest), norm(c.m));
}

TEST(LowRank, NumbersThatAreNotFiniteAreTold) {
  std::vector<float> p(20, 1.0F);
  p[7] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(orthonormalise(p.data(), {.rows = 20, .cols = 4, .rank = 1}));
}

TEST(LowRank, AColumnOfZerosStartsAnew) {
  std::vector<float> q{3, 4, 0, 0};
  const std::vector<float> start{1, 0, 0, 1};
  normalise(q.data(), start.data(), {.rows = 9, .cols = 2, .rank = 2});
  EXPECT_EQ(q, (std::vector<float>{0.6F, 0.8F, 0, 1}));
}

}  // namespace
}  // namespace dlt::ddp
