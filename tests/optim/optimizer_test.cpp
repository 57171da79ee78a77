// SPDX-License-Identifier: Apache-2.0
#include "optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

#include "optim/no_kernels.h"
#include "support/allocation_count.h"

namespace dlt::optim {
namespace {

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

float start(std::int64_t i) { return static_cast<float>(i * 29 % 31 - 15) / 16.0f; }
float gradient(std::int64_t i, std::int64_t step) {
  return static_cast<float>((i * 37 + step * 17) % 101 - 50) / 64.0f;
}

/// One update of a range; an optimiser that adapts measures it first.
void apply(const Optimizer& optimizer, const UpdateArgs& args, const Buffers& buffers) {
  double sums[2] = {};
  if (optimizer.adapts()) optimizer.measure(args, buffers.states, sums);
  optimizer.update(args, buffers.states);
}

const std::vector<std::string>& configs() {
  static const std::vector<std::string> all{"{name: sgd, learning_rate: 0.1, weight_decay: 0.01}",
                                            "{name: sgd, momentum: 0.9}",
                                            "{name: sgd, momentum: 0.9, nesterov: true}",
                                            "{name: adam, weight_decay: 0.01}",
                                            "{name: adam, amsgrad: true}",
                                            "{name: adamw, learning_rate: 0.01}",
                                            "adadelta",
                                            "adagrad",
                                            "adamax",
                                            "nadam",
                                            "{name: rmsprop, momentum: 0.5, centered: true}",
                                            "lion",
                                            "{name: lars, weight_decay: 0.01}",
                                            "lamb"};
  return all;
}

/// Parameters after three steps, each over the ranges that end at `ends`.
std::vector<float> run_ranges(const std::string& yaml, const tensor::Backend& backend,
                              const std::vector<std::int64_t>& ends) {
  const auto optimizer = make(yaml, backend);
  const std::int64_t total = ends.back();
  Buffers buffers(*optimizer, total);
  for (std::int64_t i = 0; i < total; ++i) {
    buffers.params[static_cast<std::size_t>(i)] = start(i);
  }
  for (std::int64_t step = 0; step < 3; ++step) {
    for (std::int64_t i = 0; i < total; ++i) {
      buffers.grads[static_cast<std::size_t>(i)] = gradient(i, step);
    }
    std::int64_t begin = 0;
    for (const std::int64_t end : ends) {
      apply(*optimizer,
            {.params = buffers.params.data(),
             .grads = buffers.grads.data(),
             .begin = begin,
             .end = end,
             .step = step,
             .learning_rate = 0.01,
             .grad_scale = 1.0 / 3.0},
            buffers);
      begin = end;
    }
  }
  return buffers.params;
}

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
    apply(*optimizer,
          {.params = buffers.params.data(),
           .grads = buffers.grads.data(),
           .begin = 16,
           .end = 32,
           .step = 0,
           .learning_rate = 0.1},
          buffers);
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
      apply(*optimizer, args, buffers);
      EXPECT_EQ(test::num_allocations(), before) << yaml;
    }
  }
}

/// The gradient as an SGD step with learning rate 1 shows it, for p = 0.5, -0.5, 0.
std::vector<float> seen_gradient(const tensor::Backend& backend, const UpdateArgs& settings) {
  const auto optimizer = make("{name: sgd, learning_rate: 1}", backend);
  std::vector<float> params(16, 0.0f), grads(16, 0.0f), before;
  params[0] = 0.5f;
  params[1] = -0.5f;
  grads[0] = 3.0f;
  grads[1] = -3.0f;
  grads[2] = 0.25f;
  before = params;
  UpdateArgs args = settings;
  args.params = params.data();
  args.grads = grads.data();
  args.end = 16;
  args.learning_rate = 1;
  optimizer->update(args, {});
  std::vector<float> seen;
  for (std::size_t i = 0; i < 4; ++i) seen.push_back(before[i] - params[i]);
  return seen;
}

