// SPDX-License-Identifier: Apache-2.0
#include "autodiff/backward.h"

#include <algorithm>
#include <cstring>
#include <set>

#include <gtest/gtest.h>

#include "autodiff/graphs.h"
#include "base/error.h"
#include "ops/ops.h"
#include "support/host_backend.h"
#include "support/tolerance.h"

namespace dlt::autodiff {
namespace {

/// Gradients of random graphs go through second derivatives large enough to want a little room.
constexpr support::Tolerance kLimit{2e-5, 2e-6};

int count_ops(const Graph& graph, std::string_view op) {
  return static_cast<int>(std::count_if(graph.nodes().begin(), graph.nodes().end(),
                                        [&](const Node& node) { return node.op->name == op; }));
}

class Backward : public ::testing::Test {
 protected:
  OpTable ops_ = ops::make_op_table();
};

TEST_F(Backward, RandomGraphsEqualFiniteDifferences) {
  for (std::uint64_t seed = 0; seed < 150; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    const Graph forward = c.graph;
    append_backward(c.graph, c.loss, c.weight);
    const support::Bindings values = support::naive_run(c.graph, c.bound, run_context());
    for (const auto& [param, gradient] : c.graph.gradients()) {
      const std::vector<double> got = support::to_doubles(values.at(gradient));
      const std::vector<double> want =
          support::numeric_gradient(forward, c.bound, run_context(), c.loss, c.weight, param);
      for (std::size_t i = 0; i < got.size(); ++i) {
        EXPECT_TRUE(support::close(got[i], want[i], kLimit))
            << c.graph.value(param).name << " element " << i << ": " << got[i]
            << ", differences give " << want[i] << "\n"
            << c.graph.text();
      }
    }
  }
}

TEST_F(Backward, EveryParameterThatMattersGetsAGradient) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    const Graph forward = c.graph;
    append_backward(c.graph, c.loss, c.weight);
    std::set<ValueId> have;
    for (const auto& entry : c.graph.gradients()) have.insert(entry.first);
    for (const ValueId param : forward.params()) {
      if (have.count(param) > 0) continue;
      for (const double x :
           support::numeric_gradient(forward, c.bound, run_context(), c.loss, c.weight, param)) {
        EXPECT_EQ(x, 0.0) << forward.value(param).name;
      }
    }
  }
}

TEST_F(Backward, ComputesNothingForGraphInputs) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  append_backward(c.graph, c.loss, c.weight);
  // two products forward; dW of both layers, dx of the second only
  EXPECT_EQ(count_ops(c.graph, "matmul"), 2 + 3);
  EXPECT_EQ(count_ops(c.graph, "copy"), 0);
}

TEST_F(Backward, EveryAppendedNodeIsNeeded) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    Case c = random_case(ops_, seed);
    append_backward(c.graph, c.loss, c.weight);
    std::set<ValueId> used;
    for (const Node& node : c.graph.nodes()) used.insert(node.inputs.begin(), node.inputs.end());
    for (const auto& entry : c.graph.gradients()) used.insert(entry.second);
    for (const Node& node : c.graph.nodes()) {
      if (!node.backward) continue;
      const bool any = std::any_of(node.outputs.begin(), node.outputs.end(),
                                   [&](ValueId id) { return used.count(id) > 0; });
      EXPECT_TRUE(any) << "seed " << seed << ": " << node.op->name;
    }
  }
}

TEST_F(Backward, SeveralUsesAreAdded) {
  Graph graph(ops_);
  const ValueId w = graph.param("w", {3}, DType::f64);
  const ValueId seed = graph.input("seed", {{3}, DType::f64});
  const ValueId sum = graph.add_one("add", {graph.add_one("mul", {w, w}), w});
  const std::vector<ValueId> wrt{w};
  const ValueId gradient = gradients_of(graph, sum, seed, wrt)[0];
  support::Bindings bound{{w, support::random_tensor({{3}, DType::f64}, 1, 1)},
                          {seed, support::random_tensor({{3}, DType::f64}, 1, 2)}};
  const std::vector<double> got =
      support::to_doubles(support::naive_run(graph, bound, run_context()).at(gradient));
  for (std::size_t i = 0; i < 3; ++i) {
    const double x = bound[w].as<double>()[i], s = bound[seed].as<double>()[i];
    EXPECT_NEAR(got[i], s * (2 * x + 1), 1e-12);
  }
}

