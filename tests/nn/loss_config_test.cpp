// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <gmock/gmock.h>

#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string loss_mistakes(const std::string& yaml) {
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
  }
  EXPECT_EQ(loss_names().size(), 15u);
}

TEST(LossConfig, LossesOfLabelsSaySoAndTheOthersTakeNumbers) {
  const std::set<std::string> of_labels{"categorical_hinge", "cross_entropy", "ctc", "focal"};
  for (const std::string& name : loss_names()) {
    const TargetSpec target = read_loss_text(name)->target({6, 4});
    EXPECT_EQ(target.labels(), of_labels.count(name) == 1) << name;
    EXPECT_EQ(target.num_classes, of_labels.count(name) == 1 ? 4 : 0) << name;
    EXPECT_EQ(target.shape, target.labels() ? tensor::Shape({6}) : tensor::Shape({6, 4})) << name;
    EXPECT_EQ(target.allows_ignored, target.labels()) << name;
  }
}

TEST(LossConfig, OneLabelASampleMayBeMissingOnlyWhenAskedFor) {
  EXPECT_FALSE(read_loss_text("cross_entropy")->target({4}).allows_ignored);
  EXPECT_TRUE(read_loss_text("{cross_entropy: {ignore_index: -1}}")->target({4}).allows_ignored);
  EXPECT_FALSE(read_loss_text("{cross_entropy: {ignore_index: 0}}")->target({6, 4}).allows_ignored);
  EXPECT_EQ(read_loss_text("{ctc: {max_label_length: 3}}")->target({6, 4}).shape,
            tensor::Shape({3}));
}

TEST(LossConfig, NamesTheNearestLoss) {
  EXPECT_THAT(loss_mistakes("loss: cross_entrpy\n"),
              AllOf(HasSubstr("l.yaml:1:7: error: loss: expected a loss, got 'cross_entrpy'"),
                    HasSubstr("did you mean 'cross_entropy'?  legal: binary_cross_entropy, "
                              "binary_focal, categorical_hinge")));
  EXPECT_THAT(loss_mistakes("loss: {hubr: {delta: 1.0}}\n"),
              AllOf(HasSubstr("l.yaml:1:8: error: loss"), HasSubstr("'huber'")));
  EXPECT_THAT(loss_mistakes("loss: {name: hubr}\n"),
              AllOf(HasSubstr("loss.name"), HasSubstr("huber")));
}

TEST(LossConfig, ReportsOptionsAtTheirPlace) {
  EXPECT_THAT(loss_mistakes("loss: {huber: {delta: 0}}\n"),
              HasSubstr("l.yaml:1:23: error: loss.huber.delta"));
  EXPECT_THAT(loss_mistakes("loss: {name: huber, delta: -1}\n"),
              HasSubstr("l.yaml:1:28: error: loss.delta"));
  EXPECT_THAT(loss_mistakes("loss: {cross_entropy: {label_smoothing: 1}}\n"),
              HasSubstr("loss.cross_entropy.label_smoothing"));
  EXPECT_THAT(loss_mistakes("loss: {cross_entropy: {label_smothing: 0.1}}\n"),
              AllOf(HasSubstr("unknown key"), HasSubstr("did you mean 'label_smoothing'?")));
  EXPECT_THAT(loss_mistakes("loss: {cross_entropy: {class_weights: [1, -1]}}\n"),
              HasSubstr("loss.cross_entropy.class_weights"));
  EXPECT_THAT(loss_mistakes("loss: {cross_entropy: {ignore_index: -100}}\n"),
              HasSubstr("expected an integer from -1"));
  EXPECT_THAT(loss_mistakes("loss: {ctc: {max_label_length: 0}}\n"),
              HasSubstr("loss.ctc.max_label_length"));
  EXPECT_THAT(loss_mistakes("loss: {kl_divergence: {from: logit}}\n"),
              HasSubstr("loss.kl_divergence.from"));
  EXPECT_THAT(loss_mistakes("loss: {focal: {gamma: -1}}\n"), HasSubstr("loss.focal.gamma"));
  EXPECT_THAT(loss_mistakes("loss: {mse: {delta: 1}}\n"), HasSubstr("loss.mse.delta: unknown key"));
}

TEST(LossConfig, RefusesOtherKinds) {
  EXPECT_THAT(loss_mistakes("other: 1\n"), HasSubstr("loss: expected a loss, the key is missing"));
  EXPECT_THAT(loss_mistakes("loss: [mse]\n"), HasSubstr("loss: expected a loss, got a list"));
  EXPECT_THAT(loss_mistakes("loss:\n"), HasSubstr("loss: expected a loss, got nothing"));
  EXPECT_THAT(loss_mistakes("loss: {huber: {}, mse: {}}\n"), HasSubstr("got a map of 2 keys"));
  EXPECT_THAT(loss_mistakes("loss: {}\n"), HasSubstr("loss.name"));
  EXPECT_THAT(loss_mistakes("loss: {huber: 3}\n"), HasSubstr("loss.huber"));
}

}  // namespace
}  // namespace dlt::nn
