// SPDX-License-Identifier: Apache-2.0
// Convolutions large enough for every way in which the CPU does them, against the host kernel.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "conformance/kernel_case.h"
#include "tensor/conv_geometry.h"

namespace dlt::test {
namespace {

using support::OpSample;
using tensor::Attrs;
using tensor::Shape;

struct ConvCase {
  const char* what;
  Shape x, weight;
  std::int64_t stride = 1, pad = 0, dilation = 1, groups = 1;
};

const std::vector<ConvCase>& conv_cases() {
  static const std::vector<ConvCase> cases{
      {"3x3 of stride 1, several blocks of tiles", {3, 14, 15, 33}, {3, 3, 33, 35}, 1, 1},
      {"3x3 of stride 1, odd sizes, no padding", {9, 7, 9, 32}, {3, 3, 32, 47}},
      {"3x3 of stride 1, padding 2", {5, 5, 6, 40}, {3, 3, 40, 32}, 1, 2},
      {"3x3 of stride 1, too few tiles", {1, 5, 6, 40}, {3, 3, 40, 34}, 1, 1},
      {"3x3 of stride 1, large blocks", {8, 9, 8, 136}, {3, 3, 136, 128}, 1, 1},
      {"stride 2, several chunks of rows", {5, 31, 30, 36}, {3, 3, 36, 40}, 2, 1},
      {"stride 2, 1x1", {4, 13, 12, 36}, {1, 1, 36, 70}, 2},
      {"stride 2, weights too large to turn", {1, 6, 6, 200}, {3, 3, 200, 160}, 2, 1},
      {"5x5 with dilation", {1, 12, 11, 33}, {5, 5, 33, 20}, 1, 3, 2},
      {"groups", {2, 9, 10, 68}, {3, 3, 34, 66}, 1, 1, 1, 2},
      {"few channels, images with their padding", {3, 28, 28, 1}, {5, 5, 1, 6}, 1, 2},
      {"few channels, 7x7 of stride 2", {2, 33, 30, 3}, {7, 7, 3, 64}, 2, 3},
      {"few channels and filters", {4, 14, 14, 6}, {5, 5, 6, 16}},
      {"few channels, more filters", {2, 12, 11, 20}, {5, 5, 20, 50}},
      {"few channels, dilation", {2, 15, 14, 5}, {3, 3, 5, 17}, 1, 2, 2},
      {"a line longer than a block of positions", {2, 1, 300, 7}, {1, 9, 7, 24}},
      {"one filter a channel", {2, 17, 19, 37}, {3, 3, 1, 37}, 2, 1, 1, 37},
  };
  return cases;
}

std::vector<OpSample> directions(const ConvCase& c) {
  Attrs attrs{{"stride_h", c.stride}, {"stride_w", c.stride},     {"pad_left", c.pad},
              {"pad_right", c.pad},   {"dilation_h", c.dilation}, {"dilation_w", c.dilation},
              {"groups", c.groups}};
  if (c.x[1] > 1) {
    attrs.set("pad_top", c.pad);
    attrs.set("pad_bottom", c.pad);
  }
  const tensor::ConvGeometry g = tensor::conv_geometry("test", c.x, c.weight, attrs);
  Attrs input = attrs, weight = attrs, fused = attrs;
  input.set("in_h", g.in_h);
  input.set("in_w", g.in_w);
  weight.set("kernel_h", g.kernel_h);
  weight.set("kernel_w", g.kernel_w);
  fused.set("activation", std::string("relu"));
  return {{"conv2d", {{c.x}, {c.weight}}, attrs},
          {"conv2d", {{c.x}, {c.weight}, {{g.out_channels}}}, fused},
          {"conv2d_input_grad", {{g.output()}, {c.weight}}, input},
          {"conv2d_weight_grad", {{c.x}, {g.output()}}, weight}};
}

class ConvKernels : public testing::TestWithParam<std::string> {};

/// Sums of many products cancel: errors are measured by the size of the whole result.
TEST_P(ConvKernels, AgreeWithTheHostKernel) {
  if (!can_run(GetParam())) GTEST_SKIP() << "this processor lacks " << GetParam();
  const auto backend = tensor::make_cpu_backend(GetParam());
  const autodiff::OpTable table = ops::make_op_table();
  for (const ConvCase& c : conv_cases()) {
    for (const OpSample& sample : directions(c)) {
      SCOPED_TRACE(std::string(c.what) + ": " + support::text(sample));
      const KernelCase test(table, sample, 20);
      const RunResult got = test.run(*backend), want = test.run_host();
      EXPECT_TRUE(got.guards_intact);
      EXPECT_EQ(got.outputs, test.run(*backend, {.misaligned_bytes = 4}).outputs);
      double squares = 0, worst = 0;
      const auto g = got.as<float>(0), w = want.as<float>(0);
      ASSERT_EQ(g.size(), w.size());
      for (std::size_t i = 0; i < g.size(); ++i) {
        const double error = static_cast<double>(g[i]) - static_cast<double>(w[i]);
        ASSERT_FALSE(std::isnan(error)) << "element " << i;
        worst = std::max(worst, std::abs(error));
        squares += static_cast<double>(w[i]) * static_cast<double>(w[i]);
      }
      EXPECT_LE(worst, 1e-5 * std::sqrt(squares / static_cast<double>(g.size())));
    }
  }
}

/// Rounded operands, or rounded transforms of them: the error is that of bf16, twice at most.
TEST_P(ConvKernels, InBf16ErrByTheRoundingOfTheirOperands) {
  if (!can_run(GetParam())) GTEST_SKIP() << "this processor lacks " << GetParam();
  const auto backend = tensor::make_cpu_backend(GetParam());
  const autodiff::OpTable table = ops::make_op_table();
  for (const ConvCase& c : conv_cases()) {
    if (c.x.last() < 32 || c.weight[2] == 1) continue;  // these are multiplied in f32
    for (OpSample sample : directions(c)) {
      SCOPED_TRACE(std::string(c.what) + ": " + support::text(sample));
      const RunResult want = KernelCase(table, sample, 20).run_host();
      sample.attrs.set("precision", std::string("bf16"));
      const RunResult got = KernelCase(table, sample, 20).run(*backend);
      EXPECT_TRUE(got.guards_intact);
      double squares = 0, errors = 0;
      const auto g = got.as<float>(0), w = want.as<float>(0);
      for (std::size_t i = 0; i < g.size(); ++i) {
        errors += std::pow(static_cast<double>(g[i]) - static_cast<double>(w[i]), 2);
        squares += std::pow(static_cast<double>(w[i]), 2);
      }
      const double error = std::sqrt(errors / squares);
      EXPECT_GT(error, 2e-4);
      EXPECT_LT(error, 6e-3);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, ConvKernels, testing::Values("avx2", "avx512"),
                         [](const auto& test) { return test.param; });

}  // namespace
}  // namespace dlt::test
