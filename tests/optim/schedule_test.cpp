// SPDX-License-Identifier: Apache-2.0
#include "optim/schedule.h"

#include <cmath>

#include <gmock/gmock.h>
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

std::string schedule_mistakes(const std::string& yaml) {
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
  const std::string text = schedule_mistakes("schedule: {name: cosine, step_size: 5}\n");
  EXPECT_THAT(text, testing::HasSubstr("s.yaml:1:26: error: schedule.step_size: unknown key"));
  EXPECT_THAT(text, testing::HasSubstr("legal: end_factor, name, warmup_steps"));
}

TEST(Schedule, RefusesUnknownNamesAndImpossibleNumbers) {
  EXPECT_THAT(schedule_mistakes("schedule: cosin\n"),
              testing::AllOf(testing::HasSubstr("s.yaml:1:11: error: schedule"),
                             testing::HasSubstr("'cosin'"), testing::HasSubstr("'cosine'")));
  EXPECT_THAT(schedule_mistakes("schedule: {name: step, step_size: 0}\n"),
              testing::HasSubstr("schedule.step_size"));
  EXPECT_THAT(schedule_mistakes("schedule: step\n"), testing::HasSubstr("schedule.step_size"));
  EXPECT_THAT(schedule_mistakes("schedule: {warmup_steps: -1}\n"),
              testing::HasSubstr("schedule.warmup_steps"));
  EXPECT_THAT(schedule_mistakes("schedule: {name: linear, end_factor: 2}\n"),
              testing::HasSubstr("schedule.end_factor"));
}

TEST(Schedule, MistakesOfTheOtherKindsAreTold) {
  using testing::HasSubstr;
  EXPECT_THAT(schedule_mistakes("schedule: exponential\n"), HasSubstr("schedule.gamma"));
  EXPECT_THAT(schedule_mistakes("schedule: {name: one_cycle, warmup_steps: 5}\n"),
              HasSubstr("schedule.warmup_steps: unknown key"));
  EXPECT_THAT(schedule_mistakes("schedule: {name: multi_step, milestones: [5, 5]}\n"),
              HasSubstr("schedule.milestones: expected steps in ascending order, got 5 behind 5"));
  EXPECT_THAT(
      schedule_mistakes("schedule: {name: cosine_restarts, period_steps: 5, period_factor: 0}\n"),
      HasSubstr("schedule.period_factor"));
  EXPECT_THAT(schedule_mistakes("schedule: {name: reduce_on_plateau, factor: 1}\n"),
              HasSubstr("schedule.factor"));
  EXPECT_THAT(
      schedule_mistakes("schedule: {name: warmup_stable_decay, decay_steps: 5, decay: cubic}\n"),
      HasSubstr("schedule.decay: expected one of cosine, linear, sqrt"));
}

TEST(Schedule, MistakesOfAChainNameItsLink) {
  using testing::HasSubstr;
  EXPECT_THAT(schedule_mistakes("schedule: {chain: cosine}\n"),
              HasSubstr("schedule.chain: expected a list"));
  EXPECT_THAT(schedule_mistakes("schedule: {chain: [{name: constant}, {name: cosine}]}\n"),
              HasSubstr("schedule.chain.0.steps: expected"));
  EXPECT_THAT(schedule_mistakes("schedule: {chain: [{name: constant, gamma: 1, steps: 5}]}\n"),
              HasSubstr("schedule.chain.0.gamma: unknown key"));
  EXPECT_THAT(schedule_mistakes("schedule: {chain: [{name: reduce_on_plateau}]}\n"),
              HasSubstr("schedule.chain.0.name: expected a schedule that follows from the step"));
  EXPECT_THAT(schedule_mistakes("schedule: {name: cosine, chain: [{name: constant}]}\n"),
              HasSubstr("schedule.name: unknown key"));
}

TEST(Schedule, ChainGoesOnBehindItsLastLink) {
  const ScheduleConfig chain = read_well(
      "schedule: {chain: [{name: constant, steps: 10}, {name: linear, end_factor: 0.5, steps: 10}]}"
      "\n");
  EXPECT_EQ(schedule_factor(chain, 9, 40), 1.0);
  EXPECT_EQ(schedule_factor(chain, 15, 40), 0.75);
  EXPECT_EQ(schedule_factor(chain, 39, 40), 0.5);
}

TEST(Schedule, ShortRunsAreNoDivisionByZero) {
  for (const char* yaml : {"one_cycle", "{name: one_cycle, pct_start: 0}", "inverse_sqrt",
                           "{name: one_cycle, pct_start: 1}", "polynomial",
                           "{name: warmup_stable_decay, decay_steps: 9}",
                           "{chain: [{name: cosine, steps: 9}, {name: linear}]}"}) {
    const ScheduleConfig config = read_well(std::string("schedule: ") + yaml + "\n");
    for (const std::int64_t total : {1, 2, 3}) {
      for (std::int64_t step = 0; step < 12; ++step) {
        const double factor = schedule_factor(config, step, total);
        EXPECT_TRUE(factor >= 0 && factor <= 1) << yaml << " " << step << " of " << total;
      }
    }
  }
}

TEST(Schedule, PlateauTakesItsDirectionFromWhatItFollows) {
  const auto mode = [](const std::string& options) {
    return read_well("schedule: {name: reduce_on_plateau" + options + "}\n").plateau.mode;
  };
  EXPECT_EQ(mode(""), PlateauMode::min);
  EXPECT_EQ(mode(", monitor: accuracy"), PlateauMode::max);
  EXPECT_EQ(mode(", monitor: mse"), PlateauMode::min);
  EXPECT_EQ(mode(", monitor: accuracy, mode: min"), PlateauMode::min);
}

TEST(Schedule, APlateauOfNoNumbersReducesToo) {
  PlateauState state;
  for (int i = 0; i < 3; ++i) state.observe({.factor = 0.5, .patience = 1}, NAN, i);
  EXPECT_EQ(state.factor, 0.5);
  EXPECT_EQ(state.observed_step, 2);
}

}  // namespace
}  // namespace dlt::optim
