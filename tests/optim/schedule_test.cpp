// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include <cmath>

#include <gtest/gtest.h>

namespace dlt::optim {
namespace {

using config::Diagnostics;
using config::Node;

ScheduleConfig read(const std::string& yaml, Diagnostics& diagnostics) {
  const Node root = config::parse("s.yaml", yaml, diagnostics);
  return read_schedule(root.find("schedule"), root.mark, diagnostics);
}

ScheduleConfig read_well(const std::string& yaml) {
  Diagnostics diagnostics;
  const ScheduleConfig result = read(yaml, diagnostics);
  EXPECT_TRUE(diagnostics.ok()) << diagnostics.text();
  return result;
}

std::string mistakes(const std::string& yaml) {
  Diagnostics diagnostics;
  (void)read(yaml, diagnostics);
  return diagnostics.text();
}

TEST(Schedule, ConstantStaysAtOne) {
  EXPECT_EQ(schedule_factor({}, 0, 10), 1.0);
  EXPECT_EQ(schedule_factor({}, 1000000, 10), 1.0);
}

TEST(Schedule, WarmsUpLinearlyToTheFullRate) {
  for (const ScheduleKind kind :
       {ScheduleKind::constant, ScheduleKind::step, ScheduleKind::cosine, ScheduleKind::linear}) {
    const ScheduleConfig config{.kind = kind, .warmup_steps = 4, .step_size = 100};
    EXPECT_DOUBLE_EQ(schedule_factor(config, 0, 100), 0.25);
    EXPECT_DOUBLE_EQ(schedule_factor(config, 1, 100), 0.5);
    EXPECT_DOUBLE_EQ(schedule_factor(config, 3, 100), 1.0);
    EXPECT_DOUBLE_EQ(schedule_factor(config, 4, 100), 1.0);
  }
}

TEST(Schedule, StepMultipliesByGammaEveryStepSize) {
  const ScheduleConfig config{
      .kind = ScheduleKind::step, .warmup_steps = 2, .step_size = 3, .gamma = 0.5};
  EXPECT_DOUBLE_EQ(schedule_factor(config, 4, 100), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 5, 100), 0.5);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 7, 100), 0.5);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 8, 100), 0.25);
}

TEST(Schedule, LinearFallsToItsEndFactorAndStaysThere) {
  const ScheduleConfig config{.kind = ScheduleKind::linear, .warmup_steps = 10, .end_factor = 0.2};
  EXPECT_DOUBLE_EQ(schedule_factor(config, 10, 110), 1.0);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 60, 110), 0.6);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 110, 110), 0.2);
  EXPECT_DOUBLE_EQ(schedule_factor(config, 500, 110), 0.2);
}

TEST(Schedule, CosineFallsAsHalfACosine) {
  const ScheduleConfig config{.kind = ScheduleKind::cosine, .end_factor = 0.1};
  EXPECT_DOUBLE_EQ(schedule_factor(config, 0, 100), 1.0);
  EXPECT_NEAR(schedule_factor(config, 25, 100), 0.1 + 0.9 * (1 + std::sqrt(0.5)) / 2, 1e-12);
  EXPECT_NEAR(schedule_factor(config, 50, 100), 0.55, 1e-12);
  EXPECT_NEAR(schedule_factor(config, 100, 100), 0.1, 1e-12);
}

TEST(Schedule, WarmupAsLongAsTheRunIsNoDivisionByZero) {
  for (const ScheduleKind kind : {ScheduleKind::cosine, ScheduleKind::linear}) {
    const ScheduleConfig config{.kind = kind, .warmup_steps = 10};
    EXPECT_DOUBLE_EQ(schedule_factor(config, 9, 10), 1.0);
    EXPECT_DOUBLE_EQ(schedule_factor(config, 10, 10), 1.0);
    EXPECT_DOUBLE_EQ(schedule_factor(config, 4, 5), 0.5);
  }
}

TEST(Schedule, ReadsAMap) {
  const ScheduleConfig cosine = read_well("schedule: {name: cosine, warmup_steps: 50}\n");
  EXPECT_EQ(cosine.kind, ScheduleKind::cosine);
  EXPECT_EQ(cosine.warmup_steps, 50);
  EXPECT_EQ(cosine.end_factor, 0.0);
  const ScheduleConfig step = read_well("schedule: {name: step, step_size: 7, gamma: 0.3}\n");
  EXPECT_EQ(step.kind, ScheduleKind::step);
  EXPECT_EQ(step.step_size, 7);
  EXPECT_EQ(step.gamma, 0.3);
}

TEST(Schedule, ReadsAPlainWordAndAMissingKey) {
  EXPECT_EQ(read_well("schedule: linear\n").kind, ScheduleKind::linear);
  EXPECT_EQ(read_well("other: 1\n").kind, ScheduleKind::constant);
}

TEST(Schedule, RefusesKeysOfAnotherKind) {
  const std::string text = mistakes("schedule: {name: cosine, step_size: 5}\n");
  EXPECT_THAT(text, testing::HasSubstr("s.yaml:1:26: error: schedule.step_size: unknown key"));
  EXPECT_THAT(text, testing::HasSubstr("legal: end_factor, name, warmup_steps"));
}

TEST(Schedule, RefusesUnknownNamesAndImpossibleNumbers) {
  EXPECT_THAT(mistakes("schedule: cosin\n"),
              testing::AllOf(testing::HasSubstr("s.yaml:1:11: error: schedule"),
                             testing::HasSubstr("'cosin'"), testing::HasSubstr("'cosine'")));
  EXPECT_THAT(mistakes("schedule: {name: step, step_size: 0}\n"),
              testing::HasSubstr("schedule.step_size"));
  EXPECT_THAT(mistakes("schedule: step\n"), testing::HasSubstr("schedule.step_size"));
  EXPECT_THAT(mistakes("schedule: {warmup_steps: -1}\n"),
              testing::HasSubstr("schedule.warmup_steps"));
  EXPECT_THAT(mistakes("schedule: {name: linear, end_factor: 2}\n"),
              testing::HasSubstr("schedule.end_factor"));
}

}  // namespace
}  // namespace dlt::optim
