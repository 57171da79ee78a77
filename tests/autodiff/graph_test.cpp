// SPDX-License-Identifier: Apache-2.0
#include "autodiff/graph.h"

#include <gtest/gtest.h>

#include "autodiff/passes.h"
#include "base/error.h"
#include "ops/ops.h"

namespace dlt::autodiff {
namespace {

class GraphTest : public ::testing::Test {
 protected:
  OpTable ops_ = ops::make_op_table();
  Graph graph_{ops_};
};

TEST_F(GraphTest, InfersShapesAsItGrows) {
  const ValueId x = graph_.input("x", {{8, 5}, DType::f32});
  const ValueId w = graph_.param("w", {5, 3});
  const ValueId y = graph_.add_one("matmul", {x, w});
  EXPECT_EQ(graph_.value(y).type.text(), "f32[8, 3]");
  EXPECT_EQ(graph_.inputs(), std::vector<ValueId>{x});
  EXPECT_EQ(graph_.params(), std::vector<ValueId>{w});
}

TEST_F(GraphTest, ReadsAsText) {
  const ValueId x = graph_.input("x", {{8, 5}, DType::f32});
  const ValueId w = graph_.param("w", {5, 3});
  graph_.set_scope("dense_1");
  const ValueId y = graph_.add_one("matmul", {x, w});
  const ValueId z = graph_.add_one("scale", {y}, {{"factor", 0.5}});
  graph_.output("prediction", z);
  EXPECT_EQ(graph_.text(),
            "%0 f32[8, 5] = input x\n"
            "%1 f32[5, 3] = param w\n"
            "%2 f32[8, 3] = matmul(%0, %1) in dense_1\n"
            "%3 f32[8, 3] = scale(%2) {factor=0.5} in dense_1\n"
            "output prediction = %3\n");
}

TEST_F(GraphTest, NamesAreUnique) {
  const ValueId x = graph_.input("x", {{8}, DType::f32});
  (void)graph_.param("w", {5});
  EXPECT_THROW((void)graph_.input("x", {{8}, DType::f32}), Error);
  EXPECT_THROW((void)graph_.param("w", {5}), Error);
  graph_.output("y", x);
  EXPECT_THROW(graph_.output("y", x), Error);
}

TEST_F(GraphTest, UnknownOpsAndValuesAreBugs) {
  EXPECT_THROW((void)graph_.add("no_such_op", {}), Error);
  EXPECT_THROW((void)graph_.add("relu", {ValueId{}}), Error);
  EXPECT_THROW((void)graph_.add("relu", {ValueId{7}}), Error);
}

TEST_F(GraphTest, GradientHasTheTypeOfItsParameter) {
  const ValueId w = graph_.param("w", {5, 3});
  const ValueId x = graph_.input("x", {{3, 5}, DType::f32});
  EXPECT_THROW(graph_.gradient(w, x), Error);
  EXPECT_THROW(graph_.gradient(x, x), Error);
}

TEST_F(GraphTest, DeadNodesGo) {
  const ValueId x = graph_.input("x", {{8}, DType::f32});
  const ValueId a = graph_.add_one("relu", {x});
  const ValueId dead = graph_.add_one("tanh", {a});
  const ValueId dead_too = graph_.add_one("neg", {dead});
  const ValueId b = graph_.add_one("exp", {a});
  graph_.output("b", b);
  EXPECT_EQ(remove_dead_nodes(graph_), 2);
  ASSERT_EQ(graph_.nodes().size(), 2u);
  EXPECT_EQ(graph_.nodes()[1].op->name, "exp");
  EXPECT_EQ(graph_.value(b).producer, 1);
  EXPECT_EQ(graph_.value(dead_too).producer, -1);
  EXPECT_EQ(remove_dead_nodes(graph_), 0);
}

TEST(OpTable, RefusesTwoOpsOfOneName) {
  EXPECT_THROW(OpTable({{.name = "relu"}, {.name = "tanh"}, {.name = "relu"}}), Error);
}

}  // namespace
}  // namespace dlt::autodiff
