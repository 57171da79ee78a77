// SPDX-License-Identifier: Apache-2.0
// The structure of the files; bench/check_onnx.py compares what onnxruntime computes with them.
#include "onnx/export.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/text.h"
#include "nn/nn_support.h"
#include "onnx/walker.h"
#include "support/temp_folder.h"

namespace dlt::onnx {
namespace {

using testing::HasSubstr;

/// A model's file, read again.
struct File {
  std::string graph;
  std::vector<std::string> operators;
  std::map<std::string, std::string> initializers;  // name -> TensorProto
};

std::string file_of(const nn::Model& model) {
  autodiff::Graph two(nn::op_table()), three(nn::op_table());
  (void)model.build_prediction(two, 2);
  (void)model.build_prediction(three, 3);
  tensor::StateDict params;
  for (const nn::ParamSpec& spec : model.params()) {
    tensor::Tensor numbers(spec.shape, DType::f32);
    float next = 0;
    for (float& x : numbers.as<float>()) x = next++;
    params.emplace(spec.name, numbers);
  }
  return export_model({two, three}, params,
                      {.name = "m", .producer_version = "1", .metadata = {{"step", "3"}}});
}

/// Every name that a node or output reads must be an input, an initializer, or come from a node
/// before it.
void expect_valid_order(const std::string& graph) {
  std::set<std::string> known{""};
  for (const std::string& input : test::all(graph, 11)) known.insert(test::text(input, 1));
  for (const std::string& tensor : test::all(graph, 5))
    EXPECT_TRUE(known.insert(test::text(tensor, 8)).second);
  std::set<std::string> names;
  for (const std::string& node : test::all(graph, 1)) {
    for (const std::string& input : test::all(node, 1)) EXPECT_TRUE(known.contains(input)) << input;
    for (const std::string& output : test::all(node, 2))
      EXPECT_TRUE(known.insert(output).second) << output;
    EXPECT_TRUE(names.insert(test::text(node, 3)).second) << test::text(node, 3);
  }
  for (const std::string& output : test::all(graph, 12))
    EXPECT_TRUE(known.contains(test::text(output, 1)));
}

File read(const std::string& yaml) {
  const std::string bytes = file_of(*nn::read_model(yaml));
  File out{.graph = test::text(bytes, 7), .operators = {}, .initializers = {}};
  expect_valid_order(out.graph);
  for (const std::string& node : test::all(out.graph, 1))
    out.operators.push_back(test::text(node, 4));
  for (const std::string& tensor : test::all(out.graph, 5))
    out.initializers[test::text(tensor, 8)] = tensor;
  return out;
}

std::vector<std::int64_t> dims(const std::string& tensor) {
  return test::packed(test::text(tensor, 1));
}

TEST(OnnxExport, SaysItsVersionsAndWhereItIsFrom) {
  const std::string bytes = file_of(*nn::read_model("{input: [4], layers: [{dense: {units: 2}}]}"));
  EXPECT_EQ(test::integer(bytes, 1), 8u);  // IR version
  EXPECT_EQ(test::text(bytes, 2), "dltrain");
  EXPECT_EQ(test::integer(test::text(bytes, 8), 2), 17u);  // operator set
  EXPECT_EQ(test::text(test::text(bytes, 14), 1), "step");
}

TEST(OnnxExport, TheNumberOfSamplesIsOpen) {
  const File got = read("{input: [4, 3], layers: [flatten, {dense: {units: 2}}]}");
  for (const int field : {11, 12}) {
    const std::string type = test::text(test::text(test::text(got.graph, field), 2), 1);
    const auto sizes = test::all(test::text(type, 2), 1);
    EXPECT_EQ(test::text(sizes[0], 2), "samples");
    EXPECT_EQ(test::integer(sizes[1], 1), field == 11 ? 4u : 2u);
  }
  // The reshape of flatten says -1 for it.
  bool found = false;
  for (const auto& [name, tensor] : got.initializers) {
    if (test::integer(tensor, 2) != 7) continue;
    found = found || test::text(tensor, 9).substr(0, 8) == std::string(8, '\xff');
  }
  EXPECT_TRUE(found);
}

TEST(OnnxExport, DenseIsOneProductAndOneActivation) {
  const File got = read("{input: [4], layers: [{dense: {units: 2, activation: relu}}]}");
  EXPECT_THAT(got.operators, testing::ElementsAre("Gemm", "Relu", "Identity"));
  EXPECT_THAT(dims(got.initializers.at("dense_1.weight")), testing::ElementsAre(4, 2));
}

TEST(OnnxExport, ImagesAreTurnedOnceForARowOfLayers) {
  const File got = read(
      "{input: [8, 8, 3], layers: [{conv2d: {filters: 4, kernel_size: [3, 2]}}, {batch_norm: {}}, "
      "relu, max_pool2d, flatten]}");
  EXPECT_THAT(got.operators, testing::ElementsAre("Transpose", "Conv", "BatchNormalization", "Relu",
                                                  "MaxPool", "Transpose", "Reshape", "Identity"));
  EXPECT_THAT(dims(got.initializers.at("conv2d_1.weight")), testing::ElementsAre(4, 3, 3, 2));
  const std::string raw = test::text(got.initializers.at("conv2d_1.weight"), 9);
  float second = 0;  // [0, 0, 0, 1] there is [0, 1, 0, 0] here: element 1 · 3 · 4
  std::memcpy(&second, raw.data() + 4, 4);
  EXPECT_EQ(second, 12.0f);
}

TEST(OnnxExport, GatesStandInOnnxsOrder) {
  const File got = read("{input: [5, 2], layers: [{lstm: {units: 1, unit_forget_bias: false}}]}");
  EXPECT_EQ(std::count(got.operators.begin(), got.operators.end(), "LSTM"), 1);
  EXPECT_THAT(dims(got.initializers.at("lstm_1.weight")), testing::ElementsAre(1, 4, 2));
  const std::string raw = test::text(got.initializers.at("lstm_1.recurrent_weight"), 9);
  std::vector<float> gates(4);
  std::memcpy(gates.data(), raw.data(), 16);
  EXPECT_THAT(gates, testing::ElementsAre(0, 3, 1, 2));  // i, o, f, c from i, f, c, o
}

TEST(OnnxExport, StepsBehindAMaskAreWrittenOut) {
  for (const char* cell : {"lstm", "gru", "simple_rnn"}) {
    const File got = read(cat("{input: [5, 2], layers: [masking, {", cell, ": {units: 3}}]}"));
    const auto scan = std::find(got.operators.begin(), got.operators.end(), "Scan");
    ASSERT_NE(scan, got.operators.end()) << cell;
    const std::string node =
        test::all(got.graph, 1)[static_cast<std::size_t>(scan - got.operators.begin())];
    const std::string body = test::text(test::text(node, 5), 6);
    const std::size_t num_states = cell == std::string("lstm") ? 2 : 1;
    EXPECT_EQ(test::all(body, 11).size(), num_states + 2);  // states, sums, mask
    EXPECT_EQ(test::all(body, 12).size(), num_states + 1);
  }
}

TEST(OnnxExport, AnOpWithoutARuleIsRefusedByNameAndLayer) {
  const auto build = [](std::int64_t batch) {
    autodiff::Graph graph(nn::op_table());
    const auto x = graph.input("input", {{batch, 3}, DType::f32});
    graph.set_scope("op_1");
    graph.output("prediction", graph.add_one("bias_grad", {x}));
    return graph;
  };
  const autodiff::Graph two = build(2), three = build(3);
  EXPECT_THAT(dlt::test::error_of([&] {
                (void)export_model({two, three}, {}, {});
              }),
              HasSubstr("78: onnx: layer 'op_1': op 'bias_grad' has no equivalent in ONNX"));
}

TEST(OnnxExport, AMissingParameterIsNamed) {
  const auto model = nn::read_model("{input: [4], layers: [{dense: {units: 2}}]}");
  autodiff::Graph two(nn::op_table()), three(nn::op_table());
  (void)model->build_prediction(two, 2);
  (void)model->build_prediction(three, 3);
  EXPECT_THAT(dlt::test::error_of([&] {
                (void)export_model({two, three}, {}, {});
              }),
              HasSubstr("65: tensor 'dense_1.weight': expected f32[4, 2], got none"));
}

class OnnxZoo : public testing::TestWithParam<const char*> {};

TEST_P(OnnxZoo, IsWrittenWhole) { EXPECT_GT(read(GetParam()).operators.size(), 5u); }

INSTANTIATE_TEST_SUITE_P(
    Models, OnnxZoo,
    testing::Values(
        "{name: gpt, input: [9], vocabulary: 11, layers: 2, heads: 2, units: 16}",
        "{name: lstm_lm, input: [9], vocabulary: 11, units: 12}",
        "{name: lenet5, input: [28, 28, 1], classes: 5}",
        "{input: [6, 4], layers: [{gru: {units: 3, bidirectional: true}}, {dense: {units: 2}}]}",
        "{input: [6, 4], layers: [{multi_head_attention: {heads: 2, rope: true}}, {rms_norm: "
        "{}}]}"));

}  // namespace
}  // namespace dlt::onnx
