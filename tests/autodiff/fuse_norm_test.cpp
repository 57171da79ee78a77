// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <functional>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "ops/ops.h"
#include "support/tolerance.h"

namespace dlt::autodiff {
namespace {

using Names = std::vector<std::string>;
using Build = std::function<ValueId(Graph&, ValueId x, const std::vector<ValueId>& vectors)>;

class FuseNorm : public ::testing::Test {
 protected:
  /// build's value, summed over each sample, of a [5, 3] parameter and four [3] ones.
  [[nodiscard]] Graph made(const Build& build, support::Bindings& bound, bool fused) {
    Graph graph(ops_);
    const auto param = [&](const std::string& name, const tensor::Shape& shape) {
      const ValueId id = graph.param(name, shape, DType::f64);
      bound[id] =
          support::random_tensor({shape, DType::f64}, 3, static_cast<std::uint64_t>(id.index));
      return id;
    };
    const ValueId x = param("x", {5, 3});
    std::vector<ValueId> vectors;
    for (const char* name : {"a", "b", "c", "d"}) vectors.push_back(param(name, {3}));
    weight_ = graph.input("weight", {{5}, DType::f64});
    bound[weight_] = tensor::Tensor({5}, DType::f64);
    for (double& w : bound[weight_].as<double>()) w = 1;
    const ValueId y = build(graph, x, vectors);
    graph.output("y", y);
    const ValueId loss = graph.add_one("sum_rows", {graph.add_one("square", {y})});
    graph.output("loss", loss);
    num_fused_ = fused ? fuse_norm_activation(graph) : 0;
    append_backward(graph, graph.outputs().at("loss"), weight_);
    (void)remove_dead_nodes(graph);
    return graph;
  }

  /// The fused graph gives the values and gradients of the plain one; returns its ops.
  Names expect_same(const Build& build) {
    support::Bindings plain_bound, fused_bound;
    const Graph plain = made(build, plain_bound, false), fused = made(build, fused_bound, true);
    const support::Bindings want = support::naive_run(plain, plain_bound, run_context());
    const support::Bindings got = support::naive_run(fused, fused_bound, run_context());
    const auto compare = [&](ValueId w, ValueId g, const std::string& what) {
      const auto a = support::to_doubles(want.at(w)), b = support::to_doubles(got.at(g));
      ASSERT_EQ(a.size(), b.size());
      for (std::size_t i = 0; i < a.size(); ++i) {
        EXPECT_TRUE(support::close(b[i], a[i], {1e-10, 1e-12})) << what << " " << i;
      }
    };
    for (const auto& output : plain.outputs()) {
      compare(output.second, fused.outputs().at(output.first), output.first);
    }
    EXPECT_EQ(plain.gradients().size(), fused.gradients().size());
    for (std::size_t i = 0; i < plain.gradients().size(); ++i) {
      compare(plain.gradients()[i].second, fused.gradients()[i].second, "gradient");
    }
    Names names;
    for (const Node& node : fused.nodes()) names.emplace_back(node.op->name);
    return names;
  }

  [[nodiscard]] static bool has(const Names& names, const std::string& op) {
    return std::count(names.begin(), names.end(), op) > 0;
  }

  OpTable ops_ = ops::make_op_table();
  ValueId weight_;
  int num_fused_ = 0;
};

TEST_F(FuseNorm, ReluJoinsBatchNormThoughStatisticsStandBetween) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const auto norm = graph.add("batch_norm", {x, v[0], v[1], weight_});
    const auto sums = graph.add("batch_norm_statistics", {norm[1], norm[3], weight_, v[2]});
    graph.output("sums", sums[1]);
    return graph.add_one("relu", {norm[0]});
  });
  EXPECT_EQ(num_fused_, 1);
  EXPECT_FALSE(has(names, "relu"));
  EXPECT_FALSE(has(names, "relu_grad"));
}

TEST_F(FuseNorm, ReluStaysWhereTheValueBetweenIsRead) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId normal = graph.add("batch_norm", {x, v[0], v[1], weight_})[0];
    return graph.add_one("add", {graph.add_one("relu", {normal}), normal});
  });
  EXPECT_EQ(num_fused_, 0);
  EXPECT_TRUE(has(names, "relu"));
}

TEST_F(FuseNorm, TheSumAndReluOfAResidualBlockJoinItsLastBatchNorm) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const auto norm = graph.add("batch_norm", {x, v[0], v[1], weight_});
    const auto sums = graph.add("batch_norm_statistics", {norm[1], norm[3], weight_, v[2]});
    graph.output("sums", sums[1]);
    const ValueId past = graph.add_one("tanh", {x});  // behind the norm and its statistics
    return graph.add_one("relu", {graph.add_one("add", {norm[0], past})});
  });
  EXPECT_EQ(num_fused_, 2);
  EXPECT_FALSE(has(names, "add") && has(names, "relu"));
  EXPECT_FALSE(has(names, "relu_grad"));
}

