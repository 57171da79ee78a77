// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <numeric>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "autodiff/planner.h"
#include "ops/ops.h"

namespace dlt::autodiff {
namespace {

class Schedule : public ::testing::Test {
 protected:
  OpTable ops_ = ops::make_op_table();

  /// A fused MLP with its backward pass.
  Graph mlp(const std::vector<std::int64_t>& sizes) {
    Case c = mlp_case(ops_, sizes, 5);
    (void)fuse_losses(c.graph);
    (void)fuse_bias_activation(c.graph);
    append_backward(c.graph, c.loss, c.weight);
    (void)remove_dead_nodes(c.graph);
    return c.graph;
  }
};

std::vector<std::string> names(const tensor::FlatLayout& layout) {
  std::vector<std::string> result;
  for (const auto& entry : layout.entries) result.push_back(entry.name);
  return result;
}

TEST_F(Schedule, IsATopologicalOrderOfAllNodes) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    Case c = random_case(ops_, seed);
    append_backward(c.graph, c.loss, c.weight);
    const std::vector<std::int32_t> order = schedule(c.graph);
    ASSERT_EQ(order.size(), c.graph.nodes().size()) << "seed " << seed;
    std::vector<bool> done(order.size(), false);
    for (const std::int32_t node : order) {
      for (const ValueId id : c.graph.nodes()[static_cast<std::size_t>(node)].inputs) {
        const std::int32_t producer = c.graph.value(id).producer;
        EXPECT_TRUE(producer < 0 || done[static_cast<std::size_t>(producer)]) << "seed " << seed;
      }
      EXPECT_FALSE(done[static_cast<std::size_t>(node)]) << "seed " << seed;
      done[static_cast<std::size_t>(node)] = true;
    }
  }
}

TEST_F(Schedule, KeepsTheForwardOrder) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Case c = random_case(ops_, seed);
    const std::size_t num_forward = c.graph.nodes().size();
    append_backward(c.graph, c.loss, c.weight);
    const std::vector<std::int32_t> order = schedule(c.graph);
    for (std::size_t i = 0; i < num_forward; ++i) {
      EXPECT_EQ(order[i], static_cast<std::int32_t>(i)) << "seed " << seed;
    }
  }
}

TEST_F(Schedule, LastLayersGradientsComeFirst) {
  const Graph graph = mlp({4, 8, 6, 3});
  EXPECT_EQ(names(gradient_layout(graph, schedule(graph))),
            (std::vector<std::string>{"dense_3.bias", "dense_3.weight", "dense_2.bias",
                                      "dense_2.weight", "dense_1.bias", "dense_1.weight"}));
}

TEST_F(Schedule, EachGradientIsComputedAsSoonAsItsInputsAllow) {
  const Graph graph = mlp({4, 8, 6, 5, 3});
  const std::vector<std::int32_t> order = schedule(graph);
  std::vector<std::int32_t> position(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    position[static_cast<std::size_t>(order[i])] = static_cast<std::int32_t>(i);
  }
  std::vector<bool> makes_gradient(order.size(), false);
  for (const auto& entry : graph.gradients()) {
    makes_gradient[static_cast<std::size_t>(graph.value(entry.second).producer)] = true;
  }
  for (const auto& [param, gradient] : graph.gradients()) {
    const auto node = static_cast<std::size_t>(graph.value(gradient).producer);
    std::int32_t ready = -1;
    for (const ValueId id : graph.nodes()[node].inputs) {
      const std::int32_t producer = graph.value(id).producer;
      if (producer >= 0) ready = std::max(ready, position[static_cast<std::size_t>(producer)]);
    }
    for (std::int32_t i = ready + 1; i < position[node]; ++i) {
      EXPECT_TRUE(makes_gradient[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])])
          << graph.value(param).name << " waits for "
          << graph.nodes()[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])].op->name;
    }
  }
}

TEST_F(Schedule, OverridesABuildOrderThatIsTooLate) {
  // The chain through b, c and d was built before the gradient of a, which needs less.
  Graph graph(ops_);
  const ValueId x = graph.input("x", {{3}, DType::f32});
  const ValueId a = graph.param("a", {3});
  const ValueId b = graph.param("b", {3});
  graph.set_backward(true);
  ValueId chain = graph.add_one("tanh", {x});
  for (int i = 0; i < 3; ++i) chain = graph.add_one("neg", {chain});
  const ValueId early = graph.add_one("relu", {x});
  graph.gradient(b, chain);
  graph.gradient(a, early);
  EXPECT_EQ(schedule(graph), (std::vector<std::int32_t>{4, 0, 1, 2, 3}));
  EXPECT_EQ(names(gradient_layout(graph, schedule(graph))), (std::vector<std::string>{"a", "b"}));
}

TEST_F(Schedule, ParametersWithoutGradientComeLastByName) {
  Graph graph(ops_);
  const ValueId seed = graph.input("seed", {{3}, DType::f32});
  (void)graph.param("z", {2});
  const ValueId m = graph.param("m", {3});
  (void)graph.param("c", {5});
  append_backward(graph, graph.add_one("square", {m}), seed);
  EXPECT_EQ(names(gradient_layout(graph, schedule(graph))),
            (std::vector<std::string>{"m", "c", "z"}));
}

TEST_F(Schedule, AGradientIsFinalOnlyBehindItsLastReader) {
  Graph graph(ops_);
  const ValueId seed = graph.input("seed", {{3}, DType::f32});
  const ValueId a = graph.param("a", {3});
  const ValueId b = graph.param("b", {3});
  const ValueId loss = graph.add_one("scale", {graph.add_one("add", {a, b})}, {{"factor", 2.0}});
  append_backward(graph, loss, seed);
  const std::vector<std::int32_t> order = schedule(graph);
  // add, scale, scale' = gradient of a, copy = gradient of b: the copy still reads a's.
  EXPECT_EQ(final_positions(graph, order), (std::vector<std::int32_t>{3, 3}));
}

}  // namespace
}  // namespace dlt::autodiff
