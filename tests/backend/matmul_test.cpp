// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/kernel_run.h"
#include "base/rng.h"
#include "base/text.h"

namespace dlt::test {
namespace {

using tensor::Attrs;
using tensor::Shape;
using tensor::TensorType;
using tensor::View;

struct Product {
  std::int64_t m, k, n;
  bool trans_a = false, trans_b = false;
};

std::string product_text(const Product& p) {
  return cat(p.m, "x", p.k, "x", p.n, p.trans_a ? " trans_a" : "", p.trans_b ? " trans_b" : "");
}

std::vector<float> draws(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = rng::normal({.seed = seed}, i);
  return values;
}

/// Largest error over the sum of the products' sizes, in units of f32's rounding.
double worst_error(const Product& p, const std::vector<float>& a, const std::vector<float>& b,
                   const std::vector<float>& c) {
  double worst = 0;
  for (std::int64_t i = 0; i < p.m; ++i) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      double sum = 0, size = 1e-30;
      for (std::int64_t k = 0; k < p.k; ++k) {
        const double term =
            static_cast<double>(
                a[static_cast<std::size_t>(p.trans_a ? k * p.m + i : i * p.k + k)]) *
            static_cast<double>(b[static_cast<std::size_t>(p.trans_b ? j * p.k + k : k * p.n + j)]);
        sum += term;
        size += std::abs(term);
      }
      const double got = static_cast<double>(c[static_cast<std::size_t>(i * p.n + j)]);
      const double error = std::abs(got - sum) / size * 0x1p24;
      if (!(error <= worst)) worst = error;  // keeps NaN
    }
  }
  return worst;
}

RunResult multiply(const std::string& isa, const Product& p, std::vector<float>& a,
                   std::vector<float>& b) {
  const auto backend = tensor::make_cpu_backend(isa);
  Attrs attrs;
  if (p.trans_a) attrs.set("trans_a", std::int64_t{1});
  if (p.trans_b) attrs.set("trans_b", std::int64_t{1});
  const std::vector<View> inputs{
      {a.data(), {p.trans_a ? Shape{p.k, p.m} : Shape{p.m, p.k}, DType::f32}},
      {b.data(), {p.trans_b ? Shape{p.n, p.k} : Shape{p.k, p.n}, DType::f32}}};
  const std::vector<TensorType> types{inputs[0].type, inputs[1].type};
  const std::vector<TensorType> outputs{{{p.m, p.n}, DType::f32}};
  const auto kernel =
      backend->find("matmul")({.inputs = types, .outputs = outputs, .attrs = attrs});
  return run_kernel(*kernel, inputs, outputs, {});
}

void expect_right(const Product& p) {
  constexpr std::uint64_t kSeed = 7;
  std::vector<float> a = draws(p.m * p.k, kSeed), b = draws(p.k * p.n, kSeed + 1);
  for (const std::string& isa : instruction_sets()) {
    const RunResult result = multiply(isa, p, a, b);
    EXPECT_TRUE(result.guards_intact) << isa << " " << product_text(p);
    EXPECT_LT(worst_error(p, a, b, result.as<float>(0)), 8.0) << isa << " " << product_text(p);
  }
}

TEST(CpuMatmul, IsRightForEveryRemainderOfATile) {
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) {
      for (const std::int64_t m : {1, 2, 5, 6, 7, 9, 10, 19}) {
        for (const std::int64_t n : {1, 3, 8, 15, 16, 17, 31, 33, 47, 48, 49, 65, 97}) {
          for (const std::int64_t k : {1, 2, 7, 16, 33}) expect_right({m, k, n, trans_a, trans_b});
        }
      }
    }
  }
}

TEST(CpuMatmul, IsRightAcrossBlocksInEachDirection) {
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) {
      expect_right({13, 1000, 50, trans_a, trans_b});    // several runs along k
      expect_right({50, 529, 13, trans_a, trans_b});     // rows outside
      expect_right({1000, 40, 1010, trans_a, trans_b});  // two blocks of rows
      expect_right({1010, 40, 1000, trans_a, trans_b});  // two blocks of columns
    }
  }
}

