// SPDX-License-Identifier: Apache-2.0
// What fuse_pointwise makes of graphs; executor_test holds it to the bits of hundreds of random
// ones.
#include <algorithm>
#include <cstring>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "autodiff/recompute.h"
#include "ops/ops.h"
#include "tensor/backend.h"

namespace dlt::autodiff {
namespace {

using Names = std::vector<std::string>;
using Dims = std::vector<std::int64_t>;

/// The table without the fused op: nothing is fused.
OpTable plain_table() {
  const OpTable whole = ops::make_op_table();
  std::vector<OpDef> ops(whole.all().begin(), whole.all().end());
  std::erase_if(ops, [](const OpDef& op) { return op.name == "fused_pointwise"; });
  return OpTable(std::move(ops));
}

/// Outputs and gradients of one run of a program on the CPU.
struct Outcome {
  std::vector<std::vector<std::byte>> results;
  std::int64_t arena_bytes = 0;
};

class FusePointwise : public ::testing::Test {
 protected:
  [[nodiscard]] static Names ops_of(const Graph& graph) {
    Names names;
    for (const Node& node : graph.nodes()) {
      if (!node.op->alias) names.emplace_back(node.op->name);
    }
    return names;
  }
  [[nodiscard]] static Names programs_of(const Graph& graph) {
    Names texts;
    for (const Node& node : graph.nodes()) {
      if (node.op->name == "fused_pointwise") texts.push_back(node.attrs.word("program"));
    }
    return texts;
  }
  [[nodiscard]] ValueId input(const std::string& name, const tensor::Shape& shape = {2, 3}) {
    return graph_.input(name, {shape, DType::f32});
  }

