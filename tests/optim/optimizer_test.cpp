// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer.h"

#include <fstream>
#include <map>
#include <sstream>

#include <gtest/gtest.h>

#include "optim/no_kernels.h"
#include "support/allocation_count.h"

namespace dlt::optim {
namespace {

constexpr std::int64_t kGoldenSize = 8;

std::unique_ptr<Optimizer> make(const std::string& yaml, const tensor::Backend& backend) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("o.yaml", "optimizer: " + yaml + "\n", diagnostics);
  auto optimizer = make_optimizer(root.find("optimizer"), diagnostics, backend);
  EXPECT_NE(optimizer, nullptr) << diagnostics.text();
  return optimizer;
}

/// Flat buffers of an optimiser, padded to a multiple of 16 with zeros.
struct Buffers {
  Buffers(const Optimizer& optimizer, std::int64_t total)
      : params(static_cast<std::size_t>(total), 0.0f), grads(params) {
    for (std::size_t i = 0; i < optimizer.state_names().size(); ++i) memory.push_back(params);
    for (std::vector<float>& state : memory) states.push_back(state.data());
  }
  std::vector<float> params, grads;
  std::vector<std::vector<float>> memory;
  std::vector<float*> states;
};

// The formulas of tests/golden/make_optim.py.
float golden_start(std::int64_t i) { return static_cast<float>(i * 29 % 31 - 15) / 16.0f; }
float golden_gradient(std::int64_t i, std::int64_t step) {
  return static_cast<float>((i * 37 + step * 17) % 101 - 50) / 64.0f;
}

std::vector<float> run_golden(const std::string& yaml, std::int64_t steps,
                              const tensor::Backend& backend) {
  const auto optimizer = make(yaml, backend);
  Buffers buffers(*optimizer, 16);
  for (std::int64_t i = 0; i < kGoldenSize; ++i) {
    buffers.params[static_cast<std::size_t>(i)] = golden_start(i);
  }
  for (std::int64_t step = 0; step < steps; ++step) {
    for (std::int64_t i = 0; i < kGoldenSize; ++i) {
      // A scale of one half undoes what a sum of two samples' weights does.
      buffers.grads[static_cast<std::size_t>(i)] = 2.0f * golden_gradient(i, step);
    }
    optimizer->update({.params = buffers.params.data(),
                       .grads = buffers.grads.data(),
                       .begin = 0,
                       .end = 16,
                       .step = step,
                       .learning_rate = optimizer->learning_rate(),
                       .grad_scale = 0.5},
                      buffers.states);
  }
  return buffers.params;
}

void expect_golden(const tensor::Backend& backend) {
  std::ifstream file("tests/golden/optim.txt");
  ASSERT_TRUE(file.is_open());
  std::map<std::string, std::string> configs;
  int checked = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    const std::size_t first = line.find(" | "), second = line.find(" | ", first + 3);
    const std::string name = line.substr(0, first);
    if (second == std::string::npos) {
      configs[name] = line.substr(first + 3);
      continue;
    }
    const std::int64_t steps = std::stoll(line.substr(first + 3));
    const std::vector<float> got = run_golden(configs.at(name), steps, backend);
    std::istringstream wanted(line.substr(second + 3));
    for (std::size_t i = 0; i < kGoldenSize; ++i) {
      double value = 0;
      ASSERT_TRUE(wanted >> value);
      EXPECT_NEAR(static_cast<double>(got[i]), value, 1e-5)
          << name << " step " << steps << " element " << i;
    }
    for (std::size_t i = kGoldenSize; i < got.size(); ++i) EXPECT_EQ(got[i], 0.0f) << name;
    ++checked;
  }
  EXPECT_EQ(checked, 32);
}

const std::vector<std::string>& configs() {
  static const std::vector<std::string> all{
      "{name: sgd, learning_rate: 0.1, weight_decay: 0.01}", "{name: sgd, momentum: 0.9}",
      "{name: sgd, momentum: 0.9, nesterov: true}", "{name: adam, weight_decay: 0.01}",
      "{name: adamw, learning_rate: 0.01}"};
  return all;
}

/// Parameters after three steps, each over the ranges that end at `ends`.
std::vector<float> run_ranges(const std::string& yaml, const tensor::Backend& backend,
                              const std::vector<std::int64_t>& ends) {
  const auto optimizer = make(yaml, backend);
  const std::int64_t total = ends.back();
  Buffers buffers(*optimizer, total);
  for (std::int64_t i = 0; i < total; ++i) {
    buffers.params[static_cast<std::size_t>(i)] = golden_start(i);
  }
  for (std::int64_t step = 0; step < 3; ++step) {
    for (std::int64_t i = 0; i < total; ++i) {
      buffers.grads[static_cast<std::size_t>(i)] = golden_gradient(i, step);
    }
    std::int64_t begin = 0;
    for (const std::int64_t end : ends) {
      optimizer->update({.params = buffers.params.data(),
                         .grads = buffers.grads.data(),
                         .begin = begin,
                         .end = end,
                         .step = step,
                         .learning_rate = 0.01,
                         .grad_scale = 1.0 / 3.0},
                        buffers.states);
      begin = end;
    }
  }
  return buffers.params;
}