TEST_F(Backward, SharedAliasedAndInputGradientsAreCopied) {
  Graph graph(ops_);
  const ValueId a = graph.param("a", {2, 3});
  const ValueId b = graph.param("b", {2, 3});
  const ValueId c = graph.param("c", {6});
  const ValueId seed = graph.input("seed", {{2, 3}, DType::f32});
  const ValueId flat = graph.add_one("reshape", {c}, {{"shape", std::vector<std::int64_t>{2, 3}}});
  const ValueId sum = graph.add_one("add", {graph.add_one("add", {a, b}), flat});
  append_backward(graph, sum, seed);
  ASSERT_EQ(graph.gradients().size(), 3u);
  std::set<ValueId> distinct;
  for (const auto& [param, gradient] : graph.gradients()) {
    distinct.insert(gradient);
    const Value& value = graph.value(gradient);
    ASSERT_EQ(value.kind, ValueKind::result);
    EXPECT_EQ(graph.nodes()[static_cast<std::size_t>(value.producer)].op->name, "copy");
  }
  EXPECT_EQ(distinct.size(), 3u);
}

TEST_F(Backward, OnlyTheSecondOfTwoSharersIsCopied) {
  Graph graph(ops_);
  const ValueId a = graph.param("a", {3});
  const ValueId b = graph.param("b", {3});
  const ValueId seed = graph.input("seed", {{3}, DType::f32});
  const ValueId loss = graph.add_one("scale", {graph.add_one("add", {a, b})}, {{"factor", 2.0}});
  append_backward(graph, loss, seed);
  EXPECT_EQ(count_ops(graph, "copy"), 1);
}

TEST_F(Backward, IndependentParametersGetNone) {
  Graph graph(ops_);
  const ValueId a = graph.param("a", {3});
  const ValueId b = graph.param("b", {3});
  const ValueId seed = graph.input("seed", {{3}, DType::f32});
  append_backward(graph, graph.add_one("square", {a}), seed);
  ASSERT_EQ(graph.gradients().size(), 1u);
  EXPECT_EQ(graph.gradients()[0].first, a);
  const std::vector<ValueId> wrt{b};
  EXPECT_FALSE(gradients_of(graph, graph.add_one("neg", {a}), seed, wrt)[0].valid());
}

TEST_F(Backward, AnOpWithoutDerivativeIsNamed) {
  Graph graph(ops_);
  const ValueId a = graph.param("a", {2, 3});
  const ValueId seed = graph.input("seed", {{3}, DType::f32});
  graph.set_scope("odd");
  const ValueId sums = graph.add_one("bias_grad", {a});
  try {
    append_backward(graph, sums, seed);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::internal);
    EXPECT_NE(std::string(error.what()).find("odd: bias_grad"), std::string::npos);
  }
}

TEST_F(Backward, LeavesScopeAndModeAsTheyWere) {
  Case c = mlp_case(ops_, {4, 8, 3}, 5);
  c.graph.set_scope("here");
  append_backward(c.graph, c.loss, c.weight);
  EXPECT_EQ(c.graph.scope(), "here");
  EXPECT_FALSE(c.graph.backward());
  for (const Node& node : c.graph.nodes()) {
    if (node.op->name != "bias_grad") continue;
    EXPECT_EQ(node.scope.rfind("dense_", 0), 0u) << node.scope;
  }
}

}  // namespace
}  // namespace dlt::autodiff
