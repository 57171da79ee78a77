// SPDX-License-Identifier: Apache-2.0
// Host kernels against numbers written out by hand, f32 against f64, and in-place use.
#include <cmath>
#include <cstring>
#include <limits>

#include <gtest/gtest.h>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "ops/ops.h"
#include "support/gradient_check.h"
#include "support/op_samples.h"
#include "support/tolerance.h"

namespace dlt::ops {
namespace {

using support::OpSample;
using tensor::Attrs;
using tensor::Shape;
using tensor::Tensor;
using tensor::TensorType;

constexpr double kInf = std::numeric_limits<double>::infinity();
const std::int64_t kSampleIds[] = {4, 17, -1, 3, 8, 5};
const tensor::RunContext kContext{.seed = 5, .epoch = 2, .sample_ids = kSampleIds, .scalars = {}};

/// Runs an op's host kernel. in_place: output 0 lies in the memory of input 0.
std::vector<Tensor> run_op(const std::string& op, const std::vector<Tensor>& inputs,
                           const Attrs& attrs, bool in_place = false) {
  const autodiff::OpTable table = make_op_table();
  const autodiff::OpDef* def = table.find(op);
  std::vector<TensorType> types;
  std::vector<tensor::View> in, out;
  for (const Tensor& tensor : inputs) {
    types.push_back(tensor.type());
    in.push_back({tensor.bytes(), tensor.type()});
  }
  const std::vector<TensorType> output_types = def->infer(types, attrs);
  std::vector<Tensor> outputs;
  for (const TensorType& type : output_types) outputs.emplace_back(type.shape, type.dtype);
  if (in_place) outputs[0] = inputs[0];
  for (const Tensor& tensor : outputs) out.push_back({tensor.bytes(), tensor.type()});
  const auto kernel = def->host({types, output_types, attrs});
  const tensor::Storage scratch = tensor::Storage::allocate(kernel->scratch_bytes());
  kernel->run({in, out, scratch.data(), kContext});
  return outputs;
}

Tensor f64(const Shape& shape, const std::vector<double>& numbers) {
  Tensor tensor(shape, DType::f64);
  std::copy(numbers.begin(), numbers.end(), tensor.as<double>().begin());
  return tensor;
}

Tensor i32(const std::vector<std::int32_t>& numbers) {
  Tensor tensor({static_cast<std::int64_t>(numbers.size())}, DType::i32);
  std::copy(numbers.begin(), numbers.end(), tensor.as<std::int32_t>().begin());
  return tensor;
}

std::vector<double> call(const std::string& op, const std::vector<Tensor>& inputs,
                         const Attrs& attrs = {}) {
  return support::to_doubles(run_op(op, inputs, attrs)[0]);
}

void expect_close(const std::vector<double>& got, const std::vector<double>& want,
                  support::Tolerance limit = support::tolerance(DType::f64)) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    EXPECT_TRUE(support::close(got[i], want[i], limit))
        << "element " << i << ": " << got[i] << ", want " << want[i];
  }
}

TEST(HostKernel, MatmulMultiplies) {
  const Tensor a = f64({2, 3}, {1, 2, 3, 4, 5, 6}), b = f64({3, 2}, {7, 8, 9, 10, 11, 12});
  expect_close(call("matmul", {a, b}), {58, 64, 139, 154});
  const Tensor at = f64({3, 2}, {1, 4, 2, 5, 3, 6}), bt = f64({2, 3}, {7, 9, 11, 8, 10, 12});
  expect_close(
      call("matmul", {at, bt}, {{"trans_a", std::int64_t{1}}, {"trans_b", std::int64_t{1}}}),
      {58, 64, 139, 154});
}

TEST(HostKernel, LinearIsMatmulBiasActivation) {
  const Tensor x = f64({1, 2}, {1, 2}), w = f64({2, 2}, {1, -1, 1, -1}), b = f64({2}, {0.5, 0.5});
  expect_close(call("linear", {x, w, b}), {3.5, -2.5});
  expect_close(call("linear", {x, w, b}, {{"activation", std::string("relu")}}), {3.5, 0});
  expect_close(
      call("linear", {x, w, b}, {{"activation", std::string("leaky_relu")}, {"alpha", 0.2}}),
      {3.5, -0.5});
}

