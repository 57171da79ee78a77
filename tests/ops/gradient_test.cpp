// SPDX-License-Identifier: Apache-2.0
#include <set>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/ops.h"
#include "support/gradient_check.h"
#include "support/op_samples.h"
#include "support/tolerance.h"

namespace dlt::support {
// How GoogleTest shows a parameter.
static void PrintTo(const OpSample& sample, std::ostream* out) { *out << text(sample); }
}  // namespace dlt::support

namespace dlt::ops {
namespace {

using autodiff::Graph;
using autodiff::ValueId;
using support::OpSample;

constexpr std::uint64_t kSeed = 11;
const std::int64_t kFiveSamples[] = {4, 17, -1, 3, 8};

/// A graph of one call of an op, its inputs bound to the sample's numbers.
struct OneOp {
  explicit OneOp(const autodiff::OpTable& table, const OpSample& sample) : graph(table) {
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      const tensor::Tensor tensor = support::make_input(sample, i, DType::f64, kSeed);
      const ValueId id = graph.input(cat("in", i), tensor.type());
      bound[id] = tensor;
      inputs.push_back(id);
    }
    target = graph.add(sample.op, inputs, sample.attrs)[sample.output];
    seed = graph.input("seed", graph.value(target).type);
    bound[seed] = support::random_tensor(graph.value(target).type, kSeed, 99);
  }
  Graph graph;
  support::Bindings bound;
  std::vector<ValueId> inputs;
  ValueId target, seed;
};

class Gradient : public ::testing::TestWithParam<OpSample> {};

std::vector<OpSample> differentiable() {
  const autodiff::OpTable table = make_op_table();
  std::vector<OpSample> samples;
  for (const OpSample& sample : support::op_samples()) {
    if (table.find(sample.op)->vjp != nullptr) samples.push_back(sample);
  }
  return samples;
}

TEST_P(Gradient, EqualsFiniteDifferences) {
  const OpSample& sample = GetParam();
  const autodiff::OpTable table = make_op_table();
  OneOp one(table, sample);
  const tensor::RunContext context{
      .seed = 5, .epoch = 2, .sample_ids = kFiveSamples, .scalars = {}};
  const Graph forward = one.graph;
  const std::vector<ValueId> grads =
      autodiff::gradients_of(one.graph, one.target, one.seed, one.inputs);
  const support::Bindings values = support::naive_run(one.graph, one.bound, context);
  for (std::size_t i = 0; i < one.inputs.size(); ++i) {
    ASSERT_EQ(grads[i].valid(), sample.inputs[i].gradient) << "input " << i;
    if (!grads[i].valid()) continue;
    const std::vector<double> got = support::to_doubles(values.at(grads[i]));
    const std::vector<double> want =
        support::numeric_gradient(forward, one.bound, context, one.target, one.seed, one.inputs[i]);
    ASSERT_EQ(got.size(), want.size());
    for (std::size_t j = 0; j < got.size(); ++j) {
      EXPECT_TRUE(support::close(got[j], want[j], support::kFiniteDifference))
          << "input " << i << " element " << j << ": " << got[j] << ", differences give "
          << want[j];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Ops, Gradient, ::testing::ValuesIn(differentiable()),
                         [](const ::testing::TestParamInfo<OpSample>& row) {
                           return cat(row.param.op, "_", row.index);
                         });

TEST(Ops, EveryDerivativeIsChecked) {
  std::set<std::string> checked;
  for (const OpSample& sample : differentiable()) checked.insert(sample.op);
  const autodiff::OpTable table = make_op_table();
  for (const autodiff::OpDef& op : table.all()) {
    EXPECT_EQ(checked.count(std::string(op.name)), op.vjp != nullptr ? 1u : 0u) << op.name;
  }
}

}  // namespace
}  // namespace dlt::ops
