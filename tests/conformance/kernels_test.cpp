// SPDX-License-Identifier: Apache-2.0
// Every kernel of the CPU against the host kernel of its op.
#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "conformance/kernel_case.h"
#include "conformance/many_samples.h"
#include "support/tolerance.h"

namespace dlt::test {
namespace {

using support::OpSample;

constexpr std::uint64_t kSeed = 20;

class Kernels : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!can_run(GetParam())) GTEST_SKIP() << "this processor lacks " << GetParam();
    backend = tensor::make_cpu_backend(GetParam());
  }
  autodiff::OpTable table = ops::make_op_table();
  std::unique_ptr<tensor::Backend> backend;
};

INSTANTIATE_TEST_SUITE_P(Cpu, Kernels, testing::Values("avx2", "avx512"),
                         [](const auto& test) { return test.param; });

TEST_P(Kernels, ServeEveryOp) {
  for (const autodiff::OpDef& def : table.all()) {
    if (def.alias) continue;
    EXPECT_NE(backend->find(def.name), nullptr) << def.name;
  }
}

TEST_P(Kernels, AgreeWithTheHostKernel) {
  for (const OpSample& sample : many_samples()) {
    const KernelCase test(table, sample, kSeed);
    const RunResult got = test.run(*backend), want = test.run_host();
    EXPECT_TRUE(got.guards_intact) << test.text();
    for (std::size_t out = 0; out < got.outputs.size(); ++out) {
      if (test.output_types()[out].dtype != DType::f32) {  // places are right or wrong
        EXPECT_EQ(got.outputs[out], want.outputs[out]) << test.text() << " output " << out;
        continue;
      }
      const auto g = got.as<float>(out), w = want.as<float>(out);
      for (std::size_t i = 0; i < g.size(); ++i) {
        ASSERT_TRUE(support::close(static_cast<double>(g[i]), static_cast<double>(w[i]),
                                   support::tolerance(DType::f32)))
            << test.text() << " seed " << kSeed << " output " << out << " element " << i << ": "
            << g[i] << ", want " << w[i];
      }
    }
  }
}

TEST_P(Kernels, GiveTheSameBitsAnywhereInMemory) {
  for (const OpSample& sample : many_samples()) {
    const KernelCase test(table, sample, kSeed);
    const RunResult first = test.run(*backend), again = test.run(*backend),
                    shifted = test.run(*backend, {.misaligned_bytes = 4});
    EXPECT_EQ(first.outputs, again.outputs) << test.text();
    EXPECT_EQ(first.outputs, shifted.outputs) << test.text();
    EXPECT_TRUE(shifted.guards_intact) << test.text();
  }
}

TEST_P(Kernels, GiveTheSameBitsInPlace) {
  int num_cases = 0;
  for (const OpSample& sample : many_samples()) {
    const KernelCase test(table, sample, kSeed);
    for (const RunOptions& way : test.ways_in_place()) {
      ++num_cases;
      EXPECT_EQ(test.run(*backend, way).outputs, test.run(*backend).outputs)
          << test.text() << " output " << way.over_output << " over input " << way.over_input;
    }
  }
  EXPECT_GT(num_cases, 100);
}

TEST_P(Kernels, LeaveOtherDtypesToTheHost) {
  for (const OpSample& sample : support::op_samples()) {
    const bool has_numbers =
        std::any_of(sample.inputs.begin(), sample.inputs.end(),
                    [](const auto& input) { return input.fill != support::Fill::labels; });
    if (sample.op == "reshape" || !has_numbers) continue;
    std::vector<tensor::TensorType> types;
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      types.push_back(support::make_input(sample, i, DType::f64, kSeed).type());
    }
    const auto outputs = table.find(sample.op)->infer(types, sample.attrs);
    EXPECT_EQ(
        backend->find(sample.op)({.inputs = types, .outputs = outputs, .attrs = sample.attrs}),
        nullptr)
        << support::text(sample);
  }
}

}  // namespace
}  // namespace dlt::test
