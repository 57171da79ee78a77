// SPDX-License-Identifier: Apache-2.0
// Element-wise kernels of the CUDA back end: fused programs, dropout in captured work, and where
// floating point is not like numbers.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/device_run.h"
#include "base/text.h"
#include "conformance/cuda_test.h"
#include "conformance/kernel_case.h"
#include "conformance/random_program.h"
#include "support/gradient_check.h"
#include "support/tolerance.h"

namespace dlt::test {
namespace {

using tensor::PointwiseProgram;
using tensor::PointwiseStep;
using tensor::Tensor;
using tensor::TensorType;
using tensor::View;

class CudaFusedPointwise : public CudaTest {
 protected:
  CudaFusedPointwise() : ids(512) {
    std::iota(ids.begin(), ids.end(), 41);
    context = {.seed = 8, .epoch = 2, .sample_ids = ids, .scalars = {}};
  }

  /// Every register by a kernel of its own.
  std::vector<Tensor> one_by_one(const PointwiseProgram& program,
                                 const std::vector<Tensor>& inputs) {
    std::vector<Tensor> registers = inputs;
    for (const PointwiseStep& step : program.steps) {
      std::vector<TensorType> types;
      std::vector<View> in;
      for (const int index : step.inputs) {
        const Tensor& tensor = registers[static_cast<std::size_t>(index)];
        types.push_back(tensor.type());
        in.push_back({tensor.bytes(), tensor.type()});
      }
      const std::vector<TensorType> out = table.find(step.op)->infer(types, step.attrs);
      Tensor result(out[0].shape, out[0].dtype);
      const std::byte* from = in[0].as<const std::byte>();
      std::vector<std::byte> made(from, from + out[0].bytes());
      if (step.op != "reshape") {
        const auto kernel =
            backend->find(step.op)({.inputs = types, .outputs = out, .attrs = step.attrs});
        made = run_on_device(*backend, *kernel, in, out, context).outputs[0];
      }
      std::copy(made.begin(), made.end(), result.bytes());
      registers.push_back(result);
    }
    return registers;
  }