TEST(HostKernel, ElementwiseFormulas) {
  const Tensor x = f64({2}, {-1.5, 0.5});
  expect_close(call("relu", {x}), {0, 0.5});
  expect_close(call("leaky_relu", {x}), {-0.015, 0.5});
  expect_close(call("sigmoid", {x}), {0.18242552380635635, 0.6224593312018546});
  expect_close(call("softplus", {x}), {0.2014132779827524, 0.9740769841801067});
  expect_close(call("silu", {x}), {-0.2736382857095345, 0.3112296656009273});
  expect_close(call("gelu", {x}), {-0.1002108019032870, 0.3457312306370065});
  expect_close(call("gelu", {x}, {{"approximate", std::string("tanh")}}),
               {-0.1004284230197671, 0.3457140098251439});
  expect_close(call("scale", {x}, {{"factor", 2.0}, {"offset", 1.0}}), {-2, 2});
}

TEST(HostKernel, SigmoidAndSoftplusNeitherOverflowNorVanish) {
  const Tensor x = f64({2}, {-800, 800});
  expect_close(call("sigmoid", {x}), {0, 1});
  expect_close(call("softplus", {x}), {0, 800});
  expect_close(call("bce_with_logits_loss", {x, f64({2}, {1, 0})}), {800, 800});
}

TEST(HostKernel, LogFollowsIeee) {
  const std::vector<double> y = call("log", {f64({2}, {0, -1})});
  EXPECT_EQ(y[0], -kInf);
  EXPECT_TRUE(std::isnan(y[1]));
  EXPECT_TRUE(std::isnan(call("relu", {f64({1}, {std::nan("")})})[0]));
}

TEST(HostKernel, SoftmaxIsStable) {
  expect_close(call("softmax", {f64({1, 2}, {1000, 1000})}), {0.5, 0.5});
  expect_close(call("log_softmax", {f64({1, 2}, {1000, 0})}), {0, -1000});
  const Tensor logits = f64({1, 3}, {1e4, 0, -1e4});
  expect_close(call("softmax_cross_entropy", {logits, i32({2})}), {2e4});
}

TEST(HostKernel, CrossEntropyWithSmoothing) {
  const Tensor logits = f64({1, 2}, {0, 0});
  const double log2 = std::log(2.0);
  expect_close(call("softmax_cross_entropy", {logits, i32({1})}, {{"label_smoothing", 0.1}}),
               {log2});
  const Tensor logp = f64({1, 4}, {-1, -2, -3, -4});
  expect_close(call("nll", {logp, i32({1})}, {{"label_smoothing", 0.2}}), {0.8 * 2 + 0.05 * 10});
  expect_close(call("nll", {logp, f64({1, 4}, {0.5, 0, 0, 0.5})}), {2.5});
}

TEST(HostKernel, NllTakesZeroTimesInfinityAsZero) {
  expect_close(call("nll", {f64({1, 2}, {0, -kInf}), i32({0})}), {0});
}

TEST(HostKernel, LabelsOutOfRangeAreDataErrors) {
  const Tensor logits = f64({2, 3}, {0, 0, 0, 0, 0, 0});
  for (const std::int32_t bad : {3, -1}) {
    for (const char* op : {"softmax_cross_entropy", "nll"}) {
      try {
        (void)call(op, {logits, i32({0, bad})});
        FAIL() << op;
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::data);
        EXPECT_NE(std::string(error.what()).find("sample 1"), std::string::npos) << error.what();
      }
    }
  }
}

TEST(HostKernel, LossesAreMeansBehindTheBatch) {
  const Tensor p = f64({2, 2}, {1, 2, 3, 4}), t = f64({2, 2}, {0, 0, 3, 2});
  expect_close(call("mse_loss", {p, t}), {2.5, 2});
  expect_close(call("mae_loss", {p, t}), {1.5, 1});
  expect_close(call("huber_loss", {p, t}), {(0.5 + 1.5) / 2, 0.75});
  expect_close(call("mse_loss", {f64({2}, {1, 2}), f64({2}, {0, 0})}), {1, 4});
}

TEST(HostKernel, BceClampsAsKerasDoes) {
  const Tensor t = f64({2, 1}, {1, 0});
  const double far = -std::log(1e-7);
  expect_close(call("bce_loss", {f64({2, 1}, {0, 1}), t}), {far, far}, {1e-8, 0});
  expect_close(call("bce_loss", {f64({2, 1}, {1, 0}), t}), {1e-7, 1e-7}, {1e-6, 0});
  expect_close(call("bce_loss_grad", {f64({2, 1}, {0, 1}), t, f64({2}, {1, 1})}), {0, 0});
  expect_close(
      call("bce_loss", {f64({1, 1}, {0.25}), f64({1, 1}, {1})}, {{"label_smoothing", 0.5}}),
      {-0.75 * std::log(0.25) - 0.25 * std::log(0.75)});
}

