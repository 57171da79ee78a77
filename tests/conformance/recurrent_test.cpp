// SPDX-License-Identifier: Apache-2.0
// Recurrent kernels at sizes that take several blocks of samples and several vectors, against the
// host kernels.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "conformance/kernel_case.h"

namespace dlt::test {
namespace {

using support::Fill;
using support::OpSample;
using tensor::Attrs;

// Of the largest number: weights as large as these multiply a rounding error with every step.
constexpr double kTolerance = 5e-5;

struct Case {
  std::int64_t batch, steps, units;
  bool initial = false, masked = false, reverse = false;
};

const std::vector<Case> kCases{
    {1, 1, 1},
    {70, 3, 17, true, true},
    {130, 2, 33, false, false, true},
    {11, 6, 64, false, true, true},
    {9, 5, 48, true, false, true},
};

/// op, how many gates, and for the gradients: the inputs of shape [B, T, H] behind the gates.
struct Form {
  const char* op;
  std::int64_t gates;
  bool gradient;
  int num_sequences;
  int num_states;  // first states among the inputs
};

const std::vector<Form> kForms{{"lstm", 4, false, 0, 2},       {"gru", 3, false, 0, 1},
                               {"simple_rnn", 1, false, 0, 1}, {"lstm_grad", 4, true, 1, 1},
                               {"gru_grad", 3, true, 2, 1},    {"simple_rnn_grad", 1, true, 0, 0}};

OpSample sample_of(const Form& form, const Case& c) {
  constexpr std::int64_t kYes = 1;
  OpSample sample{form.op, {}, {}};
  const auto input = [&](const tensor::Shape& shape, Fill fill = Fill::normal) {
    sample.inputs.push_back({shape, fill});
  };
  input({c.batch, c.steps, form.gates * c.units}, form.gradient ? Fill::probability : Fill::normal);
  for (int i = 0; i < form.num_sequences; ++i) input({c.batch, c.steps, c.units});
  input({c.units, form.gates * c.units});
  for (int i = 0; c.initial && i < form.num_states; ++i) input({c.batch, c.units});
  if (c.masked) input({c.batch, c.steps}, Fill::mask);
  if (c.initial) sample.attrs.set("initial", kYes);
  if (c.masked) sample.attrs.set("masked", kYes);
  if (c.reverse) sample.attrs.set("reverse", kYes);
  if (form.gradient) {
    sample.attrs.set("dy", kYes);
    sample.attrs.set("dlast_h", kYes);
    input({c.batch, c.steps, c.units});
    input({c.batch, c.units});
  }
  return sample;
}

class Recurrent : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Cpu, Recurrent, testing::ValuesIn(instruction_sets()),
                         [](const auto& isa) { return isa.param; });

TEST_P(Recurrent, AgreesWithTheHostKernelAtManySizes) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend(GetParam());
  for (const Form& form : kForms) {
    for (const Case& c : kCases) {
      const KernelCase test(table, sample_of(form, c), 7);
      const RunResult got = test.run(*backend), want = test.run_host();
      EXPECT_TRUE(got.guards_intact) << test.text();
      for (std::size_t out = 0; out < got.outputs.size(); ++out) {
        const auto g = got.as<float>(out), w = want.as<float>(out);
        double largest = 1e-3, worst = 0;
        for (std::size_t i = 0; i < g.size(); ++i) {
          largest = std::max(largest, std::abs(static_cast<double>(w[i])));
          const double error = std::abs(static_cast<double>(g[i]) - static_cast<double>(w[i]));
          if (!(error <= worst)) worst = error;
        }
        EXPECT_LE(worst, kTolerance * largest) << test.text() << " output " << out;
      }
    }
  }
}

/// The bits of a sample do not depend on the samples beside it.
TEST_P(Recurrent, SamplesAreIndependent) {
  const autodiff::OpTable table = ops::make_op_table();
  const auto backend = tensor::make_cpu_backend(GetParam());
  for (const Form& form : kForms) {
    const Case many{70, 3, 17}, one{1, 3, 17};
    KernelCase all(table, sample_of(form, many), 7), single(table, sample_of(form, one), 7);
    const OpSample sample = sample_of(form, many);
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      const auto from = all.input(i);
      const auto to = single.input(i);
      const bool shared = from.size() == to.size();
      std::copy_n(shared ? from.begin() : from.end() - std::ssize(to), to.size(), to.begin());
    }
    const auto wide = all.run(*backend).as<float>(0), narrow = single.run(*backend).as<float>(0);
    EXPECT_TRUE(std::equal(narrow.begin(), narrow.end(), wide.end() - std::ssize(narrow)))
        << form.op;
  }
}

}  // namespace
}  // namespace dlt::test