  std::vector<std::int64_t> ids;
  tensor::RunContext context;
};

TEST_F(CudaFusedPointwise, GivesTheBitsOfItsStepsOneByOne) {
  for (std::uint64_t seed = 0; seed < 60; ++seed) {
    const RandomProgram random(seed);
    const PointwiseProgram& program = random.program();
    const tensor::Attrs attrs{{"program", program.text()}};
    SCOPED_TRACE(cat("seed ", seed, ": ", program.text()));
    std::vector<Tensor> inputs;
    std::vector<View> views;
    for (const TensorType& type : random.inputs()) {
      inputs.push_back(support::random_tensor(type, seed, inputs.size()));
      views.push_back({inputs.back().bytes(), type});
    }
    const std::vector<Tensor> registers = one_by_one(program, inputs);
    const auto outputs = table.find("fused_pointwise")->infer(random.inputs(), attrs);
    const auto kernel = backend->find("fused_pointwise")(
        {.inputs = random.inputs(), .outputs = outputs, .attrs = attrs});
    std::vector<RunOptions> ways{{}, {.misaligned_bytes = 4}};
    for (std::size_t k = 0; k < outputs.size(); ++k) {
      for (std::size_t i = 0; i + 1 < views.size(); ++i) {
        ways.push_back({.in_place = true, .over_output = k, .over_input = i});
      }
    }
    for (const RunOptions& way : ways) {
      const RunResult result = run_on_device(*backend, *kernel, views, outputs, context, way);
      EXPECT_TRUE(result.guards_intact);
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        const Tensor& want = registers[static_cast<std::size_t>(program.outputs[k])];
        EXPECT_EQ(0, std::memcmp(result.outputs[k].data(), want.bytes(), result.outputs[k].size()))
            << "output " << k << " in place " << way.in_place << " " << way.over_output << " "
            << way.over_input << " shifted " << way.misaligned_bytes;
      }
    }
  }
}

class CudaDropout : public CudaTest {};

TEST_F(CudaDropout, ReplaysSeeNewEpochsAndSamples) {
  const TensorType type{{3, 67}, DType::f32};
  const std::vector<TensorType> types{type};
  const tensor::Attrs attrs{{"rate", 0.4}, {"op", std::int64_t{-77}}};
  const auto kernel = backend->find("dropout")({.inputs = types, .outputs = types, .attrs = attrs});
  const auto host =
      table.find("dropout")->host({.inputs = types, .outputs = types, .attrs = attrs});
  const Tensor x = support::random_tensor(type, 1, 0);
  std::vector<std::int64_t> ids{5, 900, 1LL << 40};
  tensor::RunContext context{.seed = 8, .epoch = 2, .sample_ids = ids, .scalars = {}};
  const auto queue = backend->make_queue();
  const GuardedDeviceBuffer in(*backend, *queue, type.bytes(), 0),
      out(*backend, *queue, type.bytes(), 0);
  in.write(x.bytes());
  DeviceContext device(*backend, *queue, context);
  queue->wait();
  const std::vector<View> inputs{{in.data(), type}}, outputs{{out.data(), type}};
  queue->begin_capture();
  kernel->run({.inputs = inputs, .outputs = outputs, .scratch = nullptr, .run = device.get()});
  const auto recording = queue->end_capture();
  for (const std::uint64_t epoch : {2u, 3u, 1000u}) {
    context.epoch = epoch;
    device.set(context.seed, epoch);
    queue->replay(*recording);
    const std::vector<std::byte> got = out.read();
    const std::vector<View> host_inputs{{x.bytes(), type}};
    const RunResult want = run_kernel(*host, host_inputs, types, context);
    const auto* g = reinterpret_cast<const float*>(got.data());
    const std::vector<float> w = want.as<float>(0);
    for (std::size_t i = 0; i < w.size(); ++i) {
      ASSERT_NEAR(static_cast<double>(g[i]), static_cast<double>(w[i]), 1e-5) << epoch << " " << i;
      ASSERT_EQ(g[i] == 0.0f, w[i] == 0.0f) << epoch << " " << i;
    }
  }
}

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kTiny = 1e-40f;  // below the smallest normal number
const std::vector<float> kSpecial{0.0f,   -0.0f,   kInf,   -kInf,  kNan,   kTiny,   -kTiny,  1.0f,
                                  -1.0f,  87.0f,   -87.0f, 89.5f,  -89.5f, -103.0f, -200.0f, 200.0f,
                                  1e-20f, -1e-20f, 3e38f,  -3e38f, 0.625f, 9.1f};

class CudaSpecialValues : public CudaTest {
 protected:
  void expect_like_host(const KernelCase& test, const std::vector<bool>& leave_out) {
    const auto got = test.run(*backend).as<float>(0), want = test.run_host().as<float>(0);
    for (std::size_t i = 0; i < got.size(); ++i) {
      if (leave_out[i]) continue;
      EXPECT_TRUE(support::close(static_cast<double>(got[i]), static_cast<double>(want[i]),
                                 support::tolerance(DType::f32)))
          << test.text() << " element " << i << ": " << got[i] << ", want " << want[i];
    }
  }
};

TEST_F(CudaSpecialValues, ElementWiseKernelsTreatThemAsTheHostDoes) {
  const auto size = static_cast<std::int64_t>(kSpecial.size());
  for (const char* op : {"relu", "leaky_relu", "tanh", "sigmoid", "softplus", "silu", "gelu", "exp",
                         "log", "square", "abs", "sqrt", "neg"}) {
    KernelCase test(table, {op, {{{size}}}, {}}, 1);
    std::copy(kSpecial.begin(), kSpecial.end(), test.input(0).begin());
    expect_like_host(test, std::vector<bool>(kSpecial.size()));
  }
  for (const char* op : {"add", "sub", "mul", "div", "relu_grad", "leaky_relu_grad", "tanh_grad",
                         "sigmoid_grad", "abs_grad"}) {
    KernelCase test(table, {op, {{{size, size}}, {{size, size}}}, {}}, 1);
    std::vector<bool> leave_out;
    for (std::size_t i = 0; i < kSpecial.size() * kSpecial.size(); ++i) {
      const float a = test.input(0)[i] = kSpecial[i / kSpecial.size()];
      const float b = test.input(1)[i] = kSpecial[i % kSpecial.size()];
      // f32 intermediates overflow where the host's f64 do not: only sizes of training count.
      const auto huge = [](float x) { return std::abs(x) > 1e18f && !std::isinf(x); };
      leave_out.push_back((huge(a) || huge(b)) && std::string(op).ends_with("_grad"));
    }
    expect_like_host(test, leave_out);
  }
}

TEST_F(CudaSpecialValues, NanInARowMakesItsSoftmaxNan) {
  for (const char* op : {"softmax", "log_softmax"}) {
    for (const std::size_t n : {5u, 40u, 1500u}) {
      for (const std::size_t at : {std::size_t{0}, n / 2, n - 1}) {
        KernelCase test(table, {op, {{{2, static_cast<std::int64_t>(n)}}}, {}}, 1);
        test.input(0)[at] = kNan;
        const auto y = test.run(*backend).as<float>(0);
        for (std::size_t j = 0; j < 2 * n; ++j) {
          ASSERT_EQ(std::isnan(y[j]), j < n) << op << " n " << n << " " << j;
        }
      }
    }
  }
}

TEST_F(CudaSpecialValues, MaskedLogitsHaveNoProbability) {
  for (const std::size_t n : {5u, 40u, 1500u}) {
    KernelCase test(table, {"softmax", {{{2, static_cast<std::int64_t>(n)}}}, {}}, 1);
    for (std::size_t j = 0; j + 1 < n; ++j) test.input(0)[j] = -kInf;
    expect_like_host(test, std::vector<bool>(2 * n));
  }
}

}  // namespace
}  // namespace dlt::test
