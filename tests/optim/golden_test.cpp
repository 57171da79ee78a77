// SPDX-License-Identifier: Apache-2.0
// Optimisers, schedules and averages against PyTorch, from the files of tests/golden/make_optim.py.
#include <algorithm>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "optim/no_kernels.h"
#include "optim/schedule.h"
#include "optim/updater.h"

namespace dlt::optim {
namespace {

constexpr std::int64_t kSize = 8;  // numbers, in parameters of 5 and 3
constexpr std::int64_t kSteps = 100;

// The formulas of make_optim.py.
float golden_start(std::int64_t i) { return static_cast<float>(i * 29 % 31 - 15) / 16.0f; }
float golden_gradient(std::int64_t i, std::int64_t step) {
  return static_cast<float>((i * 37 + step * 17) % 101 - 50) / 64.0f;
}
double measured(int i) {
  return std::max(1.0 - i / 16.0, 0.25) + (i * 37 % 11) / 512.0 + (i == 30 ? 0.5 : 0.0);
}

tensor::FlatLayout golden_layout() {
  tensor::FlatLayout layout;
  layout.append("a", {5});
  layout.append("b", {3});
  return layout;
}
std::size_t place_of(std::int64_t i) { return static_cast<std::size_t>(i < 5 ? i : 16 + i - 5); }

/// The parts of each line of a golden file, comments left out.
std::vector<std::vector<std::string>> lines_of(const std::string& name) {
  std::ifstream file("tests/golden/" + name);
  EXPECT_TRUE(file.is_open()) << name;
  std::vector<std::vector<std::string>> lines;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) continue;
    std::vector<std::string> parts;
    std::size_t begin = 0;
    for (std::size_t bar = line.find(" | "); bar != std::string::npos;
         bar = line.find(" | ", begin)) {
      parts.push_back(line.substr(begin, bar - begin));
      begin = bar + 3;
    }
    parts.push_back(line.substr(begin));
    lines.push_back(parts);
  }
  return lines;
}

std::vector<double> numbers(const std::string& text) {
  std::istringstream in(text);
  std::vector<double> values;
  for (double value = 0; in >> value;) values.push_back(value);
  return values;
}

/// Parameters of the whole flat buffer after some steps.
std::vector<float> run_golden(const std::string& yaml, std::int64_t steps,
                              const tensor::Backend& backend) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("o.yaml", "optimizer: " + yaml + "\n", diagnostics);
  const auto optimizer = make_optimizer(root.find("optimizer"), diagnostics, backend);
  EXPECT_NE(optimizer, nullptr) << diagnostics.text();
  const tensor::FlatLayout layout = golden_layout();
  const auto total = static_cast<std::size_t>(layout.total);
  std::vector<float> params(total, 0.0f), grads(total, 0.0f);
  std::vector<std::vector<float>> memory(optimizer->state_names().size(), grads);
  std::vector<float*> states;
  for (std::vector<float>& state : memory) states.push_back(state.data());
  ThreadPool pool(1);
  Updater updater(*optimizer, layout, backend, pool, {});
  for (std::int64_t i = 0; i < kSize; ++i) params[place_of(i)] = golden_start(i);
  for (std::int64_t step = 0; step < steps; ++step) {
    // A scale of one half undoes what a sum of two samples' weights does.
    for (std::int64_t i = 0; i < kSize; ++i) grads[place_of(i)] = 2.0f * golden_gradient(i, step);
    updater.update({.params = params.data(),
                    .grads = grads.data(),
                    .states = &states,
                    .step = step,
                    .learning_rate = optimizer->learning_rate(),
                    .grad_scale = 0.5});
  }
  return params;
}

void expect_golden(const tensor::Backend& backend) {
  std::map<std::string, std::string> configs;
  int checked = 0;
  for (const std::vector<std::string>& line : lines_of("optim.txt")) {
    if (line.size() == 2) {
      configs[line[0]] = line[1];
      continue;
    }
    const std::vector<float> got = run_golden(configs.at(line[0]), std::stoll(line[1]), backend);
    const std::vector<double> wanted = numbers(line[2]);
    ASSERT_EQ(wanted.size(), static_cast<std::size_t>(kSize));
    double sum = 0;
    for (std::int64_t i = 0; i < kSize; ++i) {
      const auto value = static_cast<double>(got[place_of(i)]);
      EXPECT_NEAR(value, wanted[static_cast<std::size_t>(i)], 1e-5)
          << line[0] << " step " << line[1] << " element " << i;
      sum += value;
    }
    double all = 0;
    for (const float value : got) all += static_cast<double>(value);
    EXPECT_NEAR(all, sum, 1e-12) << line[0] << ": the gaps stay zero";
    ++checked;
  }
  EXPECT_EQ(checked, static_cast<int>(4 * configs.size()));
  EXPECT_EQ(configs.size(), 29u);
}