TEST(Optimizer, GradientIsScaledThenClippedThenRegularised) {
  const auto cpu = tensor::make_cpu_backend();
  const NoKernels none;
  for (const tensor::Backend* backend : {static_cast<const tensor::Backend*>(&none),
                                         static_cast<const tensor::Backend*>(cpu.get())}) {
    using Floats = std::vector<float>;
    EXPECT_EQ(seen_gradient(*backend, {.grad_scale = 0.5}), (Floats{1.5f, -1.5f, 0.125f, 0}));
    EXPECT_EQ(seen_gradient(*backend, {.grad_scale = 0.5, .clip_value = 1}),
              (Floats{1, -1, 0.125f, 0}));
    EXPECT_EQ(seen_gradient(*backend, {.clip_value = 1, .weight_decay = 0.5}),
              (Floats{1.25f, -1.25f, 0.25f, 0}));
    // Keras's penalties: l1·|p| and l2·p², so that l2 counts twice in the gradient.
    EXPECT_EQ(seen_gradient(*backend, {.l1 = 0.125, .l2 = 0.25}),
              (Floats{3.375f, -3.375f, 0.25f, 0}));
  }
}

TEST(Optimizer, AClippedGradientThatIsNoNumberStaysNone) {
  const auto cpu = tensor::make_cpu_backend();
  const NoKernels none;
  for (const tensor::Backend* backend : {static_cast<const tensor::Backend*>(&none),
                                         static_cast<const tensor::Backend*>(cpu.get())}) {
    const auto optimizer = make("sgd", *backend);
    std::vector<float> params(16, 1.0f), grads(16, NAN);
    optimizer->update({.params = params.data(),
                       .grads = grads.data(),
                       .begin = 0,
                       .end = 16,
                       .learning_rate = 0.1,
                       .clip_value = 1},
                      {});
    for (const float p : params) EXPECT_TRUE(std::isnan(p));
  }
}

TEST(Optimizer, NamesItsStates) {
  const NoKernels none;
  EXPECT_EQ(make("adam", none)->state_names(), (std::vector<std::string>{"m", "v"}));
  EXPECT_EQ(make("adamw", none)->state_names(), (std::vector<std::string>{"m", "v"}));
  EXPECT_TRUE(make("sgd", none)->state_names().empty());
  EXPECT_EQ(make("{name: sgd, momentum: 0.5}", none)->state_names(),
            std::vector<std::string>{"momentum"});
  EXPECT_EQ(make("{name: adam, amsgrad: true}", none)->state_names(),
            (std::vector<std::string>{"m", "v", "v_max"}));
  EXPECT_EQ(make("rmsprop", none)->state_names(), std::vector<std::string>{"square_avg"});
  EXPECT_EQ(make("{name: rmsprop, momentum: 0.5, centered: true}", none)->state_names(),
            (std::vector<std::string>{"square_avg", "momentum", "grad_avg"}));
}

TEST(Optimizer, ALearningRateOfZeroMovesNothing) {
  const NoKernels none;
  for (const std::string& yaml : configs()) {
    const auto optimizer = make(yaml, none);
    Buffers buffers(*optimizer, 16);
    std::fill(buffers.params.begin(), buffers.params.end(), 0.7f);
    std::fill(buffers.grads.begin(), buffers.grads.end(), 2.0f);
    const std::vector<float> before = buffers.params;
    apply(*optimizer,
          {.params = buffers.params.data(),
           .grads = buffers.grads.data(),
           .begin = 0,
           .end = 16,
           .step = 3,
           .learning_rate = 0},
          buffers);
    EXPECT_EQ(buffers.params, before) << yaml;
  }
}

TEST(Optimizer, NamesAreAlphabetical) {
  const std::vector<std::string> names = optimizer_names();
  EXPECT_EQ(names.size(), 11u);
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
}

}  // namespace
}  // namespace dlt::optim
