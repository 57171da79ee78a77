// SPDX-License-Identifier: Apache-2.0
// The kernels of optimisers and sums over flat buffers.
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/kernel_run.h"
#include "base/rng.h"

namespace dlt::test {
namespace {

using Floats = std::vector<float>;

Floats floats_of(std::size_t count, std::uint64_t seed) {
  Floats values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = rng::normal({.seed = seed}, i);
  return values;
}

/// Runs an update of elements [begin, end) in place; states[0] are the parameters.
void update(const std::string& isa, const char* name, const std::vector<double>& scalars,
            const Floats& grads, std::vector<Floats>& states, std::size_t begin, std::size_t end) {
  const auto backend = tensor::make_cpu_backend(isa);
  const tensor::Attrs attrs;
  const tensor::TensorType one{{1}, DType::f32};
  const std::vector<tensor::TensorType> ins{one}, outs(states.size(), one);
  const auto kernel = backend->find(name)({.inputs = ins, .outputs = outs, .attrs = attrs});
  EXPECT_EQ(kernel->scratch_bytes(), 0);
  const tensor::TensorType type{{static_cast<std::int64_t>(end - begin)}, DType::f32};
  const std::vector<tensor::View> inputs{{const_cast<float*>(grads.data()) + begin, type}};
  std::vector<tensor::View> outputs;
  for (Floats& state : states) outputs.push_back({state.data() + begin, type});
  tensor::RunContext context;
  context.scalars = scalars;
  kernel->run({.inputs = inputs, .outputs = outputs, .scratch = nullptr, .run = context});
}

constexpr double kOff = std::numeric_limits<double>::infinity();
const std::vector<double> kAdam{0.01, 0.5, 0.02, 0, kOff, 0.9, 0.999, 1e-8, 0.03, 0.271, 0.002997};

TEST(CpuUpdate, AdamFollowsTheFormula) {
  for (const std::string& isa : instruction_sets()) {
    for (const std::size_t n : {1u, 7u, 16u, 33u, 1000u}) {
      const Floats grads = floats_of(n, 1), p0 = floats_of(n, 2), m0 = floats_of(n, 3);
      Floats v0 = floats_of(n, 4);
      for (float& v : v0) v *= v;
      std::vector<Floats> states{p0, m0, v0};
      update(isa, "adam_update", kAdam, grads, states, 0, n);
      for (std::size_t i = 0; i < n; ++i) {
        const double p = static_cast<double>(p0[i]);
        const double g = 0.5 * static_cast<double>(grads[i]) + 0.02 * p;
        const double m = 0.9 * static_cast<double>(m0[i]) + 0.1 * g;
        const double v = 0.999 * static_cast<double>(v0[i]) + 0.001 * g * g;
        const double want =
            p * (1 - 0.01 * 0.03) - 0.01 * (m / 0.271) / (std::sqrt(v / 0.002997) + 1e-8);
        EXPECT_NEAR(static_cast<double>(states[0][i]), want, 1e-6) << isa << " " << i;
        EXPECT_NEAR(static_cast<double>(states[1][i]), m, 1e-6) << isa << " " << i;
        EXPECT_NEAR(static_cast<double>(states[2][i]), v, 2e-6) << isa << " " << i;
      }
    }
  }
}

TEST(CpuUpdate, SgdFollowsTheFormula) {
  for (const std::string& isa : instruction_sets()) {
    for (const int form : {0, 1, 2}) {  // plain, momentum, Nesterov
      const std::size_t n = 37;
      const Floats grads = floats_of(n, 1), p0 = floats_of(n, 2), m0 = floats_of(n, 3);
      std::vector<Floats> states{p0};
      if (form > 0) states.push_back(m0);
      update(isa, "sgd_update", {0.1, 0.5, 0.01, 0, kOff, 0.9, form == 2 ? 1.0 : 0.0}, grads,
             states, 0, n);
      for (std::size_t i = 0; i < n; ++i) {
        const double p = static_cast<double>(p0[i]);
        const double g = 0.5 * static_cast<double>(grads[i]) + 0.01 * p;
        const double m = 0.9 * static_cast<double>(m0[i]) + g;
        const double step = form == 0 ? g : form == 1 ? m : g + 0.9 * m;
        EXPECT_NEAR(static_cast<double>(states[0][i]), p - 0.1 * step, 1e-6) << isa << " " << form;
      }
    }
  }
}

TEST(CpuUpdate, RangesGiveTheBitsOfTheWhole) {
  constexpr std::size_t kSize = 200;
  for (const std::string& isa : instruction_sets()) {
    const Floats grads = floats_of(kSize, 1);
    const std::vector<Floats> start{floats_of(kSize, 2), floats_of(kSize, 3), Floats(kSize, 0.5f)};
    std::vector<Floats> whole = start, parts = start;
    update(isa, "adam_update", kAdam, grads, whole, 0, kSize);
    update(isa, "adam_update", kAdam, grads, parts, 0, 13);
    update(isa, "adam_update", kAdam, grads, parts, 13, 112);
    update(isa, "adam_update", kAdam, grads, parts, 112, kSize);
    EXPECT_EQ(whole, parts) << isa;
  }
}

TEST(CpuUpdate, AccumulateAddsEachElement) {
  for (const std::string& isa : instruction_sets()) {
    for (const std::size_t n : {1u, 16u, 35u}) {
      const Floats src = floats_of(n, 1), before = floats_of(n, 2);
      std::vector<Floats> dst{before};
      update(isa, "accumulate", {}, src, dst, 0, n);
      for (std::size_t i = 0; i < n; ++i) EXPECT_EQ(dst[0][i], before[i] + src[i]) << isa;
    }
  }
}

double sum_of_squares(const std::string& isa, const Floats& values) {
  const auto backend = tensor::make_cpu_backend(isa);
  const tensor::Attrs attrs;
  const std::vector<tensor::TensorType> ins{{{1}, DType::f32}}, outs{{{1}, DType::f64}};
  const auto kernel =
      backend->find("sum_of_squares")({.inputs = ins, .outputs = outs, .attrs = attrs});
  double sum = -1;
  const tensor::TensorType type{{static_cast<std::int64_t>(values.size())}, DType::f32};
  const std::vector<tensor::View> inputs{{const_cast<float*>(values.data()), type}};
  const std::vector<tensor::View> outputs{{&sum, outs[0]}};
  kernel->run({.inputs = inputs, .outputs = outputs, .scratch = nullptr, .run = {}});
  return sum;
}

TEST(CpuUpdate, SumOfSquaresIsExactToF64) {
  for (const std::string& isa : instruction_sets()) {
    for (const std::size_t n : {0u, 1u, 15u, 16u, 17u, 1000u}) {
      const Floats values = floats_of(n, 5);
      double want = 0;
      for (const float v : values) want += static_cast<double>(v) * static_cast<double>(v);
      EXPECT_NEAR(sum_of_squares(isa, values), want, 1e-12 * want) << isa << " " << n;
    }
  }
}

TEST(CpuUpdate, SumOfSquaresHasTheSameBitsInEveryInstructionSet) {
  const Floats values = floats_of(1003, 6);
  for (const std::string& isa : instruction_sets()) {
    EXPECT_EQ(sum_of_squares(isa, values), sum_of_squares("avx2", values)) << isa;
  }
}

}  // namespace
}  // namespace dlt::test
