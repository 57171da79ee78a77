// SPDX-License-Identifier: Apache-2.0
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string mistakes(const std::string& yaml) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("l.yaml", yaml, diagnostics);
  const auto loss = read_loss(root.find("loss"), root.mark, diagnostics);
  EXPECT_EQ(loss == nullptr, !diagnostics.ok());
  return diagnostics.text();
}

TEST(LossConfig, EveryNameIsALoss) {
  for (const std::string& name : loss_names()) {
    EXPECT_EQ(read_loss_text(name)->name(), name);
    EXPECT_EQ(read_loss_text("{" + name + ": {}}")->name(), name);
    EXPECT_EQ(read_loss_text("{name: " + name + "}")->name(), name);
    EXPECT_EQ(read_loss_text(name)->target({4}).labels(), name == "cross_entropy");
  }
  EXPECT_EQ(loss_names().size(), 5u);
}

TEST(LossConfig, NamesTheNearestLoss) {
  EXPECT_THAT(mistakes("loss: cross_entrpy\n"),
              AllOf(HasSubstr("l.yaml:1:7: error: loss: expected a loss, got 'cross_entrpy'"),
                    HasSubstr("did you mean 'cross_entropy'?  legal: binary_cross_entropy, "
                              "cross_entropy, huber, mae, mse")));
  EXPECT_THAT(mistakes("loss: {hubr: {delta: 1.0}}\n"),
              AllOf(HasSubstr("l.yaml:1:8: error: loss"), HasSubstr("'huber'")));
  EXPECT_THAT(mistakes("loss: {name: hubr}\n"), AllOf(HasSubstr("loss.name"), HasSubstr("huber")));
}

TEST(LossConfig, ReportsOptionsAtTheirPlace) {
  EXPECT_THAT(mistakes("loss: {huber: {delta: 0}}\n"),
              HasSubstr("l.yaml:1:23: error: loss.huber.delta"));
  EXPECT_THAT(mistakes("loss: {name: huber, delta: -1}\n"),
              HasSubstr("l.yaml:1:28: error: loss.delta"));
  EXPECT_THAT(mistakes("loss: {cross_entropy: {label_smoothing: 1}}\n"),
              HasSubstr("loss.cross_entropy.label_smoothing"));
  EXPECT_THAT(mistakes("loss: {cross_entropy: {label_smothing: 0.1}}\n"),
              AllOf(HasSubstr("unknown key"), HasSubstr("did you mean 'label_smoothing'?")));
  EXPECT_THAT(mistakes("loss: {mse: {delta: 1}}\n"), HasSubstr("loss.mse.delta: unknown key"));
}

TEST(LossConfig, RefusesOtherKinds) {
  EXPECT_THAT(mistakes("other: 1\n"), HasSubstr("loss: expected a loss, the key is missing"));
  EXPECT_THAT(mistakes("loss: [mse]\n"), HasSubstr("loss: expected a loss, got a list"));
  EXPECT_THAT(mistakes("loss:\n"), HasSubstr("loss: expected a loss, got nothing"));
  EXPECT_THAT(mistakes("loss: {huber: {}, mse: {}}\n"), HasSubstr("got a map of 2 keys"));
  EXPECT_THAT(mistakes("loss: {}\n"), HasSubstr("loss.name"));
  EXPECT_THAT(mistakes("loss: {huber: 3}\n"), HasSubstr("loss.huber"));
}

}  // namespace
}  // namespace dlt::nn
