// SPDX-License-Identifier: Apache-2.0
// Attention at lengths that take several blocks of every kind, against the host kernel; what it
// needs in memory.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/text.h"
#include "conformance/kernel_case.h"
#include "support/tolerance.h"

namespace dlt::test {
namespace {

struct Sizes {
  std::int64_t batch, length, heads, kv_heads, head_size;
  bool causal = false, masked = false;
  double rate = 0;
};

tensor::Attrs attrs_of(const Sizes& s) {
  tensor::Attrs attrs{{"heads", s.heads}, {"kv_heads", s.kv_heads}};
  if (s.causal) attrs.set("causal", std::int64_t{1});
  attrs.set("rate", s.rate);
  attrs.set("op", static_cast<std::int64_t>(rng::op_id("multi_head_attention_1")));
  return attrs;
}

support::OpSample forward_of(const Sizes& s) {
  support::OpSample sample{"attention", {}, attrs_of(s)};
  sample.inputs.push_back({{s.batch, s.length, (s.heads + 2 * s.kv_heads) * s.head_size}});
  if (s.masked) sample.inputs.push_back({{s.batch, s.length}, support::Fill::mask, 0, false});
  return sample;
}

support::OpSample backward_of(const Sizes& s) {
  support::OpSample sample = forward_of(s);
  sample.op = "attention_grad";
  const support::SampleInput y{{s.batch, s.length, s.heads * s.head_size}};
  const support::SampleInput lse{{s.batch, s.heads, s.length}};
  sample.inputs.insert(sample.inputs.begin() + 1, {y, lse, y});
  return sample;
}

std::string text(const Sizes& s) {
  return cat("B ", s.batch, " T ", s.length, " H ", s.heads, "/", s.kv_heads, " D ", s.head_size,
             s.causal ? " causal" : "", s.masked ? " masked" : "", s.rate > 0 ? " dropout" : "");
}

const std::vector<Sizes> kSizes{
    {2, 64, 2, 2, 32, true},
    {1, 64, 2, 2, 32},
    {2, 128, 2, 2, 64, true},
    {1, 130, 2, 1, 33, true, true},
    {1, 130, 2, 1, 33, false, true, 0.2},
    {1, 200, 1, 1, 48, true, false, 0.1},
    {1, 77, 3, 3, 80, true},
    {2, 1, 2, 2, 16, true},
    {1, 600, 1, 1, 8, true},
    {1, 1100, 1, 1, 5, true, true, 0.5},
    {1, 530, 2, 1, 12},
    {1, 37, 8, 2, 16, true},
};

/// Sums of a row's terms are rounded in another order than on the host.
void expect_close(const std::vector<float>& got, const std::vector<float>& want,
                  const std::string& what) {
  double largest = 0;
  for (const float w : want) {
    if (std::isfinite(w)) largest = std::max(largest, std::abs(static_cast<double>(w)));
  }
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double g = static_cast<double>(got[i]), w = static_cast<double>(want[i]);
    ASSERT_TRUE(support::close(g, w, {2e-5, 2e-6 * std::max(1.0, largest)}))
        << what << " element " << i << ": " << g << ", want " << w;
  }
}

class Attention : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!can_run(GetParam())) GTEST_SKIP() << "this processor lacks " << GetParam();
    backend = tensor::make_cpu_backend(GetParam());
  }
  autodiff::OpTable table = ops::make_op_table();
  std::unique_ptr<tensor::Backend> backend;
};

INSTANTIATE_TEST_SUITE_P(Cpu, Attention, testing::Values("avx2", "avx512"),
                         [](const auto& test) { return test.param; });

TEST_P(Attention, AgreesWithTheHostKernelAtEveryLength) {
  for (const Sizes& sizes : kSizes) {
    KernelCase forward(table, forward_of(sizes), 7);
    const RunResult got = forward.run(*backend), want = forward.run_host();
    EXPECT_TRUE(got.guards_intact) << text(sizes);
    expect_close(got.as<float>(0), want.as<float>(0), text(sizes) + " y");
    expect_close(got.as<float>(1), want.as<float>(1), text(sizes) + " lse");

    KernelCase backward(table, backward_of(sizes), 7);
    std::copy_n(forward.input(0).begin(), forward.input(0).size(), backward.input(0).begin());
    std::ranges::copy(want.as<float>(0), backward.input(1).begin());
    std::ranges::copy(want.as<float>(1), backward.input(2).begin());
    if (sizes.masked) {
      std::copy_n(forward.input(1).begin(), forward.input(1).size(), backward.input(4).begin());
    }
    const RunResult got_grad = backward.run(*backend), want_grad = backward.run_host();
    EXPECT_TRUE(got_grad.guards_intact) << text(sizes);
    expect_close(got_grad.as<float>(0), want_grad.as<float>(0), text(sizes) + " dqkv");
  }
}

TEST_P(Attention, ARowThatSeesNoKeyIsZero) {
  const Sizes sizes{1, 20, 2, 2, 8, true, true};
  KernelCase forward(table, forward_of(sizes), 3);
  std::ranges::fill(forward.input(1), 1.0f);
  std::fill_n(forward.input(1).begin(), 5, 0.0f);  // causal rows 0 to 4 see nothing
  const RunResult result = forward.run(*backend);
  const auto y = result.as<float>(0), lse = result.as<float>(1);
  for (std::size_t i = 0; i < 20; ++i) {
    EXPECT_EQ(std::isinf(lse[i]), i < 5) << i;
    EXPECT_EQ(y[i * 16] == 0.0f, i < 5) << i;
  }
  KernelCase backward(table, backward_of(sizes), 3);
  std::copy_n(forward.input(0).begin(), forward.input(0).size(), backward.input(0).begin());
  std::ranges::copy(y, backward.input(1).begin());
  std::ranges::copy(lse, backward.input(2).begin());
  std::copy_n(forward.input(1).begin(), forward.input(1).size(), backward.input(4).begin());
  const auto dqkv = backward.run(*backend).as<float>(0);
  for (std::size_t i = 0; i < dqkv.size(); ++i) {
    ASSERT_TRUE(std::isfinite(dqkv[i])) << i;
    // Neither the queries of those rows nor the hidden keys and values matter.
    if (i / 48 < 5) {
      EXPECT_EQ(dqkv[i], 0.0f) << i;
    }
  }
}

TEST_P(Attention, LargeScoresStayFinite) {
  KernelCase forward(table, forward_of({1, 40, 1, 1, 16, true}), 3);
  for (float& x : forward.input(0)) x *= 100.0f;
  for (const float y : forward.run(*backend).as<float>(0)) EXPECT_TRUE(std::isfinite(y));
}

TEST_P(Attention, MemoryGrowsWithTheLengthNotItsSquare) {
  const auto bytes = [&](std::int64_t length) {
    std::int64_t total = 0;
    for (const bool grad : {false, true}) {
      const Sizes sizes{1, length, 2, 2, 64, true};
      const KernelCase test(table, grad ? backward_of(sizes) : forward_of(sizes), 1);
      total += test.kernel(*backend)->scratch_bytes();
      for (const tensor::TensorType& type : test.output_types()) total += type.bytes();
    }
    return total;
  };
  EXPECT_LE(bytes(4096), 4 * bytes(1024));
  EXPECT_LT(bytes(4096), 4096LL * 4096 * 4 / 4);  // far below one matrix of probabilities
}

}  // namespace
}  // namespace dlt::test
