// SPDX-License-Identifier: Apache-2.0
#include "optim/averaging.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "config/node.h"

namespace dlt::optim {
namespace {

using testing::HasSubstr;

Averaging averaging_of(const std::string& yaml, std::string& mistakes) {
  config::Diagnostics diagnostics;
  const config::Node root = config::parse("t.yaml", yaml + "\n", diagnostics);
  config::MapReader reader(&root, "train", root.mark, diagnostics);
  const Averaging out = read_averaging(reader);
  reader.finish();
  mistakes = diagnostics.text();
  return out;
}

std::string averaging_mistakes(const std::string& yaml) {
  std::string text;
  (void)averaging_of(yaml, text);
  return text;
}

TEST(Averaging, IsOffUnlessAskedFor) {
  std::string none;
  const Averaging off = averaging_of("{}", none);
  EXPECT_EQ(none, "");
  EXPECT_FALSE(off.active());
  EXPECT_FALSE(off.evaluates());
  EXPECT_EQ(off.weight_at(0), 0.0);
  EXPECT_EQ(off.updates_after(100), 0);
}

TEST(Averaging, EmaCopiesFirstAndThenMovesByOneMinusDecay) {
  const Averaging ema{.kind = AverageKind::ema, .decay = 0.75, .every_steps = 2, .start_step = 3};
  EXPECT_EQ(ema.weight_at(3), 0.0);
  EXPECT_EQ(ema.weight_at(4), 1.0);
  EXPECT_EQ(ema.weight_at(5), 0.0);
  EXPECT_EQ(ema.weight_at(6), 0.25);
  EXPECT_EQ(ema.weight_at(1000), 0.25);
  EXPECT_EQ(ema.updates_after(4), 0);
  EXPECT_EQ(ema.updates_after(5), 1);
}

TEST(Averaging, SwaWeighsAllAlike) {
  const Averaging swa{.kind = AverageKind::swa, .every_steps = 10, .start_step = 20};
  EXPECT_EQ(swa.weight_at(19), 0.0);
  EXPECT_EQ(swa.weight_at(29), 1.0);
  EXPECT_EQ(swa.weight_at(39), 0.5);
  EXPECT_EQ(swa.weight_at(49), 1.0 / 3.0);
}

TEST(Averaging, AnEpochIsSoManySteps) {
  std::string none;
  const Averaging swa = averaging_of("swa: {start_epoch: 3}", none);
  EXPECT_EQ(none, "");
  EXPECT_EQ(swa.resolved(7).start_step, 21);
  EXPECT_EQ(swa.resolved(7).name(), "swa");
}

TEST(Averaging, MistakesAreTold) {
  EXPECT_THAT(averaging_mistakes("{ema: {}, swa: {start_step: 1}}"),
              HasSubstr("train.swa: expected either"));
  EXPECT_THAT(averaging_mistakes("ema: {decay: 1}"), HasSubstr("train.ema.decay"));
  EXPECT_THAT(averaging_mistakes("ema: {update_every: 0}"), HasSubstr("train.ema.update_every"));
  EXPECT_THAT(averaging_mistakes("ema: {every_steps: 2}"),
              HasSubstr("train.ema.every_steps: unknown key"));
  EXPECT_THAT(averaging_mistakes("swa: {}"), HasSubstr("train.swa.start_step: expected"));
  EXPECT_THAT(averaging_mistakes("swa: {start_step: 1, start_epoch: 1}"),
              HasSubstr("expected either start_epoch or start_step"));
}

}  // namespace
}  // namespace dlt::optim