  OpTable ops_ = ops::make_op_table();
  Graph graph_{ops_};
};

TEST_F(FusePointwise, AChainBecomesOneNode) {
  const ValueId x = input("x"), y = input("y");
  const ValueId gate = graph_.add_one("silu", {x});
  graph_.output("z", graph_.add_one("mul", {gate, y}));
  EXPECT_EQ(fuse_pointwise(graph_), 1);
  EXPECT_EQ(programs_of(graph_), Names{"inputs 2; silu %0; mul %2 %1; outputs %3"});
  EXPECT_EQ(ops_of(graph_), Names{"fused_pointwise"});
}

TEST_F(FusePointwise, AReshapeBetweenIsLookedThrough) {
  const ValueId x = input("x", {6}), y = input("y");
  const ValueId gate = graph_.add_one("silu", {x});
  const ValueId shaped = graph_.add_one("reshape", {gate}, {{"shape", Dims{2, 3}}});
  graph_.output("z", graph_.add_one("mul", {shaped, y}));
  EXPECT_EQ(fuse_pointwise(graph_), 1);
  EXPECT_EQ(programs_of(graph_),
            Names{"inputs 2; silu %0; reshape %2 shape=(2,3); mul %3 %1; outputs %4"});
  EXPECT_EQ(graph_.nodes().size(), 1u);
}

TEST_F(FusePointwise, WhatOthersReadLeavesTheNodeToo) {
  const ValueId x = input("x");
  const ValueId shifted = graph_.add_one("scale", {x}, {{"offset", 0.5}});
  graph_.output("rows", graph_.add_one("sum_rows", {shifted}));
  graph_.output("y", graph_.add_one("tanh", {shifted}));
  EXPECT_EQ(fuse_pointwise(graph_), 1);
  EXPECT_EQ(programs_of(graph_), Names{"inputs 1; scale %0 offset=0.5; tanh %1; outputs %1 %2"});
  EXPECT_EQ(ops_of(graph_), (Names{"fused_pointwise", "sum_rows"}));
}

TEST_F(FusePointwise, AWayAroundThroughAnotherNodeKeepsThemApart) {
  const ValueId x = input("x");
  const ValueId shifted = graph_.add_one("neg", {x});
  const ValueId normal = graph_.add_one("softmax", {shifted});
  graph_.output("y", graph_.add_one("mul", {shifted, normal}));
  EXPECT_EQ(fuse_pointwise(graph_), 0);
}

TEST_F(FusePointwise, AWayAroundThroughAnotherGroupKeepsThemApart) {
  // b and d may be one, or a and c, not both: each would wait for the other.
  const ValueId x = input("x"), y = input("y");
  const ValueId a = graph_.add_one("neg", {x}), b = graph_.add_one("neg", {y});
  const ValueId from_a = graph_.add_one("softmax", {a}), from_b = graph_.add_one("softmax", {b});
  const ValueId c = graph_.add_one("mul", {a, from_b}), d = graph_.add_one("mul", {b, from_a});
  graph_.output("c", c);
  graph_.output("d", d);
  EXPECT_EQ(fuse_pointwise(graph_), 1);
  EXPECT_EQ(ops_of(graph_).size(), 5u);
}

TEST_F(FusePointwise, OtherSizesAndTypesStayApart) {
  const ValueId x = input("x"), bias = input("bias", {3});
  const ValueId shifted = graph_.add_one("neg", {bias});
  graph_.output("y", graph_.add_one("tanh", {graph_.add_one("bias_add", {x, shifted})}));
  EXPECT_EQ(fuse_pointwise(graph_), 1);
  EXPECT_EQ(programs_of(graph_), Names{"inputs 2; bias_add %0 %1; tanh %2; outputs %3"});
}

TEST_F(FusePointwise, NeverMoreOperandsThanAKernelTakes) {
  ValueId sum = input("x");
  for (int i = 0; i < 30; ++i) {
    const std::string name = "y" + std::to_string(i);
    sum = graph_.add_one("tanh", {graph_.add_one("add", {sum, input(name)})});
    if (i % 3 == 0) graph_.output(name, sum);
  }
  graph_.output("sum", sum);
  EXPECT_GT(fuse_pointwise(graph_), 4);
  for (const Node& node : graph_.nodes()) {
    EXPECT_LE(node.inputs.size(), 8u);
    EXPECT_LE(node.outputs.size(), 4u);
  }
}

/// y = ffn_2(silu(ffn_1(x)) ffn_gate(x)), as transformer_block has it, and its gradients.
Case gated_case(const OpTable& ops, DType dtype, std::int64_t rows, std::int64_t units) {
  Case c(ops);
  c.dtype = dtype;
  Graph& graph = c.graph;
  const ValueId x = c.add_input("x", {{2, rows, 8}, dtype}, 1);
  c.weight = c.add_input("weight", {{2}, dtype}, 2);
  const ValueId flat = graph.add_one("reshape", {x}, {{"shape", Dims{2 * rows, 8}}});
  const auto product = [&](ValueId value, const std::string& name, tensor::Shape shape) {
    graph.set_scope(name);
    return graph.add_one("matmul", {value, c.add_param(name, shape, graph.values().size())});
  };
  const auto cube = [&](ValueId value) {
    return graph.add_one("reshape", {value}, {{"shape", Dims{2, rows, units}}});
  };
  const ValueId open = graph.add_one("silu", {product(flat, "ffn_1", {8, units})});
  const ValueId gate = cube(product(flat, "ffn_gate", {8, units}));
  const ValueId hidden = graph.add_one("mul", {cube(open), gate});
  const ValueId dropped =
      graph.add_one("dropout", {hidden}, {{"rate", 0.2}, {"op", std::int64_t{5}}});
  const ValueId last = graph.add_one("reshape", {dropped}, {{"shape", Dims{2 * rows, units}}});
  const ValueId y = product(last, "ffn_2", {units, 1});
  const ValueId per_sample = graph.add_one("reshape", {y}, {{"shape", Dims{2, rows}}});
  c.loss = graph.add_one("sum_rows", {per_sample});
  graph.output("loss", c.loss);
  graph.set_scope("");
  return c;
}

Outcome run_on_cpu(const Case& c) {
  const auto backend = tensor::make_cpu_backend();
  const Program program(c.graph, *backend);
  const tensor::Tensor params = flat_params(c, program.layout());
  const tensor::Tensor gradients({program.layout().total}, DType::f32);
  Executor executor(program, *backend, params.as<float>().data());
  executor.bind_gradients(gradients.as<float>().data());
  bind_inputs(executor, c);
  executor.run(run_context());
  Outcome run;
  const tensor::View loss = executor.output("loss");
  const auto* bytes = loss.as<const std::byte>();
  run.results.emplace_back(bytes, bytes + loss.type.bytes());
  for (const auto& [param, gradient] : c.graph.gradients()) {  // the layouts may differ
    const auto* entry = program.layout().find(c.graph.value(param).name);
    const std::byte* begin = gradients.bytes() + entry->offset * 4;
    run.results.emplace_back(begin, begin + entry->numel * 4);
  }
  run.arena_bytes = program.plan().arena_bytes;
  return run;
}

TEST_F(FusePointwise, AGatedLayerComputesItsGateAgain) {
  Case c = gated_case(ops_, DType::f64, 3, 4);
  append_backward(c.graph, c.loss, c.weight);
  (void)remove_dead_nodes(c.graph);
  EXPECT_EQ(fuse_pointwise(c.graph), 2);
  const Names programs = programs_of(c.graph);
  ASSERT_EQ(programs.size(), 2u);
  EXPECT_EQ(programs[0],
            "inputs 2; silu %0; reshape %2 shape=(2,3,4); reshape %1 shape=(2,3,4); mul %3 %4; "
            "dropout %5 op=5 rate=0.20000000000000001; outputs %6");
  EXPECT_NE(programs[1].find("silu %"), std::string::npos) << programs[1];
  EXPECT_NE(programs[1].find("silu_grad %"), std::string::npos) << programs[1];
  for (const std::string& op : ops_of(c.graph)) {
    EXPECT_TRUE(op != "mul" && op != "silu" && op != "silu_grad" && op != "dropout") << op;
  }
}

TEST_F(FusePointwise, ItsGradientsAreThoseOfDifferences) {
  Case c = gated_case(ops_, DType::f64, 2, 3);
  const Graph forward = c.graph;
  append_backward(c.graph, c.loss, c.weight);
  (void)remove_dead_nodes(c.graph);
  EXPECT_GT(fuse_pointwise(c.graph), 0);
  const support::Bindings values = support::naive_run(c.graph, c.bound, run_context());
  for (const auto& [param, gradient] : c.graph.gradients()) {
    const auto got = support::to_doubles(values.at(gradient));
    const auto want =
        support::numeric_gradient(forward, c.bound, run_context(), c.loss, c.weight, param);
    for (std::size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], want[i], 1e-6);
  }
}

TEST_F(FusePointwise, SameBitsAndLessMemoryOnTheCpu) {
  const OpTable plain = plain_table();
  for (const int segments : {1, 2, 3}) {
    Outcome runs[2];
    for (const bool fused : {false, true}) {
      Case c = gated_case(fused ? ops_ : plain, DType::f32, 67, 100);
      append_backward(c.graph, c.loss, c.weight);
      (void)recompute_activations(c.graph, segments);
      runs[fused ? 1 : 0] = run_on_cpu(c);
    }
    EXPECT_EQ(runs[0].results, runs[1].results);
    EXPECT_LT(runs[1].arena_bytes, runs[0].arena_bytes);
  }
}

}  // namespace
}  // namespace dlt::autodiff
