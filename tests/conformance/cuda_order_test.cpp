// SPDX-License-Identifier: Apache-2.0
// What random numbers do not show of the CUDA back end's kernels: ties, NaN, ids and labels that
// are none, the order of sums, and sums of numbers that are far from 0.
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "conformance/cuda_test.h"
#include "conformance/kernel_case.h"
#include "support/op_sample_families.h"
#include "support/tolerance.h"

namespace dlt::test {
namespace {

using support::labels;
using support::target;
using tensor::Attrs;
using Dims = std::vector<std::int64_t>;

constexpr float kNotANumber = std::numeric_limits<float>::quiet_NaN();
constexpr std::uint64_t kOrderSeed = 21;

class CudaOrder : public CudaTest {
 protected:
  void expect_like_host(const KernelCase& test) {
    const RunResult got = test.run(*backend), want = test.run_host();
    for (std::size_t out = 0; out < got.outputs.size(); ++out) {
      if (test.output_types()[out].dtype != DType::f32) {
        EXPECT_EQ(got.outputs[out], want.outputs[out]) << test.text() << " output " << out;
        continue;
      }
      const auto g = got.as<float>(out), w = want.as<float>(out);
      for (std::size_t i = 0; i < g.size(); ++i) {
        EXPECT_TRUE(support::close(static_cast<double>(g[i]), static_cast<double>(w[i]),
                                   support::tolerance(DType::f32)))
            << test.text() << " output " << out << " element " << i << ": " << g[i] << ", want "
            << w[i];
      }
    }
  }
  static void set_id(KernelCase& test, std::size_t input, std::size_t place, std::int32_t id) {
    test.input(input)[place] = std::bit_cast<float>(id);
  }
};

/// Few different numbers, so that most windows have ties; and some NaN.
void fill_with_ties(std::span<float> x) {
  for (std::size_t i = 0; i < x.size(); ++i) {
    const float u = rng::uniform({.seed = kOrderSeed}, i);
    x[i] = u < 0.01f ? kNotANumber : std::floor(3.0f * u);
  }
}

TEST_F(CudaOrder, PoolsTakeTheFirstOfEqualPlacesAndNanBeforeAll) {
  const Attrs attrs{{"window", Dims{3, 2}}, {"strides", Dims{2, 2}}, {"pads", Dims{1, 1, 0, 1}}};
  KernelCase windows(table, {"max_pool2d", {{{2, 9, 8, 5}}}, attrs}, kOrderSeed);
  fill_with_ties(windows.input(0));
  expect_like_host(windows);
  KernelCase global(table, {"global_max_pool", {{{3, 90, 20}}}, {}}, kOrderSeed);
  fill_with_ties(global.input(0));
  expect_like_host(global);
}

TEST_F(CudaOrder, EmbeddingGradAddsInTheOrderOfPositions) {
  // Two tokens in turn, each often enough for several rounds of a warp, and in one piece.
  constexpr std::size_t kCount = 30, kWidth = 3;
  KernelCase test(
      table,
      {"embedding_grad", {labels({kCount}, 2), {{kCount, kWidth}}}, {{"rows", std::int64_t{300}}}},
      kOrderSeed);
  std::vector<float> want(2 * kWidth, 0.0f);
  for (std::size_t i = 0; i < kCount; ++i) {
    set_id(test, 0, i, i % 2 == 0 ? 0 : 299);
    for (std::size_t c = 0; c < kWidth; ++c) {
      want[i % 2 * kWidth + c] += test.input(1)[i * kWidth + c];
    }
  }
  const std::vector<float> got = test.run(*backend).as<float>(0);
  for (std::size_t c = 0; c < kWidth; ++c) {
    EXPECT_EQ(got[c], want[c]) << c;
    EXPECT_EQ(got[299 * kWidth + c], want[kWidth + c]) << c;
    EXPECT_EQ(got[150 * kWidth + c], 0.0f) << c;
  }
}

TEST_F(CudaOrder, AnIdThatIsNoRowGivesNanAndNoGradient) {
  KernelCase forward(table, {"embedding", {labels({4}, 6), {{6, 8}}}, {}}, kOrderSeed);
  set_id(forward, 0, 1, 6);
  set_id(forward, 0, 2, -1);
  const std::vector<float> y = forward.run(*backend).as<float>(0);
  for (std::size_t i = 0; i < y.size(); ++i) EXPECT_EQ(std::isnan(y[i]), i / 8 == 1 || i / 8 == 2);

  KernelCase backward(table,
                      {"embedding_grad", {labels({2}, 6), {{2, 3}}}, {{"rows", std::int64_t{6}}}},
                      kOrderSeed);
  set_id(backward, 0, 0, 1 << 20);
  set_id(backward, 0, 1, 4);
  const std::vector<float> dw = backward.run(*backend).as<float>(0);
  for (std::size_t i = 0; i < dw.size(); ++i) {
    EXPECT_EQ(dw[i], i / 3 == 4 ? backward.input(1)[3 + i % 3] : 0.0f) << i;
  }
}

TEST_F(CudaOrder, CtcOfImpossibleLabelsIsInfiniteAndOfLabelsThatAreNoneNan) {
  KernelCase test(table,
                  {"ctc_loss", {{{3, 4, 5}, support::Fill::log_rows}, labels({3, 3}, 2)}, {}},
                  kOrderSeed);
  const std::int32_t ids[] = {1, 1, 1, 2, 5, -1, 2, 3, -1};  // 3 equal labels want 5 steps
  for (std::size_t i = 0; i < 9; ++i) set_id(test, 1, i, ids[i]);
  const std::vector<float> loss = test.run(*backend).as<float>(0);
  EXPECT_EQ(loss[0], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(loss[1]));
  EXPECT_GT(loss[2], 0.0f);
}

TEST_F(CudaOrder, MomentsAreExactFarFromZero) {
  const support::SampleInput channel{{20}};
  KernelCase test(table,
                  {"batch_norm",
                   {{{4, 50, 20}}, channel, channel, target({4}, support::Fill::weights)},
                   {{"eps", 1e-5}}},
                  kOrderSeed);
  for (float& x : test.input(0)) x = 3000.0f + std::round(8.0f * x) / 8.0f;
  const RunResult got = test.run(*backend), want = test.run_host();
  for (std::size_t c = 0; c < 20; ++c) {
    EXPECT_NEAR(got.as<float>(1)[c], want.as<float>(1)[c], 3e-4f) << c;
    EXPECT_NEAR(got.as<float>(3)[c], want.as<float>(3)[c], 2e-6f * want.as<float>(3)[c]) << c;
  }
}

}  // namespace
}  // namespace dlt::test
