// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/diff.h"

#include <limits>

#include <gmock/gmock.h>

#include "checkpoint/samples.h"

namespace dlt::checkpoint::test {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

tensor::StateDict one(const std::vector<float>& values) {
  return {{"w", make_tensor<float>({2, 2}, DType::f32, values)}};
}

TEST(Diff, EqualTensorsGiveNothing) {
  EXPECT_THAT(differences(sample_model(), sample_model()), IsEmpty());
}

TEST(Diff, SaysHowManyWhereAndHowMuch) {
  const auto got = differences(one({1, 2, 3, 4}), one({1, 2, 3.5f, 8}));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].num_different, 2);
  EXPECT_THAT(got[0].first, ElementsAre(1, 0));
  EXPECT_EQ(got[0].max_absolute, 4);
  EXPECT_EQ(got[0].max_relative, 0.5);
  EXPECT_EQ(describe(got[0]),
            "w: 2 of 4 elements differ, first at [1, 0]; by at most 4 (relative 0.5)");
}

TEST(Diff, SeesBitsThatCompareEqual) {
  const auto got = differences(one({0, 0, 0, 0}), one({0, -0.0f, 0, 0}));
  ASSERT_EQ(got.size(), 1u);
  EXPECT_EQ(got[0].max_absolute, 0);
}

TEST(Diff, NotANumberIsInfinitelyFar) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(differences(one({0, 0, 0, 0}), one({0, nan, 0, 0}))[0].max_absolute,
            std::numeric_limits<double>::infinity());
  EXPECT_THAT(differences(one({0, nan, 0, 0}), one({0, nan, 0, 0})), IsEmpty());
}

TEST(Diff, NamesTensorsThatOneSideLacksOrHasOtherwise) {
  tensor::StateDict a{{"a", tensor::Tensor({1}, DType::f32)},
                      {"b", tensor::Tensor({1}, DType::f32)}};
  tensor::StateDict b{{"b", tensor::Tensor({2}, DType::f32)},
                      {"c", tensor::Tensor({1}, DType::f32)}};
  std::vector<std::string> lines;
  for (const auto& difference : differences(a, b)) lines.push_back(describe(difference));
  EXPECT_THAT(lines,
              ElementsAre("a: only in the first", "b: f32[1] and f32[2]", "c: only in the second"));
}

}  // namespace
}  // namespace dlt::checkpoint::test
