// SPDX-License-Identifier: Apache-2.0
#include "tensor/shape.h"

#include <gtest/gtest.h>

#include "base/error.h"
#include "tensor/flat_layout.h"

namespace dlt::tensor {
namespace {

TEST(Shape, CountsElementsAndRows) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.numel(), 24);
  EXPECT_EQ(shape.rows(), 6);
  EXPECT_EQ(shape.last(), 4);
  EXPECT_EQ(Shape{}.numel(), 1);
  EXPECT_EQ(Shape{}.rows(), 1);
  EXPECT_EQ((Shape{3, 0}).numel(), 0);
}

TEST(Shape, NegativeAxesCountFromTheEnd) {
  const Shape shape{2, 3, 4};
  EXPECT_EQ(shape.dim(-1), 4);
  EXPECT_EQ(shape.dim(-3), 2);
  EXPECT_EQ(shape.dim(1), 3);
  EXPECT_THROW((void)shape.dim(3), Error);
  EXPECT_THROW((void)shape.dim(-4), Error);
}

TEST(Shape, LeadingSizeComesAndGoes) {
  EXPECT_EQ((Shape{8, 1}).with_front(32), (Shape{32, 8, 1}));
  EXPECT_EQ((Shape{32, 8, 1}).without_front(), (Shape{8, 1}));
  EXPECT_EQ(Shape{}.with_front(5), Shape{5});
  EXPECT_THROW((void)Shape{}.without_front(), Error);
  EXPECT_THROW((void)(Shape{1, 1, 1, 1, 1, 1, 1, 1}).with_front(2), Error);
}

TEST(Shape, RefusesNegativeSizes) {
  try {
    (void)Shape{4, -1};
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::config);
    EXPECT_STREQ(error.what(), "shape [4, -1]: size -1 is negative");
  }
}

TEST(Shape, RefusesProductsThatOverflow) {
  const std::int64_t big = std::int64_t{1} << 40;
  EXPECT_THROW((Shape{big, big}), Error);
  EXPECT_THROW((Shape{0, big, big}), Error);
  EXPECT_THROW(Shape{std::int64_t{1} << 62}, Error);
  EXPECT_NO_THROW((Shape{big, 1024}));
}

TEST(Shape, RefusesMoreThanEightSizes) { EXPECT_THROW((Shape{1, 1, 1, 1, 1, 1, 1, 1, 1}), Error); }

TEST(Shape, ReadsAsText) {
  EXPECT_EQ((Shape{32, 128}).text(), "[32, 128]");
  EXPECT_EQ((TensorType{{32, 128}, DType::f32}).text(), "f32[32, 128]");
  EXPECT_EQ((TensorType{{32, 128}, DType::f64}).bytes(), 32 * 128 * 8);
}

TEST(FlatLayout, AlignsEveryEntryTo16Elements) {
  FlatLayout layout;
  layout.append("b", {10});
  layout.append("w", {4, 8});
  layout.append("c", {1});
  ASSERT_EQ(layout.entries.size(), 3u);
  EXPECT_EQ(layout.entries[0].offset, 0);
  EXPECT_EQ(layout.entries[1].offset, 16);
  EXPECT_EQ(layout.entries[2].offset, 48);
  EXPECT_EQ(layout.total, 64);
  EXPECT_EQ(layout.find("w")->numel, 32);
  EXPECT_EQ(layout.find("x"), nullptr);
  EXPECT_THROW(layout.append("w", {1}), Error);
}

}  // namespace
}  // namespace dlt::tensor
