// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels where floating point is not like numbers, and how exact they are elsewhere.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "conformance/kernel_case.h"
#include "support/tolerance.h"

namespace dlt::test {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = 1e-40f;  // below the smallest normal number
const std::vector<float> kSpecial{0.0f,   -0.0f,   kInf,   -kInf,  kNan,   kTiny,   -kTiny,  1.0f,
                                  -1.0f,  87.0f,   -87.0f, 89.5f,  -89.5f, -103.0f, -200.0f, 200.0f,
                                  1e-20f, -1e-20f, 3e38f,  -3e38f, 0.625f, 9.1f};

const char* const kUnary[] = {"relu", "leaky_relu", "tanh",   "sigmoid", "softplus", "silu", "gelu",
                              "exp",  "log",        "square", "abs",     "sqrt",     "neg"};

/// All elements of f(x) by the kernel and by the host kernel.
struct Both {
  std::vector<float> got, want;
  Both(const std::string& isa, const std::string& op, const std::vector<float>& x) {
    const autodiff::OpTable table = ops::make_op_table();
    const auto n = static_cast<std::int64_t>(x.size());
    KernelCase test(table, {op, {{{n}}}, {}}, 1);
    std::copy(x.begin(), x.end(), test.input(0).begin());
    got = test.run(*tensor::make_cpu_backend(isa)).as<float>(0);
    want = test.run_host().as<float>(0);
  }
};

TEST(SpecialValues, UnaryKernelsTreatThemAsTheHostDoes) {
  for (const std::string& isa : instruction_sets()) {
    for (const char* op : kUnary) {
      const Both both(isa, op, kSpecial);
      for (std::size_t i = 0; i < kSpecial.size(); ++i) {
        EXPECT_TRUE(support::close(static_cast<double>(both.got[i]),
                                   static_cast<double>(both.want[i]),
                                   support::tolerance(DType::f32)))
            << isa << " " << op << "(" << kSpecial[i] << ") = " << both.got[i] << ", want "
            << both.want[i];
      }
    }
  }
}

TEST(SpecialValues, BinaryKernelsTreatThemAsTheHostDoes) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto size = static_cast<std::int64_t>(kSpecial.size());
  for (const std::string& isa : instruction_sets()) {
    for (const char* op : {"add", "sub", "mul", "div", "relu_grad", "leaky_relu_grad", "tanh_grad",
                           "sigmoid_grad", "abs_grad"}) {
      KernelCase test(table, {op, {{{size, size}}, {{size, size}}}, {}}, 1);
      for (std::size_t i = 0; i < kSpecial.size() * kSpecial.size(); ++i) {
        test.input(0)[i] = kSpecial[i / kSpecial.size()];
        test.input(1)[i] = kSpecial[i % kSpecial.size()];
      }
      const auto got = test.run(*tensor::make_cpu_backend(isa)).as<float>(0);
      const auto want = test.run_host().as<float>(0);
      // f32 intermediates overflow where the host's f64 do not: only sizes of training count.
      for (std::size_t i = 0; i < got.size(); ++i) {
        const float a = test.input(0)[i], b = test.input(1)[i];
        const bool huge =
            (std::abs(a) > 1e18f && !std::isinf(a)) || (std::abs(b) > 1e18f && !std::isinf(b));
        if (huge && std::string(op).ends_with("_grad")) continue;
        EXPECT_TRUE(support::close(static_cast<double>(got[i]), static_cast<double>(want[i]),
                                   support::tolerance(DType::f32)))
            << isa << " " << op << "(" << a << ", " << b << ") = " << got[i] << ", want "
            << want[i];
      }
    }
  }
}

TEST(SpecialValues, NumbersBelowTheNormalOnesAreKept) {
  for (const std::string& isa : instruction_sets()) {
    EXPECT_NEAR(static_cast<double>(Both(isa, "exp", {-100.0f}).got[0]), std::exp(-100.0), 1.5e-45);
    EXPECT_NEAR(static_cast<double>(Both(isa, "sigmoid", {-100.0f}).got[0]), std::exp(-100.0),
                1.5e-45);
    EXPECT_NEAR(static_cast<double>(Both(isa, "log", {kTiny}).got[0]),
                std::log(static_cast<double>(kTiny)), 1e-5);
    EXPECT_EQ(Both(isa, "neg", {kTiny}).got[0], -kTiny);
    EXPECT_EQ(Both(isa, "relu", {kTiny}).got[0], kTiny);
  }
}