TEST(Optimizer, HostFunctionsFollowPyTorch) { expect_golden(NoKernels()); }

TEST(Optimizer, CpuKernelsFollowPyTorch) { expect_golden(*tensor::make_cpu_backend()); }

TEST(Optimizer, RangesGiveTheSameBitsAsTheWhole) {
  const auto cpu = tensor::make_cpu_backend();
  const NoKernels none;
  for (const std::string& yaml : configs()) {
    for (const tensor::Backend* backend : {static_cast<const tensor::Backend*>(&none),
                                           static_cast<const tensor::Backend*>(cpu.get())}) {
      const std::vector<float> whole = run_ranges(yaml, *backend, {480});
      EXPECT_EQ(run_ranges(yaml, *backend, {16, 48, 208, 480}), whole) << yaml;
      EXPECT_EQ(run_ranges(yaml, *backend, {304, 304, 480}), whole) << yaml;
    }
  }
}

TEST(Optimizer, TouchesNothingOutsideItsRange) {
  const NoKernels none;
  for (const std::string& yaml : configs()) {
    const auto optimizer = make(yaml, none);
    Buffers buffers(*optimizer, 64);
    std::fill(buffers.params.begin(), buffers.params.end(), 1.0f);
    std::fill(buffers.grads.begin(), buffers.grads.end(), 1.0f);
    optimizer->update({.params = buffers.params.data(),
                       .grads = buffers.grads.data(),
                       .begin = 16,
                       .end = 32,
                       .step = 0,
                       .learning_rate = 0.1},
                      buffers.states);
    for (std::size_t i = 0; i < 64; ++i) {
      const bool inside = i >= 16 && i < 32;
      EXPECT_EQ(buffers.params[i] != 1.0f, inside) << yaml << " element " << i;
      for (const std::vector<float>& state : buffers.memory) {
        EXPECT_EQ(state[i] != 0.0f, inside) << yaml << " element " << i;
      }
    }
  }
}

TEST(Optimizer, UpdateAllocatesNothing) {
  const auto cpu = tensor::make_cpu_backend();
  const NoKernels none;
  for (const std::string& yaml : configs()) {
    for (const tensor::Backend* backend : {static_cast<const tensor::Backend*>(&none),
                                           static_cast<const tensor::Backend*>(cpu.get())}) {
      const auto optimizer = make(yaml, *backend);
      Buffers buffers(*optimizer, 64);
      const UpdateArgs args{.params = buffers.params.data(),
                            .grads = buffers.grads.data(),
                            .begin = 0,
                            .end = 64,
                            .step = 0,
                            .learning_rate = 0.1};
      const long before = test::num_allocations();
      optimizer->update(args, buffers.states);
      EXPECT_EQ(test::num_allocations(), before) << yaml;
    }
  }
}

TEST(Optimizer, NamesItsStates) {
  const NoKernels none;
  EXPECT_EQ(make("adam", none)->state_names(), (std::vector<std::string>{"m", "v"}));
  EXPECT_EQ(make("adamw", none)->state_names(), (std::vector<std::string>{"m", "v"}));
  EXPECT_TRUE(make("sgd", none)->state_names().empty());
  EXPECT_EQ(make("{name: sgd, momentum: 0.5}", none)->state_names(),
            std::vector<std::string>{"momentum"});
}

TEST(Optimizer, ALearningRateOfZeroMovesNothing) {
  const NoKernels none;
  for (const std::string& yaml : configs()) {
    const auto optimizer = make(yaml, none);
    Buffers buffers(*optimizer, 16);
    std::fill(buffers.params.begin(), buffers.params.end(), 0.7f);
    std::fill(buffers.grads.begin(), buffers.grads.end(), 2.0f);
    const std::vector<float> before = buffers.params;
    optimizer->update({.params = buffers.params.data(),
                       .grads = buffers.grads.data(),
                       .begin = 0,
                       .end = 16,
                       .step = 3,
                       .learning_rate = 0},
                      buffers.states);
    EXPECT_EQ(buffers.params, before) << yaml;
  }
}

TEST(Optimizer, NamesAreAlphabetical) {
  EXPECT_EQ(optimizer_names(), (std::vector<std::string>{"adam", "adamw", "sgd"}));
}

}  // namespace
}  // namespace dlt::optim
