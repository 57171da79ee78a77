// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "backend/kernel_run.h"
#include "base/error.h"
#include "base/rng.h"
#include "support/allocation_count.h"

namespace dlt::test {
namespace {

using tensor::Attrs;
using tensor::TensorType;
using tensor::View;

TEST(CpuBackend, NamesItselfAndItsInstructions) {
  EXPECT_EQ(tensor::make_cpu_backend()->name(), "cpu");
  for (const std::string& isa : instruction_sets()) {
    EXPECT_TRUE(
        tensor::make_cpu_backend(isa)->description().starts_with(isa + ", bf16 products by "));
  }
  EXPECT_TRUE(
      tensor::make_cpu_backend("auto")->description().starts_with(instruction_sets().back()));
}

TEST(CpuBackend, FindsEveryKernelItLists) {
  const auto backend = tensor::make_cpu_backend("avx2");
  const std::vector<std::string> names = backend->kernels();
  EXPECT_TRUE(std::is_sorted(names.begin(), names.end()));
  for (const std::string& name : names) EXPECT_NE(backend->find(name), nullptr) << name;
}

TEST(CpuBackend, HasNoKernelOfAnUnknownName) {
  const auto backend = tensor::make_cpu_backend();
  for (const char* name : {"", "abs_", "matmu", "zzz"}) {
    EXPECT_EQ(backend->find(name), nullptr) << name;
  }
}

TEST(CpuBackend, RefusesInstructionsThatTheProcessorLacks) {
  if (cpu_features().avx512) GTEST_SKIP() << "this processor has AVX-512";
  try {
    (void)tensor::make_cpu_backend("avx512");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::unavailable);
  }
}

/// A dense layer on a batch of 37.
struct Layer {
  static constexpr std::int64_t kBatch = 37, kInputs = 300, kUnits = 70;
  std::vector<TensorType> inputs{
      {{kBatch, kInputs}, DType::f32}, {{kInputs, kUnits}, DType::f32}, {{kUnits}, DType::f32}};
  std::vector<TensorType> outputs{{{kBatch, kUnits}, DType::f32}};
  std::vector<std::vector<float>> memory;
  std::vector<View> views;

  explicit Layer(std::uint64_t seed) {
    for (const TensorType& type : inputs) {
      memory.emplace_back(static_cast<std::size_t>(type.shape.numel()));
      for (std::size_t i = 0; i < memory.back().size(); ++i) {
        memory.back()[i] = rng::normal({.seed = seed, .op = memory.size()}, i);
      }
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) views.push_back({memory[i].data(), inputs[i]});
  }
  [[nodiscard]] std::unique_ptr<tensor::Kernel> kernel(const std::string& isa) const {
    const Attrs attrs{{"activation", std::string("tanh")}};
    return tensor::make_cpu_backend(isa)->find("linear")(
        {.inputs = inputs, .outputs = outputs, .attrs = attrs});
  }
};

TEST(CpuBackend, SeveralThreadsRunOneKernelAtOnce) {
  constexpr std::size_t kThreads = 4, kRepeats = 50;
  for (const std::string& isa : instruction_sets()) {
    const auto kernel = Layer(0).kernel(isa);
    std::vector<int> wrong(kThreads, 0);
    std::vector<std::thread> threads;
    for (std::size_t t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] {
        const Layer layer(t);
        const RunResult want = run_kernel(*layer.kernel(isa), layer.views, layer.outputs, {});
        for (std::size_t i = 0; i < kRepeats; ++i) {
          const RunResult got = run_kernel(*kernel, layer.views, layer.outputs, {});
          wrong[t] += got.outputs != want.outputs;
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(wrong, std::vector<int>(kThreads, 0)) << isa;
  }
}

TEST(CpuBackend, RunsAllocateNothing) {
  for (const std::string& isa : instruction_sets()) {
    const Layer layer(1);
    const auto kernel = layer.kernel(isa);
    std::vector<float> y(Layer::kBatch * Layer::kUnits);
    const std::vector<View> outputs{{y.data(), layer.outputs[0]}};
    const GuardedBuffer scratch(kernel->scratch_bytes(), 0);
    const tensor::RunContext context;
    const long before = num_allocations();
    for (int i = 0; i < 3; ++i) {
      kernel->run(
          {.inputs = layer.views, .outputs = outputs, .scratch = scratch.data(), .run = context});
    }
    EXPECT_EQ(num_allocations(), before) << isa;
  }
}

/// The mask of the counter-based numbers, element by element.
TEST(CpuDropout, KeepsExactlyTheElementsOfTheDefinition) {
  constexpr std::int64_t kBatch = 5;
  const std::vector<std::int64_t> ids{0, 7, 123456789012, 3, -1};
  for (const std::string& isa : instruction_sets()) {
    for (const std::int64_t n : {1, 3, 15, 16, 17, 63, 64, 65, 1000}) {
      for (const double rate : {0.0, 0.1, 0.5, 0.999}) {
        const auto op = rng::op_id("dropout_1");
        const Attrs attrs{{"rate", rate}, {"op", static_cast<std::int64_t>(op)}};
        const std::vector<TensorType> types{{{kBatch, n}, DType::f32}};
        std::vector<float> x(static_cast<std::size_t>(kBatch * n), 1.0f);
        const std::vector<View> inputs{{x.data(), types[0]}};
        const auto kernel = tensor::make_cpu_backend(isa)->find("dropout")(
            {.inputs = types, .outputs = types, .attrs = attrs});
        tensor::RunContext context;
        context.seed = 0x123456789abcdef0;
        context.epoch = 12;
        context.sample_ids = ids;
        const RunResult result = run_kernel(*kernel, inputs, types, context);
        EXPECT_TRUE(result.guards_intact);
        const std::vector<float> y = result.as<float>(0);
        int wrong = 0;
        for (std::size_t i = 0; i < y.size(); ++i) {
          const std::size_t row = i / static_cast<std::size_t>(n);
          const rng::Key key{context.seed, op, context.epoch, static_cast<std::uint64_t>(ids[row])};
          const float u = rng::uniform(key, i % static_cast<std::size_t>(n));
          wrong += (y[i] != 0.0f) != (static_cast<double>(u) >= rate);
        }
        EXPECT_EQ(wrong, 0) << isa << " n " << n << " rate " << rate;
      }
    }
  }
}

TEST(CpuCrossEntropy, LabelOutOfRangeMakesTheLossNan) {
  const std::vector<TensorType> inputs{{{4, 10}, DType::f32}, {{4}, DType::i32}};
  const std::vector<TensorType> outputs{{{4}, DType::f32}, {{4}, DType::f32}};
  std::vector<float> logits(40, 0.5f);
  std::vector<std::int32_t> labels{3, -1, 10, 2147483647};
  const std::vector<View> views{{logits.data(), inputs[0]}, {labels.data(), inputs[1]}};
  const Attrs attrs;
  for (const std::string& isa : instruction_sets()) {
    const auto kernel = tensor::make_cpu_backend(isa)->find("softmax_cross_entropy")(
        {.inputs = inputs, .outputs = outputs, .attrs = attrs});
    const std::vector<float> loss = run_kernel(*kernel, views, outputs, {}).as<float>(0);
    EXPECT_NEAR(static_cast<double>(loss[0]), std::log(10.0), 1e-6) << isa;
    for (std::size_t i = 1; i < 4; ++i) EXPECT_TRUE(std::isnan(loss[i])) << isa << " " << i;
  }
}

}  // namespace
}  // namespace dlt::test
