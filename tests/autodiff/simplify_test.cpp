// SPDX-License-Identifier: Apache-2.0
// simplify and fold_constants on graphs small enough to see through.
#include <algorithm>
#include <cmath>
#include <functional>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/executor.h"
#include "autodiff/passes.h"
#include "ops/ops.h"
#include "support/host_backend.h"
#include "tensor/backend.h"

namespace dlt::autodiff {
namespace {

using tensor::Attrs;
using Dims = std::vector<std::int64_t>;
using Names = std::vector<std::string>;

class Simplify : public ::testing::Test {
 protected:
  /// The ops that are left of build's value, behind a tanh so that x itself is not the output.
  Names left_of(const tensor::Shape& shape, const std::function<ValueId(Graph&, ValueId)>& build) {
    Graph graph(ops_);
    const ValueId x = graph.input("x", {shape, DType::f32});
    graph.output("y", graph.add_one("tanh", {build(graph, x)}));
    (void)fold_constants(graph, backend_);
    (void)simplify(graph);
    (void)remove_dead_nodes(graph);
    Names names;
    for (const Node& node : graph.nodes()) names.emplace_back(node.op->name);
    return names;
  }
  Names left_of_op(const tensor::Shape& shape, const std::string& op, const Attrs& attrs) {
    return left_of(shape, [&](Graph& graph, ValueId x) { return graph.add(op, {x}, attrs)[0]; });
  }
  static ValueId filled(Graph& graph, Dims shape, double value) {
    return graph.add_one("fill", {}, {{"shape", std::move(shape)}, {"value", value}});
  }

