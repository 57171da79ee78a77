// SPDX-License-Identifier: Apache-2.0
#include <cmath>

#include <gtest/gtest.h>

#include "autodiff/graph.h"
#include "base/error.h"
#include "ops/ops.h"

namespace dlt::ops {
namespace {

using tensor::Attrs;
using tensor::TensorType;

/// The message of the rule that these inputs break.
std::string complaint(const std::string& op, const std::vector<TensorType>& inputs,
                      const Attrs& attrs = {}) {
  const autodiff::OpTable table = make_op_table();
  try {
    (void)table.find(op)->infer(inputs, attrs);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::config) << error.what();
    return error.what();
  }
  return "no complaint";
}

TensorType f32(tensor::Shape shape) { return {shape, DType::f32}; }

TEST(Infer, MatmulNamesBothShapesAndTheRule) {
  EXPECT_EQ(complaint("matmul", {f32({32, 128}), f32({64, 10})}),
            "matmul: inner sizes differ: [32, 128] x [64, 10]; want lhs.shape[1] == rhs.shape[0]");
  EXPECT_EQ(
      complaint("matmul", {f32({32, 128}), f32({64, 10})}, {{"trans_a", std::int64_t{1}}}),
      "matmul: inner sizes differ: [32, 128]^T x [64, 10]; want lhs.shape[0] == rhs.shape[0]");
  EXPECT_EQ(complaint("matmul", {f32({128}), f32({64, 10})}),
            "matmul: a is f32[128]; want 2 sizes, [m, k]");
}

TEST(Infer, LinearChecksBias) {
  EXPECT_EQ(complaint("linear", {f32({8, 4}), f32({4, 3}), f32({4})}),
            "linear: w is f32[4, 3], b is f32[4]; want b.shape == [w.shape[1]]");
  EXPECT_EQ(complaint("linear", {f32({8, 5}), f32({4, 3}), f32({3})}),
            "linear: inner sizes differ: [8, 5] x [4, 3]; want x.shape[1] == w.shape[0]");
  EXPECT_EQ(complaint("linear", {f32({8, 4}), f32({4, 3}), f32({3})},
                      {{"activation", std::string("gelu")}}),
            "linear: activation is gelu; want leaky_relu, none, relu, sigmoid, softplus or tanh");
}

TEST(Infer, PairsMustBeAlike) {
  EXPECT_EQ(complaint("add", {f32({3}), f32({4})}),
            "add: a is f32[3], b is f32[4]; want the same shape and dtype");
  EXPECT_EQ(complaint("mse_loss", {f32({3, 1}), f32({3})}),
            "mse_loss: pred is f32[3, 1], target is f32[3]; want the same shape and dtype");
  EXPECT_EQ(complaint("mul", {f32({3}), {{3}, DType::f64}}),
            "mul: a is f32[3], b is f64[3]; want the same shape and dtype");
}

TEST(Infer, CrossEntropySaysWhichLabelsFit) {
  EXPECT_EQ(complaint("softmax_cross_entropy", {f32({8, 10}), f32({8})}),
            "softmax_cross_entropy: logits is f32[8, 10], labels are f32[8]; want i32[8] or "
            "f32[8, 10]");
  EXPECT_EQ(complaint("nll", {f32({8, 10}), {{4}, DType::i32}}),
            "nll: logp is f32[8, 10], labels are i32[4]; want i32[8] or f32[8, 10]");
}

TEST(Infer, IntegersAreNotNumbersToComputeWith) {
  EXPECT_EQ(complaint("relu", {{{3}, DType::i32}}), "relu: x is i32[3]; want a float type");
}

TEST(Infer, AttributesHaveLimits) {
  EXPECT_EQ(complaint("dropout", {f32({3, 2})}, {{"rate", 1.5}}),
            "dropout: rate is 1.5; want 0 <= rate < 1");
  EXPECT_EQ(complaint("dropout", {f32({3, 2})}, {{"rate", std::nan("")}}),
            "dropout: rate is nan; want 0 <= rate < 1");
  EXPECT_EQ(complaint("leaky_relu", {f32({3})}, {{"alpha", -1.0}}),
            "leaky_relu: alpha is -1; want alpha >= 0");
  EXPECT_EQ(complaint("huber_loss", {f32({3, 2}), f32({3, 2})}, {{"delta", 0.0}}),
            "huber_loss: delta is 0; want delta > 0");
  EXPECT_EQ(complaint("nll", {f32({3, 2}), {{3}, DType::i32}}, {{"label_smoothing", 2.0}}),
            "nll: label_smoothing is 2; want 0 <= label_smoothing <= 1");
  EXPECT_EQ(complaint("gelu", {f32({3})}, {{"approximate", std::string("erf")}}),
            "gelu: approximate is erf; want none or tanh");
}

TEST(Infer, ReshapeCountsElements) {
  EXPECT_EQ(complaint("reshape", {f32({2, 3})}, {{"shape", std::vector<std::int64_t>{4, 2}}}),
            "reshape: [2, 3] has 6 elements, [4, 2] has 8; want as many");
}

TEST(Infer, BiasFitsTheLastSize) {
  EXPECT_EQ(complaint("bias_add", {f32({2, 3}), f32({2})}),
            "bias_add: x is f32[2, 3], b is f32[2]; want b.shape == [last size of x] and the same "
            "dtype");
}

TEST(Infer, GraphPutsTheScopeInFront) {
  const autodiff::OpTable table = make_op_table();
  autodiff::Graph graph(table);
  graph.set_scope("dense_2");
  const autodiff::ValueId x = graph.input("x", f32({8, 5}));
  const autodiff::ValueId w = graph.param("w", {4, 3});
  try {
    (void)graph.add("matmul", {x, w});
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(),
                 "dense_2: matmul: inner sizes differ: [8, 5] x [4, 3]; want lhs.shape[1] == "
                 "rhs.shape[0]");
    EXPECT_EQ(error.exit(), Exit::config);
  }
}

}  // namespace
}  // namespace dlt::ops
