// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;

constexpr std::int64_t kYes = 1;
using Dims = std::vector<std::int64_t>;

void add_pointwise(std::vector<OpSample>& samples) {
  for (const char* op :
       {"relu", "tanh", "sigmoid", "softplus", "silu", "gelu", "exp", "neg", "square", "abs"}) {
    samples.push_back({op, {{{3, 7}}}, {}});
    samples.push_back({op, {{{2, 3, 67}}}, {}});
  }
  samples.push_back({"gelu", {{{3, 7}}}, {{"approximate", std::string("tanh")}}});
  for (const char* op : {"log", "sqrt"}) samples.push_back({op, {{{3, 7}, Fill::positive}}, {}});
  samples.push_back({"leaky_relu", {{{3, 7}}}, {}});
  samples.push_back({"leaky_relu", {{{5, 9}}}, {{"alpha", 0.3}}});
  samples.push_back({"scale", {{{3, 7}}}, {{"factor", -1.5}}});
  samples.push_back({"scale", {{{3, 7}}}, {{"factor", 0.5}, {"offset", 2.0}}});
  for (const char* op : {"relu_grad", "tanh_grad", "silu_grad", "gelu_grad", "abs_grad"}) {
    samples.push_back({op, {{{3, 21}}, {{3, 21}}}, {}});
  }
  samples.push_back({"gelu_grad", {{{3, 7}}, {{3, 7}}}, {{"approximate", std::string("tanh")}}});
  samples.push_back({"leaky_relu_grad", {{{3, 7}}, {{3, 7}}}, {{"alpha", 0.3}}});
  samples.push_back({"sigmoid_grad", {{{3, 7}, Fill::probability}, {{3, 7}}}, {}});
  samples.push_back({"softplus_grad", {{{3, 7}, Fill::positive}, {{3, 7}}}, {}});
  for (const char* op : {"add", "sub", "mul"}) {
    samples.push_back({op, {{{3, 7}}, {{3, 7}}}, {}});
    samples.push_back({op, {{{131}}, {{131}}}, {}});
  }
  samples.push_back({"div", {{{3, 7}}, {{3, 7}, Fill::positive}}, {}});
}

void add_matmul(std::vector<OpSample>& samples) {
  samples.push_back({"matmul", {{{3, 5}}, {{5, 4}}}, {}});
  samples.push_back({"matmul", {{{5, 3}}, {{5, 4}}}, {{"trans_a", kYes}}});
  samples.push_back({"matmul", {{{3, 5}}, {{4, 5}}}, {{"trans_b", kYes}}});
  samples.push_back({"matmul", {{{5, 3}}, {{4, 5}}}, {{"trans_a", kYes}, {"trans_b", kYes}}});
  samples.push_back({"matmul", {{{1, 33}}, {{33, 1}}}, {}});
  for (const char* word : {"bf16", "bf16_emulated"}) {
    const std::string precision = word;
    samples.push_back({"matmul", {{{1, 33}}, {{33, 1}}}, {{"precision", precision}}});
    samples.push_back(
        {"matmul", {{{35, 5}}, {{35, 19}}}, {{"precision", precision}, {"trans_a", kYes}}});
    samples.push_back(
        {"matmul", {{{33, 70}}, {{49, 70}}}, {{"precision", precision}, {"trans_b", kYes}}});
    samples.push_back({"linear",
                       {{{9, 17}}, {{17, 21}}, {{21}}},
                       {{"activation", std::string("relu")}, {"precision", precision}}});
  }
  samples.push_back({"bias_add", {{{3, 5}}, {{5}}}, {}});
  samples.push_back({"bias_add", {{{2, 3, 19}}, {{19}}}, {}});
  samples.push_back({"bias_grad", {{{3, 5}}}, {}});
  samples.push_back({"bias_grad", {{{2, 7, 35}}}, {}});
  for (const char* activation : {"none", "relu", "leaky_relu", "tanh", "sigmoid", "softplus"}) {
    const Attrs attrs{{"activation", std::string(activation)}, {"alpha", 0.2}};
    const std::string word = activation;
    const Fill output = word == "sigmoid"    ? Fill::probability
                        : word == "softplus" ? Fill::positive
                                             : Fill::normal;
    samples.push_back({"linear", {{{3, 5}}, {{5, 4}}, {{4}}}, attrs});
    samples.push_back({"linear", {{{9, 17}}, {{17, 21}}, {{21}}}, attrs});
    samples.push_back({"activation_bias_grad", {{{3, 4}, output}, {{3, 4}}}, attrs});
    samples.push_back({"activation_bias_grad", {{{9, 37}, output}, {{9, 37}}}, attrs});
  }
}

void add_fused(std::vector<OpSample>& samples) {
  const auto add = [&](std::vector<SampleInput> inputs, const std::string& program) {
    samples.push_back({"fused_pointwise", std::move(inputs), {{"program", program}}});
  };
  add({{{5, 67}}, {{5, 67}}}, "inputs 2; silu %0; mul %2 %1; outputs %3");
  add({{{3, 7}}, {{3, 7}}, {{3, 7}}},
      "inputs 3; mul %0 %1; silu %2; mul %0 %4; silu_grad %2 %3; outputs %5 %6");
  add({{{2, 1100}}, {{2, 1100}}}, "inputs 2; dropout %0 rate=0.25 op=-77; add %1 %2; outputs %3");
  add({{{30, 4, 9}}, {{9}}, {{120, 9}}},
      "inputs 3; bias_add %0 %1; scale %3 factor=0.5 offset=1.0; reshape %4 shape=(120,9); "
      "gelu %5 approximate=tanh; leaky_relu_grad %2 %6 alpha=0.3; outputs %7 %4");
}

void add_others(std::vector<OpSample>& samples) {
  const std::int64_t layer = static_cast<std::int64_t>(rng::op_id("dropout_1"));
  samples.push_back({"dropout", {{{3, 4, 5}}}, {{"rate", 0.4}, {"op", layer}}});
  samples.push_back({"dropout", {{{5, 67}}}, {{"rate", 0.1}, {"op", layer}}});
  samples.push_back({"reshape", {{{3, 4}}}, {{"shape", Dims{2, 6}}}});
  samples.push_back({"copy", {{{3, 7}}}, {}});
  samples.push_back({"fill", {}, {{"shape", Dims{3, 7}}, {"value", 1.5}}});
  samples.push_back({"concat", {{{3, 2}}, {{3, 5}}, {{3, 1}}}, {}});
  samples.push_back({"concat", {{{2, 3, 4}}, {{2, 3, 7}}}, {}});
  samples.push_back({"slice", {{{2, 3, 7}}}, {{"begin", kYes}, {"size", std::int64_t{4}}}});
  samples.push_back({"slice", {{{5, 3}}}, {{"begin", std::int64_t{0}}, {"size", std::int64_t{2}}}});
  samples.push_back({"sum_rows", {{{3, 4, 5}}}, {}});
  samples.push_back({"sum_rows", {{{6}}}, {}});
}

}  // namespace

void add_basic_samples(std::vector<OpSample>& samples) {
  add_pointwise(samples);
  add_matmul(samples);
  add_fused(samples);
  add_others(samples);
}

}  // namespace dlt::support