  OpTable ops_ = ops::make_op_table();
  support::HostBackend backend_;
};

TEST_F(Simplify, WhatGivesBackItsInputGoes) {
  const Names alone{"tanh"};
  EXPECT_EQ(left_of_op({2, 3}, "scale", {{"factor", 1.0}}), alone);
  EXPECT_EQ(left_of_op({2, 3}, "dropout", {{"rate", 0.0}, {"op", std::int64_t{1}}}), alone);
  EXPECT_EQ(left_of_op({2, 3}, "reshape", {{"shape", Dims{2, 3}}}), alone);
  EXPECT_EQ(left_of_op({2, 3}, "concat", {}), alone);
  EXPECT_EQ(left_of_op({2, 3}, "slice", {{"begin", std::int64_t{0}}, {"size", std::int64_t{3}}}),
            alone);
  EXPECT_EQ(left_of_op({1, 4, 4, 2}, "pad2d", {{"pads", Dims{0, 0, 0, 0}}}), alone);
  EXPECT_EQ(left_of_op({1, 4, 4, 2}, "crop2d", {{"pads", Dims{0, 0, 0, 0}}}), alone);
  EXPECT_EQ(left_of_op({1, 4, 4, 2}, "upsample2d", {{"size", Dims{1, 1}}}), alone);
  EXPECT_EQ(
      left_of_op({1, 4, 4, 2}, "avg_pool2d",
                 {{"window", Dims{1, 1}}, {"strides", Dims{1, 1}}, {"pads", Dims{0, 0, 0, 0}}}),
      alone);
}

TEST_F(Simplify, WhatDoesSomethingStays) {
  EXPECT_EQ(left_of_op({2, 3}, "scale", {{"factor", 1.0}, {"offset", 1e-7}}),
            (Names{"scale", "tanh"}));
  EXPECT_EQ(left_of_op({2, 3}, "dropout", {{"rate", 1e-9}, {"op", std::int64_t{1}}}),
            (Names{"dropout", "tanh"}));
  EXPECT_EQ(left_of_op({2, 3}, "reshape", {{"shape", Dims{3, 2}}}), (Names{"reshape", "tanh"}));
  EXPECT_EQ(left_of_op({2, 3}, "slice", {{"begin", std::int64_t{1}}, {"size", std::int64_t{2}}}),
            (Names{"slice", "tanh"}));
  EXPECT_EQ(left_of_op({1, 4, 4, 2}, "avg_pool2d",
                       {{"window", Dims{1, 1}}, {"strides", Dims{2, 1}}, {"pads", Dims(4, 0)}}),
            (Names{"avg_pool2d", "tanh"}));
}

TEST_F(Simplify, PairsThatCancelGo) {
  const auto twice = [](const std::string& first, const std::string& second, const Attrs& attrs) {
    return [=](Graph& graph, ValueId x) {
      return graph.add_one(second, {graph.add_one(first, {x}, attrs)}, attrs);
    };
  };
  EXPECT_EQ(left_of({2, 3}, twice("neg", "neg", {})), Names{"tanh"});
  EXPECT_EQ(left_of({2, 3}, twice("relu", "relu", {})), (Names{"relu", "tanh"}));
  EXPECT_EQ(left_of({2, 3}, twice("abs", "abs", {})), (Names{"abs", "tanh"}));
  const Attrs pads{{"pads", Dims{1, 0, 2, 1}}};
  EXPECT_EQ(left_of({1, 4, 4, 2}, twice("pad2d", "crop2d", pads)), Names{"tanh"});
  EXPECT_EQ(left_of({1, 9, 9, 2}, twice("crop2d", "pad2d", pads)),
            (Names{"crop2d", "pad2d", "tanh"}));
}

TEST_F(Simplify, AReshapeOfAReshapeIsOne) {
  EXPECT_EQ(
      left_of({2, 6},
              [](Graph& graph, ValueId x) {
                const ValueId cube = graph.add_one("reshape", {x}, {{"shape", Dims{2, 2, 3}}});
                const ValueId flat = graph.add_one("reshape", {cube}, {{"shape", Dims{12}}});
                return graph.add_one("reshape", {flat}, {{"shape", Dims{4, 3}}});
              }),
      (Names{"reshape", "tanh"}));
  EXPECT_EQ(left_of({2, 6},
                    [](Graph& graph, ValueId x) {
                      const ValueId flat = graph.add_one("reshape", {x}, {{"shape", Dims{12}}});
                      return graph.add_one("reshape", {flat}, {{"shape", Dims{2, 6}}});
                    }),
            Names{"tanh"});
}

TEST_F(Simplify, ConstantsOfNoEffectGo) {
  struct Row {
    const char* op;
    double value;
    bool first, gone;
  };
  for (const Row& row :
       {Row{"add", 0, false, true}, Row{"add", 0, true, true}, Row{"add", -0.0, false, false},
        Row{"sub", 0, false, true}, Row{"sub", 0, true, false}, Row{"mul", 1, true, true},
        Row{"mul", 1, false, true}, Row{"mul", 0, false, false}, Row{"div", 1, false, true},
        Row{"div", 1, true, false}}) {
    const Names names = left_of({2, 3}, [&](Graph& graph, ValueId x) {
      const ValueId constant = filled(graph, {2, 3}, row.value);
      return row.first ? graph.add_one(row.op, {constant, x})
                       : graph.add_one(row.op, {x, constant});
    });
    EXPECT_EQ(names, row.gone ? Names{"tanh"} : (Names{row.op, "tanh"})) << row.op << row.value;
  }
}

TEST_F(Simplify, OutputsAndGradientsStay) {
  Graph graph(ops_);
  const ValueId w = graph.param("w", {2, 3});
  const ValueId y = graph.add_one("scale", {w}, {{"factor", 1.0}});
  graph.output("y", y);
  const ValueId seed = filled(graph, {2, 3}, 1);
  append_backward(graph, y, seed);
  EXPECT_EQ(simplify(graph), 0);
  (void)fold_constants(graph, backend_);
  EXPECT_EQ(graph.value(graph.gradients()[0].second).kind, ValueKind::result);
}

TEST_F(Simplify, WhatIsComputedFromConstantsIsComputedOnce) {
  Graph graph(ops_);
  const ValueId x = graph.input("x", {{2, 3}, DType::f32});
  const ValueId half = graph.add_one("exp", {filled(graph, {6}, 0.5)});
  const ValueId shaped = graph.add_one("reshape", {half}, {{"shape", Dims{2, 3}}});
  const ValueId drawn =
      graph.add_one("dropout", {shaped}, {{"rate", 0.5}, {"op", std::int64_t{1}}});
  const ValueId summed = graph.add_one("sync_sum", {shaped});
  graph.output("y", graph.add_one("mul", {x, graph.add_one("mul", {drawn, summed})}));
  graph.output("z", graph.add_one("mul", {x, shaped}));
  EXPECT_EQ(fold_constants(graph, backend_), 3);  // neither what is random nor what waits
  (void)remove_dead_nodes(graph);
  EXPECT_EQ(graph.nodes().size(), 5u);
  ASSERT_EQ(graph.value(shaped).kind, ValueKind::constant);
  for (const float number : graph.constant(shaped).as<float>()) {
    EXPECT_EQ(number, static_cast<float>(std::exp(0.5)));
  }
  EXPECT_NE(graph.text().find(" = constant "), std::string::npos);
}

TEST_F(Simplify, AProgramReadsItsConstantsWithoutWritingThem) {
  for (const bool device : {false, true}) {
    const auto cpu = tensor::make_cpu_backend();
    tensor::Backend& backend = device ? *cpu : static_cast<tensor::Backend&>(backend_);
    Graph graph(ops_);
    const ValueId x = graph.input("x", {{2, 3}, DType::f32});
    const ValueId two = filled(graph, {2, 3}, 2);
    graph.output("y", graph.add_one("tanh", {graph.add_one("sub", {two, x})}));
    const Program program(std::move(graph), backend);
    Executor first(program, backend, nullptr), second(program, backend, nullptr);
    const float numbers[6] = {0, 1, 2, 3, 4, 5};
    for (Executor* executor : {&first, &second, &first}) {
      executor->bind_input("x", numbers);
      executor->run({});
      for (int i = 0; i < 6; ++i) {
        EXPECT_NEAR(executor->output("y").as<float>()[i], std::tanh(2.0f - numbers[i]), 1e-6f);
      }
    }
  }
}

}  // namespace
}  // namespace dlt::autodiff
