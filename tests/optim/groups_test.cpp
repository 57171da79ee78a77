// SPDX-License-Identifier: Apache-2.0
#include "optim/groups.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "optim/no_kernels.h"
#include "optim/optimizer.h"

namespace dlt::optim {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::vector<std::string> kParams{"dense_1.weight", "dense_1.bias", "norm_1.scale"};

struct Read {
  std::vector<ParamGroup> groups;
  std::string mistakes;
};

Read read_groups(const std::string& groups, const std::string& name = "adam") {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse(
      "o.yaml", "optimizer:\n  name: " + name + "\n  groups: " + groups + "\n", diagnostics);
  const auto optimizer = make_optimizer(root.find("optimizer"), diagnostics, NoKernels());
  Read out;
  if (optimizer != nullptr) {
    out.groups = optimizer->groups();
    check_groups(out.groups, kParams, diagnostics);
  }
  out.mistakes = diagnostics.text();
  return out;
}

TEST(Groups, PatternsAreShellPatterns) {
  EXPECT_TRUE(matches("*.bias", "dense_1.bias"));
  EXPECT_FALSE(matches("*.bias", "dense_1.bias_2"));
  EXPECT_TRUE(matches("*norm*", "layer_norm_3.scale"));
  EXPECT_TRUE(matches("dense_?.weight", "dense_1.weight"));
  EXPECT_FALSE(matches("dense_?.weight", "dense_12.weight"));
  EXPECT_TRUE(matches("*", ""));
  EXPECT_FALSE(matches("", "a"));
  EXPECT_TRUE(matches("a*b*c", "a_b_b_c"));
  EXPECT_FALSE(matches("a*b*c", "a_b_b_d"));
  EXPECT_FALSE(matches("dense_1.weight", "Dense_1.weight"));
}

TEST(Groups, ReadsAllSettings) {
  const Read got = read_groups(
      "[{match: '*.bias', weight_decay: 0, learning_rate_factor: 2}, "
      "{match: ['norm*', '*.weight'], freeze: true, l1: 0.1, l2: 0.2}]");
  ASSERT_EQ(got.mistakes, "");
  ASSERT_EQ(got.groups.size(), 2u);
  EXPECT_EQ(got.groups[0].settings,
            (GroupSettings{.learning_rate_factor = 2, .weight_decay = 0.0}));
  EXPECT_EQ(got.groups[1].settings, (GroupSettings{.l1 = 0.1, .l2 = 0.2, .freeze = true}));
  EXPECT_EQ(got.groups[1].patterns.size(), 2u);
}

TEST(Groups, APatternThatMatchesNothingIsAMistake) {
  EXPECT_THAT(
      read_groups("[{match: '*.bais', weight_decay: 0}]").mistakes,
      AllOf(HasSubstr("o.yaml:3:20: error: optimizer.groups.0.match: expected a pattern that "
                      "matches a parameter, got '*.bais'"),
            HasSubstr("parameters: dense_1.weight, dense_1.bias, norm_1.scale")));
  EXPECT_THAT(read_groups("[{match: dense_1.wieght, l2: 1}]").mistakes,
              HasSubstr("did you mean 'dense_1.weight'?"));
  EXPECT_THAT(read_groups("[{match: ['*.bias', 'conv*'], l2: 1}]").mistakes, HasSubstr("'conv*'"));
}

TEST(Groups, APatternThatEarlierGroupsTakeIsAMistake) {
  EXPECT_THAT(read_groups("[{match: 'dense*', l2: 1}, {match: '*.bias', l2: 0}]").mistakes,
              AllOf(HasSubstr("optimizer.groups.1.match: expected a parameter of no earlier group"),
                    HasSubstr("put the narrower pattern first")));
}

TEST(Groups, OtherMistakesNameTheGroup) {
  EXPECT_THAT(read_groups("{match: a}").mistakes, HasSubstr("optimizer.groups: expected a list"));
  EXPECT_THAT(read_groups("[{weight_decay: 0}]").mistakes, HasSubstr("optimizer.groups.0.match"));
  EXPECT_THAT(read_groups("[{match: [], l2: 0}]").mistakes, HasSubstr("optimizer.groups.0.match"));
  EXPECT_THAT(read_groups("[{match: '*', weight_dekay: 0}]").mistakes,
              AllOf(HasSubstr("optimizer.groups.0.weight_dekay: unknown key"),
                    HasSubstr("did you mean 'weight_decay'?  legal: freeze, l1, l2, "
                              "learning_rate_factor, match, weight_decay")));
  EXPECT_THAT(read_groups("[{match: '*', learning_rate_factor: -1}]").mistakes,
              HasSubstr("optimizer.groups.0.learning_rate_factor"));
}

TEST(Groups, AdaptIsForOptimisersThatDo) {
  EXPECT_THAT(read_groups("[{match: '*', adapt: false}]").mistakes, HasSubstr("unknown key"));
  EXPECT_FALSE(read_groups("[{match: '*', adapt: false}]", "lamb").groups.at(0).settings.adapt);
}

tensor::FlatLayout layout_of_five() {
  tensor::FlatLayout layout;
  for (const char* name : {"c.weight", "c.bias", "b.mean", "a.bias", "a.weight"}) {
    layout.append(name, {17});
  }
  return layout;
}

std::vector<std::pair<std::int64_t, std::int64_t>> spans(const UpdatePlan& plan) {
  std::vector<std::pair<std::int64_t, std::int64_t>> out;
  for (const UpdateRange& range : plan.ranges) out.emplace_back(range.begin, range.end);
  return out;
}

using Spans = std::vector<std::pair<std::int64_t, std::int64_t>>;

TEST(UpdatePlan, NeighboursOfEqualSettingsAreOneRange) {
  const tensor::FlatLayout layout = layout_of_five();
  EXPECT_EQ(spans(plan_updates(layout, {}, {}, Merge::neighbours)), (Spans{{0, 160}}));
  EXPECT_EQ(spans(plan_updates(layout, {}, {"b.mean"}, Merge::neighbours)),
            (Spans{{0, 64}, {96, 160}}));
  const std::vector<ParamGroup> bias{
      {.patterns = {{"*.bias", {}}}, .settings = {.weight_decay = 0.0}}};
  EXPECT_EQ(spans(plan_updates(layout, bias, {}, Merge::neighbours)),
            (Spans{{0, 32}, {32, 64}, {64, 96}, {96, 128}, {128, 160}}));
  EXPECT_EQ(spans(plan_updates(layout, {}, {"b.mean"}, Merge::none)).size(), 4u);
}

TEST(UpdatePlan, TheFirstGroupThatMatchesCounts) {
  const std::vector<ParamGroup> groups{
      {.patterns = {{"a.bias", {}}}, .settings = {.freeze = true}},
      {.patterns = {{"*.bias", {}}, {"c.*", {}}}, .settings = {.l2 = 1}}};
  const UpdatePlan plan = plan_updates(layout_of_five(), groups, {}, Merge::neighbours);
  EXPECT_EQ(spans(plan), (Spans{{0, 64}, {64, 96}, {128, 160}}));
  EXPECT_EQ(plan.ranges[0].settings.l2, 1);
  EXPECT_EQ(plan.ranges[1].settings, GroupSettings{});
  ASSERT_EQ(plan.parts.size(), 4u);
  EXPECT_EQ(plan.parts[1].begin, 32);
  EXPECT_EQ(plan.parts[1].end, 49);
  EXPECT_EQ(plan.parts[3].range, 2u);
}

TEST(Freeze, IsAGroupBeforeTheOthers) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("o.yaml", "freeze: ['*.bias']\n", diagnostics);
  config::MapReader train(&root, "train", root.mark, diagnostics);
  const auto freeze = read_freeze(train);
  ASSERT_TRUE(freeze.has_value());
  EXPECT_TRUE(is_frozen({*freeze}, "dense_1.bias"));
  EXPECT_FALSE(is_frozen({*freeze}, "dense_1.weight"));
  check_groups({*freeze}, {"dense_1.weight"}, diagnostics);
  EXPECT_THAT(diagnostics.text(),
              HasSubstr("o.yaml:1:10: error: train.freeze: expected a pattern that matches"));
}

}  // namespace
}  // namespace dlt::optim
