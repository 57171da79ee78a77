// SPDX-License-Identifier: Apache-2.0
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "optim/no_kernels.h"
#include "optim/optimizer.h"

namespace dlt::optim {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string mistakes(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("o.yaml", yaml, diagnostics);
  const auto optimizer = make_optimizer(root.find("optimizer"), diagnostics, NoKernels());
  EXPECT_EQ(optimizer == nullptr, !diagnostics.ok());
  return diagnostics.text();
}

double rate_of(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("o.yaml", yaml, diagnostics);
  const auto optimizer = make_optimizer(root.find("optimizer"), diagnostics, NoKernels());
  EXPECT_NE(optimizer, nullptr) << diagnostics.text();
  return optimizer == nullptr ? -1.0 : optimizer->learning_rate();
}

TEST(OptimizerConfig, AcceptsAPlainWord) {
  EXPECT_EQ(rate_of("optimizer: adam\n"), 0.001);
  EXPECT_EQ(rate_of("optimizer: adamw\n"), 0.001);
  EXPECT_EQ(rate_of("optimizer: sgd\n"), 0.01);
}

TEST(OptimizerConfig, AcceptsALearningRateOfZero) {
  EXPECT_EQ(rate_of("optimizer: {name: sgd, learning_rate: 0}\n"), 0.0);
}

TEST(OptimizerConfig, NamesTheNearestKeyAndAllLegalOnes) {
  EXPECT_THAT(mistakes("optimizer:\n  name: adam\n  learning_rte: 0.001\n"),
              AllOf(HasSubstr("o.yaml:3:3: error: optimizer.learning_rte: unknown key"),
                    HasSubstr("hint: did you mean 'learning_rate'?  legal: amsgrad, "
                              "betas, eps, groups, learning_rate, name, weight_decay\n")));
  EXPECT_THAT(mistakes("optimizer: {name: sgd, betas: [0.9, 0.9]}\n"),
              HasSubstr("legal: groups, learning_rate, momentum, name, nesterov, weight_decay\n"));
}

TEST(OptimizerConfig, NamesTheNearestOptimizer) {
  EXPECT_THAT(mistakes("optimizer: adm\n"),
              AllOf(HasSubstr("o.yaml:1:12: error: optimizer: expected an optimizer, got 'adm'"),
                    HasSubstr("did you mean 'adam'?  legal: adadelta, adagrad, adam, adamax, ")));
  EXPECT_THAT(mistakes("optimizer: {name: adm}\n"),
              AllOf(HasSubstr("optimizer.name"), HasSubstr("'adm'"), HasSubstr("'adam'")));
}

TEST(OptimizerConfig, ReportsAMissingKeyAndAMissingName) {
  EXPECT_THAT(mistakes("other: 1\n"), HasSubstr("optimizer: expected an optimizer"));
  EXPECT_THAT(mistakes("optimizer: {learning_rate: 0.1}\n"), HasSubstr("optimizer.name"));
  EXPECT_THAT(mistakes("optimizer: [adam]\n"), HasSubstr("o.yaml:1:12: error: optimizer"));
}

TEST(OptimizerConfig, RefusesNumbersOutOfRange) {
  EXPECT_THAT(mistakes("optimizer: {name: sgd, learning_rate: -0.1}\n"),
              AllOf(HasSubstr("optimizer.learning_rate"), HasSubstr("'-0.1'")));
  EXPECT_THAT(mistakes("optimizer: {name: sgd, momentum: 1}\n"), HasSubstr("optimizer.momentum"));
  EXPECT_THAT(mistakes("optimizer: {name: adam, eps: 0}\n"), HasSubstr("optimizer.eps"));
  EXPECT_THAT(mistakes("optimizer: {name: adam, weight_decay: -1}\n"),
              HasSubstr("optimizer.weight_decay"));
  EXPECT_THAT(mistakes("optimizer: {name: adam, betas: [0.9, 1.0]}\n"),
              HasSubstr("optimizer.betas"));
}

TEST(OptimizerConfig, BetasAreTwo) {
  EXPECT_THAT(mistakes("optimizer: {name: adam, betas: [0.9]}\n"),
              HasSubstr("optimizer.betas: expected a list of two numbers, got 1"));
  EXPECT_THAT(mistakes("optimizer: {name: adam, betas: [0.9, 0.9, 0.9]}\n"),
              HasSubstr("optimizer.betas: expected a list of two numbers, got 3"));
}

TEST(OptimizerConfig, NesterovNeedsMomentum) {
  EXPECT_THAT(mistakes("optimizer: {name: sgd, nesterov: true}\n"),
              HasSubstr("o.yaml:1:34: error: optimizer.nesterov: expected a momentum above 0"));
  EXPECT_EQ(mistakes("optimizer: {name: sgd, nesterov: true, momentum: 0.9}\n"), "");
}

TEST(OptimizerConfig, FindsAllMistakesAtOnce) {
  const std::string text =
      mistakes("optimizer: {name: adam, eps: -1, betas: [2, 0.9], weight_dekay: 0}\n");
  EXPECT_THAT(text, AllOf(HasSubstr("optimizer.eps"), HasSubstr("optimizer.betas"),
                          HasSubstr("optimizer.weight_dekay")));
}

}  // namespace
}  // namespace dlt::optim
