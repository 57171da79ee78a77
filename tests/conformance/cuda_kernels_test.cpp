// SPDX-License-Identifier: Apache-2.0
// Every kernel of the CUDA back end against the host kernel of its op. One source for two programs:
// on the emulator and on a real GPU.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "conformance/cuda_test.h"
#include "conformance/kernel_case.h"
#include "conformance/many_samples.h"
#include "support/tolerance.h"

namespace dlt::test {
namespace {

using support::OpSample;

constexpr std::uint64_t kKernelSeed = 20;

class CudaKernels : public CudaTest {
 protected:
  /// f(case) for each sample that the device has a kernel for.
  template <typename F>
  void each_case(F f) {
    for (const OpSample& sample : many_samples()) {
      const KernelCase test(table, sample, kKernelSeed);
      if (test.kernel(*backend) != nullptr) f(test);
    }
  }
};

/// Sums of many products cancel, and libraries add them one after the other: there the size of the
/// whole result counts, too.
support::Tolerance limit_of(const autodiff::OpDef& def, const std::vector<float>& want) {
  support::Tolerance limit = support::tolerance(DType::f32);
  if (!def.product) return limit;
  double squares = 0;
  for (const float x : want) squares += static_cast<double>(x) * static_cast<double>(x);
  const double size =
      std::sqrt(squares / static_cast<double>(std::max<std::size_t>(want.size(), 1)));
  limit.atol = std::max(limit.atol, 2e-6 * size);
  return limit;
}

TEST_F(CudaKernels, ServeEveryOp) {
  for (const std::string& name : tensor::make_cpu_backend()->kernels()) {
    EXPECT_NE(backend->find(name), nullptr) << name;
  }
}

TEST_F(CudaKernels, AgreeWithTheHostKernel) {
  int num_cases = 0;
  each_case([&](const KernelCase& test) {
    ++num_cases;
    const RunResult got = test.run(*backend), want = test.run_host();
    EXPECT_TRUE(got.guards_intact) << test.text();
    for (std::size_t out = 0; out < got.outputs.size(); ++out) {
      if (test.output_types()[out].dtype != DType::f32) {  // places are right or wrong
        EXPECT_EQ(got.outputs[out], want.outputs[out]) << test.text() << " output " << out;
        continue;
      }
      const auto g = got.as<float>(out), w = want.as<float>(out);
      const support::Tolerance limit = limit_of(test.def(), w);
      for (std::size_t i = 0; i < g.size(); ++i) {
        ASSERT_TRUE(support::close(static_cast<double>(g[i]), static_cast<double>(w[i]), limit))
            << test.text() << " seed " << kKernelSeed << " output " << out << " element " << i
            << ": " << g[i] << ", want " << w[i];
      }
    }
  });
  EXPECT_GT(num_cases, 100);
}

TEST_F(CudaKernels, GiveTheSameBitsAgainAndAnywhereInMemory) {
  each_case([&](const KernelCase& test) {
    // The vendor's libraries want whole vectors: what the planner gives is aligned to 64 bytes.
    const RunResult first = test.run(*backend), again = test.run(*backend),
                    shifted = test.run(*backend, {.misaligned_bytes = test.def().product ? 64 : 4});
    EXPECT_EQ(first.outputs, again.outputs) << test.text();
    EXPECT_EQ(first.outputs, shifted.outputs) << test.text();
    EXPECT_TRUE(shifted.guards_intact) << test.text();
  });
}

TEST_F(CudaKernels, GiveTheSameBitsInPlace) {
  int num_cases = 0;
  each_case([&](const KernelCase& test) {
    const std::vector<RunOptions> ways = test.ways_in_place();
    if (ways.empty()) return;
    const RunResult apart = test.run(*backend);
    for (const RunOptions& way : ways) {
      ++num_cases;
      EXPECT_EQ(test.run(*backend, way).outputs, apart.outputs)
          << test.text() << " output " << way.over_output << " over input " << way.over_input;
    }
  });
  EXPECT_GT(num_cases, 50);
}

TEST_F(CudaKernels, LeaveOtherDtypesToTheHost) {
  for (const OpSample& sample : support::op_samples()) {
    const bool has_numbers =
        std::any_of(sample.inputs.begin(), sample.inputs.end(),
                    [](const auto& input) { return input.fill != support::Fill::labels; });
    const tensor::KernelFactory factory = backend->find(sample.op);
    if (!has_numbers || factory == nullptr) continue;
    std::vector<tensor::TensorType> types;
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      types.push_back(support::make_input(sample, i, DType::f64, kKernelSeed).type());
    }
    const auto outputs = table.find(sample.op)->infer(types, sample.attrs);
    EXPECT_EQ(factory({.inputs = types, .outputs = outputs, .attrs = sample.attrs}), nullptr)
        << support::text(sample);
  }
}

}  // namespace
}  // namespace dlt::test