TEST(SpecialValues, NanInARowMakesItsSoftmaxNan) {
  const autodiff::OpTable table = ops::make_op_table();
  for (const std::string& isa : instruction_sets()) {
    for (const char* op : {"softmax", "log_softmax"}) {
      for (const std::size_t n : {5u, 16u, 40u}) {
        for (std::size_t at = 0; at < n; ++at) {
          KernelCase test(table, {op, {{{2, static_cast<std::int64_t>(n)}}}, {}}, 1);
          test.input(0)[at] = kNan;
          const auto y = test.run(*tensor::make_cpu_backend(isa)).as<float>(0);
          for (std::size_t j = 0; j < 2 * n; ++j) {
            EXPECT_EQ(std::isnan(y[j]), j < n) << isa << " " << op << " n " << n << " " << j;
          }
        }
      }
    }
  }
}

/// Largest relative error over an even spread of x.
double worst_error(const std::string& isa, const std::string& op, double low, double high) {
  std::vector<float> x(20001);
  for (std::size_t i = 0; i < x.size(); ++i) {
    x[i] = static_cast<float>(low + (high - low) * static_cast<double>(i) / 20000.0);
  }
  const Both both(isa, op, x);
  double worst = 0;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double want = static_cast<double>(both.want[i]);
    if (std::abs(want) < 1.2e-38) continue;
    const double error = std::abs(static_cast<double>(both.got[i]) - want) / std::abs(want);
    if (!(error <= worst)) worst = error;
  }
  return worst;
}

TEST(Accuracy, GeluByTanhIsItsFormulaEverywhere) {
  const autodiff::OpTable table = ops::make_op_table();
  std::vector<float> x = kSpecial;
  for (int i = -3000; i <= 3000; ++i) x.push_back(static_cast<float>(i) * 0.005f);
  const auto n = static_cast<std::int64_t>(x.size());
  for (const std::string& isa : instruction_sets()) {
    for (const bool grad : {false, true}) {
      support::OpSample sample{"gelu", {{{n}}}, {{"approximate", std::string("tanh")}}};
      if (grad) sample = {"gelu_grad", {{{n}}, {{n}}}, sample.attrs};
      KernelCase test(table, sample, 1);
      std::copy(x.begin(), x.end(), test.input(0).begin());
      if (grad) std::fill(test.input(1).begin(), test.input(1).end(), 1.0f);
      const auto got = test.run(*tensor::make_cpu_backend(isa)).as<float>(0);
      const auto want = test.run_host().as<float>(0);
      for (std::size_t i = 0; i < x.size(); ++i) {
        if (grad && std::abs(x[i]) > 1e18f) continue;  // x³ overflows in f32, not on the host
        EXPECT_TRUE(
            support::close(static_cast<double>(got[i]), static_cast<double>(want[i]), {2e-6, 1e-6}))
            << isa << (grad ? " grad " : " ") << x[i] << ": " << got[i] << ", want " << want[i];
      }
    }
  }
}

TEST(Accuracy, ElementaryFunctionsAreWithinAFewRoundings) {
  constexpr double kRounding = 0x1p-24;  // half the distance of two numbers, relative
  struct Range {
    const char* op;
    double low, high, limit;
  };
  for (const std::string& isa : instruction_sets()) {
    for (const Range& r :
         {Range{"exp", -87, 88, 4}, Range{"exp", -1, 1, 4}, Range{"log", 1e-6, 10, 4},
          Range{"log", 0.9, 1.1, 4}, Range{"tanh", -10, 10, 6}, Range{"tanh", -0.7, 0.7, 6},
          Range{"sigmoid", -80, 80, 6}, Range{"softplus", -80, 80, 8}, Range{"silu", -80, 80, 8},
          Range{"gelu", -3, 8, 24}}) {
      EXPECT_LT(worst_error(isa, r.op, r.low, r.high), r.limit * kRounding)
          << isa << " " << r.op << " from " << r.low << " to " << r.high;
    }
  }
}

}  // namespace
}  // namespace dlt::test
