// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "ops/ops.h"
#include "support/tolerance.h"

namespace dlt::autodiff {
namespace {

class Fuse : public ::testing::Test {
 protected:
  OpTable ops_ = ops::make_op_table();
  Graph graph_{ops_};

  [[nodiscard]] static std::vector<std::string> live_ops(Graph graph) {
    (void)remove_dead_nodes(graph);
    std::vector<std::string> names;
    for (const Node& node : graph.nodes()) names.emplace_back(node.op->name);
    return names;
  }
};

using Names = std::vector<std::string>;

TEST_F(Fuse, MlpBecomesLinearsAndOneLoss) {
  Case c = mlp_case(ops_, {4, 8, 8, 3}, 5);
  EXPECT_EQ(fuse_losses(c.graph), 1);
  EXPECT_EQ(fuse_bias_activation(c.graph), 5);
  EXPECT_EQ(live_ops(c.graph), (Names{"linear", "linear", "linear", "softmax_cross_entropy"}));
}

TEST_F(Fuse, PrecisionReachesEveryProductAndNothingElse) {
  Case c = mlp_case(ops_, {4, 8, 8, 3}, 5);
  (void)fuse_bias_activation(c.graph);
  append_backward(c.graph, c.loss, c.weight);
  (void)remove_dead_nodes(c.graph);
  const int products = set_precision(c.graph, "bf16");
  int found = 0;
  for (const Node& node : c.graph.nodes()) {
    const bool product = node.op->name == "matmul" || node.op->name == "linear";
    EXPECT_EQ(node.attrs.word("precision"), product ? "bf16" : "") << node.op->name;
    found += product ? 1 : 0;
  }
  EXPECT_EQ(products, found);
  EXPECT_GE(found, 8);  // three layers forward, three for weights, two for inputs
}

TEST_F(Fuse, FusedAndUnfusedGiveTheSame) {
  Case plain = mlp_case(ops_, {4, 8, 6, 3}, 5);
  Case fused = mlp_case(ops_, {4, 8, 6, 3}, 5);
  (void)fuse_losses(fused.graph);
  (void)fuse_bias_activation(fused.graph);
  for (Case* c : {&plain, &fused}) append_backward(c->graph, c->loss, c->weight);
  const support::Bindings a = support::naive_run(plain.graph, plain.bound, run_context());
  const support::Bindings b = support::naive_run(fused.graph, fused.bound, run_context());
  const auto expect_same = [&](ValueId x, ValueId y) {
    const std::vector<double> first = support::to_doubles(a.at(x));
    const std::vector<double> second = support::to_doubles(b.at(y));
    ASSERT_EQ(first.size(), second.size());
    for (std::size_t i = 0; i < first.size(); ++i) {
      EXPECT_TRUE(support::close(first[i], second[i], support::tolerance(DType::f64)));
    }
  };
  expect_same(plain.loss, fused.loss);
  expect_same(plain.graph.outputs().at("prediction"), fused.graph.outputs().at("prediction"));
  ASSERT_EQ(plain.graph.gradients().size(), 6u);
  for (std::size_t i = 0; i < 6; ++i) {
    expect_same(plain.graph.gradients()[i].second, fused.graph.gradients()[i].second);
  }
}

TEST_F(Fuse, RandomGraphsKeepTheirValues) {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Case c = random_case(ops_, seed);
    const support::Bindings before = support::naive_run(c.graph, c.bound, run_context());
    (void)fuse_losses(c.graph);
    (void)fuse_bias_activation(c.graph);
    (void)remove_dead_nodes(c.graph);
    const support::Bindings after = support::naive_run(c.graph, c.bound, run_context());
    for (const auto& [name, id] : c.graph.outputs()) {
      const std::vector<double> want = support::to_doubles(before.at(id));
      const std::vector<double> got = support::to_doubles(after.at(id));
      for (std::size_t i = 0; i < want.size(); ++i) {
        EXPECT_TRUE(support::close(got[i], want[i], {1e-10, 1e-12})) << name;
      }
    }
  }
}

TEST_F(Fuse, SoftmaxThatIsAnOutputStaysBesideTheStableLoss) {
  const ValueId x = graph_.input("x", {{4, 3}, DType::f32});
  const ValueId labels = graph_.input("labels", {{4}, DType::i32});
  const ValueId p = graph_.add_one("softmax", {x});
  const ValueId loss =
      graph_.add_one("nll", {graph_.add_one("log", {p}), labels}, {{"label_smoothing", 0.1}});
  graph_.output("prediction", p);
  graph_.output("loss", loss);
  EXPECT_EQ(fuse_losses(graph_), 2);
  EXPECT_EQ(live_ops(graph_), (Names{"softmax", "softmax_cross_entropy"}));
  const Node& node = graph_.nodes()[static_cast<std::size_t>(graph_.value(loss).producer)];
  EXPECT_EQ(node.inputs[0], x);
  EXPECT_EQ(node.attrs.number("label_smoothing"), 0.1);
}

TEST_F(Fuse, SigmoidAndBceBecomeOne) {
  const ValueId x = graph_.input("x", {{4, 3}, DType::f32});
  const ValueId t = graph_.input("t", {{4, 3}, DType::f32});
  graph_.output("loss", graph_.add_one("bce_loss", {graph_.add_one("sigmoid", {x}), t}));
  EXPECT_EQ(fuse_losses(graph_), 1);
  EXPECT_EQ(live_ops(graph_), Names{"bce_with_logits_loss"});
}

TEST_F(Fuse, InnerValuesWithAnotherUserOrAnOutputAreLeftAlone) {
  const ValueId x = graph_.input("x", {{4, 3}, DType::f32});
  const ValueId w = graph_.param("w", {3, 3});
  const ValueId b = graph_.param("b", {3});
  const ValueId product = graph_.add_one("matmul", {x, w});
  const ValueId pre = graph_.add_one("bias_add", {product, b});
  graph_.output("y", graph_.add_one("relu", {pre}));
  Graph both = graph_;
  EXPECT_EQ(fuse_bias_activation(both), 2);
  Graph pre_is_output = graph_;
  pre_is_output.output("pre", pre);
  EXPECT_EQ(fuse_bias_activation(pre_is_output), 1);
  EXPECT_EQ(live_ops(pre_is_output), (Names{"linear", "relu"}));
  Graph product_used = graph_;
  product_used.output("other", product_used.add_one("tanh", {product}));
  EXPECT_EQ(fuse_bias_activation(product_used), 0);
}

TEST_F(Fuse, OtherActivationsAndTransposedProductsStay) {
  const ValueId x = graph_.input("x", {{4, 3}, DType::f32});
  const ValueId w = graph_.param("w", {3, 3});
  const ValueId b = graph_.param("b", {3});
  const ValueId product = graph_.add_one("matmul", {x, w}, {{"trans_b", std::int64_t{1}}});
  graph_.output("y", graph_.add_one("gelu", {graph_.add_one("bias_add", {product, b})}));
  EXPECT_EQ(fuse_bias_activation(graph_), 0);
}

TEST_F(Fuse, LeakySlopeIsKept) {
  const ValueId x = graph_.input("x", {{4, 3}, DType::f32});
  const ValueId w = graph_.param("w", {3, 3});
  const ValueId b = graph_.param("b", {3});
  const ValueId pre = graph_.add_one("bias_add", {graph_.add_one("matmul", {x, w}), b});
  const ValueId y = graph_.add_one("leaky_relu", {pre}, {{"alpha", 0.3}});
  graph_.output("y", y);
  EXPECT_EQ(fuse_bias_activation(graph_), 2);
  const Node& node = graph_.nodes()[static_cast<std::size_t>(graph_.value(y).producer)];
  EXPECT_EQ(node.op->name, "linear");
  EXPECT_EQ(node.attrs.word("activation"), "leaky_relu");
  EXPECT_EQ(node.attrs.number("alpha"), 0.3);
}

}  // namespace
}  // namespace dlt::autodiff