TEST(CpuMatmul, IsRightForTheLayersOfThePerceptron) {
  expect_right({128, 784, 512});
  expect_right({784, 128, 512, true, false});
  expect_right({128, 512, 512, false, true});
  expect_right({128, 512, 10});
  expect_right({512, 128, 10, true, false});
  expect_right({128, 10, 512, false, true});
}

TEST(CpuMatmul, IsRightWhereOneDnnMultiplies) {
  for (const bool trans_a : {false, true}) {
    for (const bool trans_b : {false, true}) expect_right({515, 520, 513, trans_a, trans_b});
  }
}

TEST(CpuMatmul, LinearOfOneDnnAddsItsBiasAndActivates) {
  const Product p{512, 512, 512};
  std::vector<float> a = draws(p.m * p.k, 1), b = draws(p.k * p.n, 2), bias = draws(p.n, 3);
  const std::string isa = instruction_sets().back();
  const std::vector<float> product = multiply(isa, p, a, b).as<float>(0);
  const std::vector<View> inputs{{a.data(), {{p.m, p.k}, DType::f32}},
                                 {b.data(), {{p.k, p.n}, DType::f32}},
                                 {bias.data(), {{p.n}, DType::f32}}};
  const std::vector<TensorType> types{inputs[0].type, inputs[1].type, inputs[2].type};
  const std::vector<TensorType> outputs{{{p.m, p.n}, DType::f32}};
  const Attrs attrs{{"activation", std::string("relu")}};
  const auto kernel = tensor::make_cpu_backend(isa)->find("linear")(
      {.inputs = types, .outputs = outputs, .attrs = attrs});
  const std::vector<float> y = run_kernel(*kernel, inputs, outputs, {}).as<float>(0);
  for (std::size_t i = 0; i < y.size(); ++i) {
    const float want = std::max(0.0f, product[i] + bias[i % 512]);
    ASSERT_NEAR(y[i], want, 1e-4f) << "element " << i;
  }
}

TEST(CpuMatmul, SumOverNothingIsZero) {
  std::vector<float> nothing(1);
  for (const std::string& isa : instruction_sets()) {
    for (const Product& p : {Product{3, 0, 5}, Product{1, 0, 5}, Product{5, 0, 1}}) {
      for (const float value : multiply(isa, p, nothing, nothing).as<float>(0)) {
        EXPECT_EQ(value, 0.0f) << isa << " " << product_text(p);
      }
    }
  }
}

TEST(CpuMatmul, NanReachesItsRowAndNoOther) {
  const Product p{11, 20, 37};
  std::vector<float> a = draws(p.m * p.k, 1), b = draws(p.k * p.n, 2);
  a[3 * 20 + 4] = std::numeric_limits<float>::quiet_NaN();
  a[5 * 20 + 6] = std::numeric_limits<float>::infinity();
  for (const std::string& isa : instruction_sets()) {
    const std::vector<float> c = multiply(isa, p, a, b).as<float>(0);
    for (std::size_t i = 0; i < c.size(); ++i) {
      const std::size_t row = i / 37;
      EXPECT_EQ(std::isnan(c[i]), row == 3) << isa << " element " << i;
      EXPECT_EQ(std::isinf(c[i]), row == 5) << isa << " element " << i;
    }
  }
}

TEST(CpuMatmul, ARowDependsOnItsOwnNumbersOnly) {
  // The same tile arithmetic whatever the other rows hold: what padding a batch relies on.
  const Product p{23, 300, 61};
  std::vector<float> a = draws(p.m * p.k, 3), b = draws(p.k * p.n, 4);
  std::vector<float> other = a;
  for (std::size_t i = 300; i < other.size(); ++i) other[i] = -other[i] + 1.0f;
  for (const std::string& isa : instruction_sets()) {
    const auto c = multiply(isa, p, a, b).as<float>(0), d = multiply(isa, p, other, b).as<float>(0);
    EXPECT_TRUE(std::equal(c.begin(), c.begin() + 61, d.begin())) << isa;
  }
}

}  // namespace
}  // namespace dlt::test