TEST_F(FuseNorm, ABatchNormOnTheShortcutStaysAndIsAdded) {
  for (const bool swapped : {false, true}) {
    const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
      const ValueId past =
          graph.add("batch_norm", {graph.add_one("tanh", {x}), v[2], v[3], weight_})[0];
      const ValueId last = graph.add("batch_norm", {x, v[0], v[1], weight_})[0];
      const std::vector<ValueId> sides =
          swapped ? std::vector<ValueId>{past, last} : std::vector<ValueId>{last, past};
      return graph.add_one("relu", {graph.add_one("add", sides)});
    });
    EXPECT_EQ(num_fused_, 2);
    EXPECT_EQ(std::count(names.begin(), names.end(), "batch_norm"), 2);
    EXPECT_FALSE(has(names, "relu"));
  }
}

TEST_F(FuseNorm, ASumWithoutReluJoinsToo) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId past = graph.add_one("tanh", {x});
    return graph.add_one("add", {past, graph.add("batch_norm", {x, v[0], v[1], weight_})[0]});
  });
  EXPECT_EQ(num_fused_, 1);
  EXPECT_TRUE(has(names, "batch_norm_grad"));
}

TEST_F(FuseNorm, ASumStaysWhereTheNormalValueIsReadOrCutOff) {
  (void)expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId normal = graph.add("batch_norm", {x, v[0], v[1], weight_})[0];
    return graph.add_one("mul", {graph.add_one("add", {normal, x}), normal});
  });
  EXPECT_EQ(num_fused_, 0);
  (void)expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId normal = graph.add("batch_norm", {x, v[0], v[1], weight_})[0];
    return graph.add_one("add", {graph.add_one("relu", {normal}), x});
  });
  EXPECT_EQ(num_fused_, 1);  // the relu
}

TEST_F(FuseNorm, ASecondReluIsLeftAlone) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId normal = graph.add("batch_norm", {x, v[0], v[1], weight_})[0];
    return graph.add_one("relu", {graph.add_one("relu", {normal})});
  });
  EXPECT_EQ(num_fused_, 1);
  EXPECT_EQ(std::count(names.begin(), names.end(), "relu"), 1);
}

TEST_F(FuseNorm, InferenceIsFusedToo) {
  Graph graph(ops_);
  const ValueId x = graph.input("x", {{2, 3}, DType::f32});
  std::vector<ValueId> inputs{x};
  for (const char* name : {"a", "b", "c", "d"}) inputs.push_back(graph.param(name, {3}));
  const ValueId normal = graph.add_one("batch_norm_inference", inputs);
  graph.output("y", graph.add_one("relu", {normal}));
  EXPECT_EQ(fuse_norm_activation(graph), 1);
  (void)remove_dead_nodes(graph);
  ASSERT_EQ(graph.nodes().size(), 1u);
  EXPECT_EQ(graph.nodes()[0].attrs.word("activation"), "relu");
  EXPECT_EQ(graph.nodes()[0].outputs[0], graph.outputs().at("y"));
}

TEST_F(FuseNorm, AResidualBlockOfInferenceIsOneNode) {
  Graph graph(ops_);
  const ValueId x = graph.input("x", {{2, 3}, DType::f32});
  std::vector<ValueId> inputs{x};
  for (const char* name : {"a", "b", "c", "d"}) inputs.push_back(graph.param(name, {3}));
  const ValueId normal = graph.add_one("batch_norm_inference", inputs);
  graph.output("y", graph.add_one("relu", {graph.add_one("add", {x, normal})}));
  EXPECT_EQ(fuse_norm_activation(graph), 2);
  (void)remove_dead_nodes(graph);
  ASSERT_EQ(graph.nodes().size(), 1u);
  EXPECT_EQ(graph.nodes()[0].inputs.back(), x);
  EXPECT_EQ(graph.nodes()[0].attrs.word("activation"), "relu");
}

TEST_F(FuseNorm, LayerNormJoinsTheSumThatOthersRead) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId sum = graph.add_one("add", {x, graph.add_one("tanh", {x})});
    const ValueId other = graph.add_one("tanh", {sum});
    const ValueId normal = graph.add("layer_norm", {sum, v[0], v[1]})[0];
    return graph.add_one("mul", {graph.add_one("add", {sum, normal}), other});
  });
  EXPECT_EQ(num_fused_, 1);
  EXPECT_TRUE(has(names, "add_layer_norm"));
  EXPECT_FALSE(has(names, "layer_norm"));
}

TEST_F(FuseNorm, LayerNormJoinsASumOfItsOwn) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId sum = graph.add_one("add", {x, graph.add_one("tanh", {x})});
    return graph.add("layer_norm", {sum, v[0], v[1]}, {{"eps", 0.5}})[0];
  });
  EXPECT_EQ(num_fused_, 1);
  EXPECT_FALSE(has(names, "layer_norm"));
}

TEST_F(FuseNorm, OneOfTwoNormsOfASumIsFused) {
  const Names names = expect_same([&](Graph& graph, ValueId x, const std::vector<ValueId>& v) {
    const ValueId sum = graph.add_one("add", {x, graph.add_one("tanh", {x})});
    const ValueId first = graph.add("layer_norm", {sum, v[0], v[1]})[0];
    return graph.add_one("add", {first, graph.add("layer_norm", {sum, v[2], v[3]})[0]});
  });
  EXPECT_EQ(num_fused_, 1);
  EXPECT_TRUE(has(names, "layer_norm"));
}

}  // namespace
}  // namespace dlt::autodiff