TEST(HostKernel, DropoutKeepsWhatTheKeySays) {
  const double rate = 0.3;
  const auto op = static_cast<std::int64_t>(rng::op_id("dropout_7"));
  const Tensor x = f64({3, 2, 50}, std::vector<double>(300, 1.0));
  const std::vector<double> y = call("dropout", {x}, {{"rate", rate}, {"op", op}});
  std::size_t kept = 0;
  for (std::size_t b = 0; b < 3; ++b) {
    const rng::Key key{5, rng::op_id("dropout_7"), 2, static_cast<std::uint64_t>(kSampleIds[b])};
    for (std::size_t j = 0; j < 100; ++j) {
      const bool keep = static_cast<double>(rng::uniform(key, j)) >= rate;
      EXPECT_EQ(y[b * 100 + j], keep ? 1.0 / (1.0 - rate) : 0.0) << b << " " << j;
      kept += keep ? 1 : 0;
    }
  }
  EXPECT_NEAR(static_cast<double>(kept), 210, 40);
}

TEST(HostKernel, FillAndSumRows) {
  const Attrs attrs{{"shape", std::vector<std::int64_t>{2, 3}}, {"value", 1.5}};
  const Tensor filled = run_op("fill", {}, attrs)[0];
  EXPECT_EQ(filled.type(), (TensorType{{2, 3}, DType::f32}));
  expect_close(support::to_doubles(run_op("sum_rows", {filled}, {})[0]), {4.5, 4.5});
}

TEST(HostKernel, F32IsF64Rounded) {
  for (const OpSample& sample : support::op_samples()) {
    if (sample.op == "fill") continue;
    std::vector<Tensor> wide, narrow;
    // Operands of a product; but a convolution's not where a filter sees one channel.
    const std::int64_t groups = sample.attrs.integer("groups", 1);
    const bool rounds = sample.attrs.word("precision", "f32") != "f32" &&
                        (groups == 1 || groups != sample.inputs[0].shape.last());
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      narrow.push_back(support::make_input(sample, i, DType::f32, 3));
      Tensor tensor = narrow.back();
      if (i < 2 && rounds) {
        for (float& x : tensor.as<float>()) x = bf16_to_f32(f32_to_bf16(x));
      }
      if (tensor.dtype() == DType::f32) tensor = f64(tensor.shape(), support::to_doubles(tensor));
      wide.push_back(tensor);
    }
    const std::vector<Tensor> got = run_op(sample.op, narrow, sample.attrs);
    const std::vector<Tensor> want = run_op(sample.op, wide, sample.attrs);
    SCOPED_TRACE(support::text(sample));
    // What a step makes of a rounded operand is rounded again for the next.
    const bool recurs =
        sample.inputs[0].shape.rank() == 3 && sample.attrs.word("precision") == "bf16";
    const support::Tolerance limit =
        recurs ? support::tolerance(DType::bf16) : support::Tolerance{3e-7, 3e-7};
    for (std::size_t i = 0; i < got.size(); ++i) {
      expect_close(support::to_doubles(got[i]), support::to_doubles(want[i]), limit);
    }
  }
}

TEST(HostKernel, InPlaceGivesTheSame) {
  const autodiff::OpTable table = make_op_table();
  int num_checked = 0;
  for (const OpSample& sample : support::op_samples()) {
    if (!table.find(sample.op)->in_place) continue;
    std::vector<Tensor> inputs;
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      inputs.push_back(support::make_input(sample, i, DType::f64, 3));
    }
    const std::vector<Tensor> want = run_op(sample.op, inputs, sample.attrs);
    const std::vector<Tensor> got = run_op(sample.op, inputs, sample.attrs, true);
    SCOPED_TRACE(support::text(sample));
    for (std::size_t i = 0; i < got.size(); ++i) {
      EXPECT_EQ(support::to_doubles(got[i]), support::to_doubles(want[i]));
    }
    ++num_checked;
  }
  EXPECT_GT(num_checked, 40);
}

TEST(HostKernel, OtherDtypesAreDeclined) {
  const autodiff::OpTable table = make_op_table();
  const TensorType type{{2, 2}, DType::bf16};
  EXPECT_EQ(table.find("relu")->host({{&type, 1}, {&type, 1}, Attrs{}}), nullptr);
}

}  // namespace
}  // namespace dlt::ops
