// SPDX-License-Identifier: Apache-2.0
#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::data {
namespace {

/// Mean and variance of many draws against Beta(a, a): 1/2 and 1 / (4 (2 a + 1)).
TEST(BetaSample, HasTheMomentsOfTheDistribution) {
  constexpr int kDraws = 20000;
  for (const double alpha : {0.1, 0.2, 0.5, 1.0, 2.0, 8.0}) {
    double sum = 0, squares = 0;
    int below_half = 0;
    for (int i = 0; i < kDraws; ++i) {
      const double x = beta_sample(alpha, 7, 3, static_cast<std::uint64_t>(i));
      ASSERT_GE(x, 0);
      ASSERT_LE(x, 1);
      sum += x;
      squares += x * x;
      below_half += x < 0.5 ? 1 : 0;
    }
    const double mean = sum / kDraws, variance = squares / kDraws - mean * mean;
    EXPECT_NEAR(mean, 0.5, 0.012) << alpha;
    EXPECT_NEAR(variance, 1 / (4 * (2 * alpha + 1)), 0.006) << alpha;
    EXPECT_NEAR(static_cast<double>(below_half) / kDraws, 0.5, 0.015) << alpha;
  }
}

TEST(BetaSample, IsUniformForOne) {
  std::vector<int> parts(10);
  for (std::uint64_t i = 0; i < 20000; ++i) {
    parts[static_cast<std::size_t>(std::min(9.0, 10 * beta_sample(1.0, 1, 0, i)))] += 1;
  }
  for (const int count : parts) EXPECT_NEAR(count, 2000, 200);
}

TEST(BetaSample, IsAFunctionOfItsKey) {
  EXPECT_EQ(beta_sample(0.2, 1, 2, 3), beta_sample(0.2, 1, 2, 3));
  EXPECT_NE(beta_sample(0.2, 1, 2, 3), beta_sample(0.2, 2, 2, 3));
  EXPECT_NE(beta_sample(0.2, 1, 2, 3), beta_sample(0.2, 1, 3, 3));
  EXPECT_NE(beta_sample(0.2, 1, 2, 3), beta_sample(0.2, 1, 2, 4));
  const double tiny = beta_sample(1e-4, 1, 2, 3);  // far below the smallest gamma variate
  EXPECT_TRUE(tiny == 0 || tiny == 1 || (tiny > 0 && tiny < 1));
}

/// A leaf of images of numbers all different, and labels.
struct Leaf {
  tensor::Shape shape;
  std::vector<std::int64_t> ids;
  std::vector<float> inputs, moved, out, targets;
  std::vector<std::int32_t> labels, out_labels;
  Leaf(std::int64_t count, tensor::Shape shape_in) : shape(shape_in) {
    const auto numel = static_cast<std::size_t>(count * shape.numel());
    for (std::int64_t i = 0; i < count; ++i) {
      ids.push_back(100 + 7 * i);
      labels.push_back(static_cast<std::int32_t>(i % 3));
    }
    inputs.resize(numel);
    std::iota(inputs.begin(), inputs.end(), 1.0F);
    moved.resize(numel);
    out.resize(numel);
    out_labels.resize(ids.size());
    targets.resize(ids.size() * 5);
  }
  void apply(const AugmentOptions& options, std::uint64_t epoch = 0) {
    const Augment augment(
        options,
        {.input = shape, .target = {}, .target_kind = TargetKind::labels, .num_classes = 5}, 11);
    augment.apply({.count = static_cast<std::int64_t>(ids.size()),
                   .epoch = epoch,
                   .ids = ids,
                   .inputs = inputs.data(),
                   .targets = labels.data(),
                   .moved = moved.data(),
                   .out_inputs = out.data(),
                   .out_targets = targets.data(),
                   .out_labels = out_labels.data()});
  }
  [[nodiscard]] float at(const std::vector<float>& images, std::int64_t row, std::int64_t y,
                         std::int64_t x, std::int64_t c) const {
    return images[static_cast<std::size_t>(((row * shape[0] + y) * shape[1] + x) * shape[2] + c)];
  }
};

TEST(Augment, FlipsAreMirrorsOfAboutHalfTheImages) {
  Leaf leaf(200, {2, 3, 2});
  leaf.apply({.flip_horizontal = true});
  int mirrored = 0;
  for (std::int64_t row = 0; row < 200; ++row) {
    const bool flip = leaf.at(leaf.out, row, 0, 0, 0) != leaf.at(leaf.inputs, row, 0, 0, 0);
    mirrored += flip ? 1 : 0;
    for (std::int64_t y = 0; y < 2; ++y) {
      for (std::int64_t x = 0; x < 3; ++x) {
        for (std::int64_t c = 0; c < 2; ++c) {
          EXPECT_EQ(leaf.at(leaf.out, row, y, x, c),
                    leaf.at(leaf.inputs, row, y, flip ? 2 - x : x, c));
        }
      }
    }
  }
  EXPECT_NEAR(mirrored, 100, 30);
}

/// The shift (and mirror) of the row that explains every pixel; counts how many do.
int explanations(const Leaf& leaf, std::int64_t row, std::int64_t pad, bool mirrors, float fill,
                 std::set<std::pair<std::int64_t, std::int64_t>>& shifts) {
  int found = 0;
  for (int flip = 0; flip <= (mirrors ? 1 : 0); ++flip) {
    for (std::int64_t dy = -pad; dy <= pad; ++dy) {
      for (std::int64_t dx = -pad; dx <= pad; ++dx) {
        bool all = true;
        for (std::int64_t y = 0; y < leaf.shape[0]; ++y) {
          for (std::int64_t x = 0; x < leaf.shape[1]; ++x) {
            const std::int64_t from_y = y + dy;
            const std::int64_t from_x = (flip != 0 ? leaf.shape[1] - 1 - x : x) + dx;
            const bool inside =
                from_y >= 0 && from_y < leaf.shape[0] && from_x >= 0 && from_x < leaf.shape[1];
            const float wanted = inside ? leaf.at(leaf.inputs, row, from_y, from_x, 0) : fill;
            all = all && leaf.at(leaf.out, row, y, x, 0) == wanted;
          }
        }
        if (all) shifts.insert({dy, dx});
        found += all ? 1 : 0;
      }
    }
  }
  return found;
}

TEST(Augment, CropsAreShiftsWithFilledBorders) {
  for (const bool mirrors : {false, true}) {
    Leaf leaf(300, {5, 4, 1});
    leaf.apply({.flip_horizontal = mirrors, .crop_padding = 2, .crop_fill = -1.0F});
    std::set<std::pair<std::int64_t, std::int64_t>> shifts;
    for (std::int64_t row = 0; row < 300; ++row) {
      EXPECT_EQ(explanations(leaf, row, 2, mirrors, -1.0F, shifts), 1) << row;
    }
    EXPECT_EQ(shifts.size(), 25U) << "every place occurs";
  }
}

TEST(Augment, AnotherEpochDrawsAgainAndTheSameOneDoesNot) {
  Leaf one(50, {4, 4, 1}), again(50, {4, 4, 1}), later(50, {4, 4, 1});
  const AugmentOptions options{.flip_horizontal = true, .crop_padding = 1, .mixup_alpha = 0.4};
  one.apply(options);
  again.apply(options);
  later.apply(options, 1);
  EXPECT_EQ(one.out, again.out);
  EXPECT_EQ(one.targets, again.targets);
  EXPECT_NE(one.out, later.out);
}

TEST(Augment, MixupMixesInputsAndLabelsAlike) {
  Leaf leaf(40, {6, 1, 1});
  leaf.apply({.mixup_alpha = 0.7});
  int mixed = 0;
  for (std::int64_t row = 0; row < 40; ++row) {
    const float* target = leaf.targets.data() + 5 * row;
    double sum = 0;
    for (int c = 0; c < 5; ++c) sum += static_cast<double>(target[c]);
    EXPECT_NEAR(sum, 1.0, 1e-6);
    // Images are runs of whole numbers 6 apart: the shift is (1 - share) times that of the partner.
    const double moved = static_cast<double>(leaf.at(leaf.out, row, 0, 0, 0)) -
                         static_cast<double>(leaf.at(leaf.inputs, row, 0, 0, 0));
    const std::int32_t own = leaf.labels[static_cast<std::size_t>(row)];
    const double share = static_cast<double>(target[own]);
    if (share < 1) {
      bool explained = false;
      for (std::int64_t partner = 0; partner < 40; ++partner) {
        const double distance = 6.0 * static_cast<double>(partner - row);
        explained = explained || std::abs(moved - (1 - share) * distance) < 1e-3;
      }
      EXPECT_TRUE(explained) << row;
      ++mixed;
    }
    const float largest = *std::max_element(target, target + 5);
    EXPECT_EQ(target[leaf.out_labels[static_cast<std::size_t>(row)]], largest);
  }
  EXPECT_GT(mixed, 15);  // a third of the partners has the same label
}

TEST(Augment, CutmixSharesAreAreas) {
  Leaf leaf(40, {8, 6, 1});
  leaf.apply({.cutmix_alpha = 1.0});
  for (std::int64_t row = 0; row < 40; ++row) {
    double foreign = 0;
    for (std::int64_t y = 0; y < 8; ++y) {
      for (std::int64_t x = 0; x < 6; ++x) {
        const float pixel = leaf.at(leaf.out, row, y, x, 0);
        if (pixel == leaf.at(leaf.inputs, row, y, x, 0)) continue;
        foreign += 1;
        // The partner's pixel of the same place.
        EXPECT_EQ((static_cast<std::int64_t>(pixel) - 1) % 48, 6 * y + x);
      }
    }
    const float* target = leaf.targets.data() + 5 * row;
    const std::int32_t own = leaf.labels[static_cast<std::size_t>(row)];
    if (target[own] < 1) {
      EXPECT_NEAR(static_cast<double>(target[own]), 1 - foreign / 48, 1e-6) << row;
    }
  }
}

TEST(Augment, ASampleAloneIsNotMixed) {
  Leaf leaf(1, {2, 2, 1});
  leaf.apply({.mixup_alpha = 1.0, .cutmix_alpha = 1.0});
  EXPECT_EQ(leaf.out, leaf.inputs);
  EXPECT_EQ(leaf.targets, (std::vector<float>{1, 0, 0, 0, 0}));
}

TEST(Augment, LabelsThatDoNotCountLeaveTheirShareOut) {
  Leaf leaf(2, {1, 1, 1});
  leaf.labels = {-1, 2};
  leaf.apply({.mixup_alpha = 1.0});
  const float first = leaf.targets[2], second = leaf.targets[7];
  EXPECT_GT(first, 0);
  EXPECT_LT(first, 1);
  EXPECT_GT(second, 0);
  EXPECT_EQ(std::accumulate(leaf.targets.begin(), leaf.targets.end(), 0.0F), first + second);
}

TEST(Augment, ValuesMixLinearly) {
  const std::vector<float> inputs{0, 10, 20}, targets{0, 1, 2};
  const std::vector<std::int64_t> ids{3, 4, 5};
  std::vector<float> out(3), mixed(3);
  const Augment augment({.mixup_alpha = 2.0}, {.input = {1}, .target = {1}}, 5);
  augment.apply({.count = 3,
                 .ids = ids,
                 .inputs = inputs.data(),
                 .targets = targets.data(),
                 .out_inputs = out.data(),
                 .out_targets = mixed.data()});
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(static_cast<double>(out[i]), 10 * static_cast<double>(mixed[i]), 1e-5);
    EXPECT_NE(out[i], inputs[i]);
  }
}

}  // namespace
}  // namespace dlt::data