TEST(Golden, HostFunctionsFollowPyTorch) { expect_golden(NoKernels()); }
TEST(Golden, Avx2KernelsFollowPyTorch) { expect_golden(*tensor::make_cpu_backend("avx2")); }
TEST(Golden, CpuKernelsFollowPyTorch) { expect_golden(*tensor::make_cpu_backend()); }

ScheduleConfig read_golden_schedule(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("s.yaml", "schedule: " + yaml + "\n", diagnostics);
  const ScheduleConfig out = read_schedule(root.find("schedule"), root.mark, diagnostics);
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.text();
  return out;
}

TEST(Golden, SchedulesFollowPyTorch) {
  int checked = 0;
  for (const std::vector<std::string>& line : lines_of("schedules.txt")) {
    if (line[0] == "plateau") continue;
    const ScheduleConfig schedule = read_golden_schedule(line[0]);
    const std::vector<double> wanted = numbers(line[1]);
    ASSERT_EQ(wanted.size(), static_cast<std::size_t>(kSteps));
    for (std::int64_t step = 0; step < kSteps; ++step) {
      EXPECT_NEAR(schedule_factor(schedule, step, kSteps), wanted[static_cast<std::size_t>(step)],
                  1e-9)
          << line[0] << " step " << step;
    }
    ++checked;
  }
  EXPECT_EQ(checked, 18);
}

TEST(Golden, PlateausFollowPyTorch) {
  int checked = 0;
  for (const std::vector<std::string>& line : lines_of("schedules.txt")) {
    if (line[0] != "plateau") continue;
    const ScheduleConfig schedule =
        read_golden_schedule("{name: reduce_on_plateau, " + line[1].substr(1));
    const std::vector<double> wanted = numbers(line[2]);
    ASSERT_EQ(wanted.size(), 60u);
    PlateauState state;
    for (int i = 0; i < 60; ++i) {
      state.observe(schedule.plateau, measured(i), i + 1);
      // A state that went through a checkpoint goes on alike.
      state = PlateauState::of(state.values().data());
      EXPECT_NEAR(state.factor, wanted[static_cast<std::size_t>(i)], 1e-9) << line[1] << " " << i;
    }
    EXPECT_LT(wanted.back(), 1.0) << line[1] << " never reduces";
    ++checked;
  }
  EXPECT_EQ(checked, 4);
}

TEST(Golden, AveragesFollowPyTorch) {
  const auto cpu = tensor::make_cpu_backend();
  const NoKernels none;
  for (const std::vector<std::string>& line : lines_of("averages.txt")) {
    config::Diagnostics diagnostics;
    const config::Node root = config::parse("a.yaml", line[0] + "\n", diagnostics);
    config::MapReader reader(&root, "train", root.mark, diagnostics);
    const Averaging averaging = read_averaging(reader);
    reader.finish();
    ASSERT_TRUE(diagnostics.ok()) << diagnostics.text();
    const std::vector<double> wanted = numbers(line[1]);
    ASSERT_EQ(wanted.size(), static_cast<std::size_t>(kSize));
    for (const tensor::Backend* backend : {static_cast<const tensor::Backend*>(&none),
                                           static_cast<const tensor::Backend*>(cpu.get())}) {
      const AverageKernel kernel(*backend);
      std::vector<float> params(kSize), average(kSize, 7.0f);
      for (std::int64_t step = 0; step < kSteps; ++step) {
        for (std::int64_t i = 0; i < kSize; ++i)
          params[static_cast<std::size_t>(i)] = golden_gradient(i, step);
        kernel.run(params.data(), average.data(), {0, kSize}, averaging.weight_at(step));
      }
      for (std::size_t i = 0; i < kSize; ++i)
        EXPECT_NEAR(static_cast<double>(average[i]), wanted[i], 1e-5) << line[0] << " " << i;
    }
  }
}

}  // namespace
}  // namespace dlt::optim
