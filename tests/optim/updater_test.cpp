// SPDX-License-Identifier: Apache-2.0
#include "optim/updater.h"

#include <cmath>
#include <cstring>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "optim/no_kernels.h"
#include "support/allocation_count.h"

namespace dlt::optim {
namespace {

using Floats = std::vector<float>;

/// Large enough for several workers and several blocks a parameter.
tensor::FlatLayout layout_of_four() {
  tensor::FlatLayout layout;
  layout.append("dense_2.bias", {7});
  layout.append("dense_2.weight", {300, 131});
  layout.append("dense_1.bias", {131});
  layout.append("dense_1.weight", {400, 131});
  return layout;
}

Floats filled(const tensor::FlatLayout& layout, std::uint64_t seed) {
  Floats flat(static_cast<std::size_t>(layout.total), 0.0f);
  for (const auto& entry : layout.entries) {
    for (std::int64_t i = 0; i < entry.numel; ++i) {
      const auto at = static_cast<std::size_t>(entry.offset + i);
      flat[at] = rng::normal({.seed = seed}, at);
    }
  }
  return flat;
}

std::unique_ptr<Optimizer> make_named(const std::string& yaml, const tensor::Backend& backend) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("o.yaml", "optimizer: " + yaml + "\n", diagnostics);
  auto optimizer = make_optimizer(root.find("optimizer"), diagnostics, backend);
  EXPECT_NE(optimizer, nullptr) << diagnostics.text();
  return optimizer;
}

struct Result {
  Floats params, average;
  double norm = 0;
  long allocations = 0;  // of the steps behind the first
  friend bool operator==(const Result& a, const Result& b) {
    return a.params == b.params && a.average == b.average && a.norm == b.norm;
  }
};

/// Three steps with an average behind each.
Result run(const std::string& yaml, int workers, const tensor::Backend& backend,
           const UpdaterOptions& options = {}) {
  const tensor::FlatLayout layout = layout_of_four();
  const auto optimizer = make_named(yaml, backend);
  ThreadPool pool(workers);
  Updater updater(*optimizer, layout, backend, pool, options);
  Result out{.params = filled(layout, 1), .average = Floats(filled(layout, 1).size(), 0.0f)};
  std::vector<Floats> memory(optimizer->state_names().size(), Floats(out.params.size(), 0.0f));
  std::vector<float*> states;
  for (Floats& state : memory) states.push_back(state.data());
  for (std::int64_t step = 0; step < 3; ++step) {
    const Floats grads = filled(layout, 2 + static_cast<std::uint64_t>(step));
    const long before = test::num_allocations();
    out.norm = updater.gradient_norm(grads.data());
    updater.update({.params = out.params.data(),
                    .grads = grads.data(),
                    .states = &states,
                    .average = out.average.data(),
                    .average_weight = step == 0 ? 1.0 : 0.25,
                    .step = step,
                    .learning_rate = 0.01,
                    .grad_scale = 0.1});
    if (step > 0) out.allocations += test::num_allocations() - before;
  }
  return out;
}

const std::vector<std::string>& updater_configs() {
  static const std::vector<std::string> all{
      "{name: sgd, momentum: 0.9}", "adamw", "lamb", "{name: lars, learning_rate: 1}",
      "{name: lamb, groups: [{match: '*.bias', weight_decay: 0, adapt: false}, "
      "{match: dense_1.weight, learning_rate_factor: 0.5, l1: 0.001}]}"};
  return all;
}

TEST(Updater, BitsDoNotDependOnTheNumberOfWorkers) {
  const auto backend = tensor::make_cpu_backend();
  for (const std::string& yaml : updater_configs()) {
    const Result one = run(yaml, 1, *backend);
    for (const int workers : {2, 3, 4}) EXPECT_EQ(run(yaml, workers, *backend), one) << yaml;
  }
}

TEST(Updater, AllocatesNothing) {
  const auto backend = tensor::make_cpu_backend();
  for (const std::string& yaml : updater_configs()) {
    EXPECT_EQ(run(yaml, 1, *backend).allocations, 0) << yaml;
    EXPECT_EQ(run(yaml, 3, *backend).allocations, 0) << yaml;
  }
}

TEST(Updater, KernelsAgreeWithHostFunctions) {
  const auto backend = tensor::make_cpu_backend();
  for (const std::string& yaml : updater_configs()) {
    const Result cpu = run(yaml, 2, *backend), host = run(yaml, 2, NoKernels());
    for (std::size_t i = 0; i < cpu.params.size(); ++i) {
      ASSERT_NEAR(cpu.params[i], host.params[i], 1e-5f) << yaml << " " << i;
      ASSERT_NEAR(cpu.average[i], host.average[i], 1e-5f) << yaml << " " << i;
    }
    EXPECT_NEAR(cpu.norm, host.norm, 1e-9 * host.norm);
  }
}

Floats part(const Floats& flat, const std::string& name) {
  const tensor::FlatLayout layout = layout_of_four();
  const auto* entry = layout.find(name);
  const auto begin = flat.begin() + entry->offset;
  return {begin, begin + entry->numel};
}

TEST(Updater, FrozenAndExcludedParametersStayAndCountInNoNorm) {
  const auto backend = tensor::make_cpu_backend();
  const Floats start = filled(layout_of_four(), 1);
  const Result all = run("sgd", 2, *backend);
  const Result some = run("{name: sgd, groups: [{match: 'dense_2.*', freeze: true}]}", 2, *backend,
                          {.excluded = {"dense_1.bias"}});
  for (const char* name : {"dense_2.weight", "dense_2.bias", "dense_1.bias"}) {
    EXPECT_EQ(part(some.params, name), part(start, name)) << name;
  }
  EXPECT_EQ(part(some.params, "dense_1.weight"), part(all.params, "dense_1.weight"));
  double wanted = 0;
  for (const float g : part(filled(layout_of_four(), 4), "dense_1.weight")) {
    wanted += static_cast<double>(g) * static_cast<double>(g);
  }
  EXPECT_NEAR(some.norm, std::sqrt(wanted), 1e-9 * some.norm);
  EXPECT_GT(all.norm, some.norm);
}

TEST(Updater, LearningRateFactorScalesTheStepOfItsGroup) {
  const auto backend = tensor::make_cpu_backend();
  const Floats start = part(filled(layout_of_four(), 1), "dense_1.bias");
  const Floats full = part(run("sgd", 1, *backend).params, "dense_1.bias");
  const Floats half =
      part(run("{name: sgd, groups: [{match: '*.bias', learning_rate_factor: 0.5}]}", 1, *backend)
               .params,
           "dense_1.bias");
  for (std::size_t i = 0; i < start.size(); ++i) {
    EXPECT_NEAR(half[i] - start[i], 0.5f * (full[i] - start[i]), 1e-6f);
  }
}

TEST(Updater, ClipValueBoundsEachElement) {
  const auto backend = tensor::make_cpu_backend();
  const Floats start = filled(layout_of_four(), 1);
  const Result clipped = run("sgd", 2, *backend, {.clip_value = 0.01});
  float largest = 0;
  for (std::size_t i = 0; i < start.size(); ++i) {
    largest = std::max(largest, std::abs(clipped.params[i] - start[i]));
  }
  EXPECT_LE(largest, 3 * 0.01f * 0.01f * 1.01f);
  EXPECT_GT(largest, 2.9f * 0.01f * 0.01f);
}

double norm_of(const tensor::FlatLayout& layout, const tensor::Backend& backend,
               const Floats& flat) {
  const auto optimizer = make_named("sgd", backend);
  ThreadPool pool(1);
  return Updater(*optimizer, layout, backend, pool, {}).gradient_norm(flat.data());
}

TEST(Updater, NormAddsEveryParameterAndNoGap) {
  tensor::FlatLayout layout;
  layout.append("a", {3, 7});
  layout.append("b", {5});
  const auto cpu = tensor::make_cpu_backend();
  Floats flat(static_cast<std::size_t>(layout.total), 0.0f);
  for (std::size_t i = 0; i < 21; ++i) flat[i] = 2.0f;
  for (std::size_t i = 32; i < 37; ++i) flat[i] = 2.0f;
  flat[23] = 1000.0f;  // a gap
  EXPECT_EQ(norm_of(layout, *cpu, flat), std::sqrt(26 * 4.0));
  EXPECT_EQ(norm_of(layout, NoKernels(), flat), std::sqrt(26 * 4.0));
  flat[2] = NAN;
  EXPECT_TRUE(std::isnan(norm_of(layout, *cpu, flat)));
  flat[2] = -INFINITY;
  EXPECT_EQ(norm_of(layout, *cpu, flat), INFINITY);
}

TEST(Updater, NormKeepsDigitsThatF32Loses) {
  tensor::FlatLayout layout;
  layout.append("w", {100003});
  Floats flat(static_cast<std::size_t>(layout.total), 0.0f);
  for (std::size_t i = 0; i < 100003; ++i) flat[i] = 0.1f;
  const double one = static_cast<double>(0.1f) * static_cast<double>(0.1f);
  EXPECT_NEAR(norm_of(layout, *tensor::make_cpu_backend(), flat), std::sqrt(100003 * one), 1e-10);
}

}  // namespace
}  // namespace dlt::optim
