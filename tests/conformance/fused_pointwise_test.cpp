// SPDX-License-Identifier: Apache-2.0
// Random programs of fused_pointwise on the CPU: the very bits of its steps run one by one.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "backend/kernel_run.h"
#include "base/rng.h"
#include "base/text.h"
#include "ops/ops.h"
#include "support/gradient_check.h"
#include "tensor/pointwise_program.h"
#include "tensor/tensor.h"

namespace dlt::test {
namespace {

using tensor::PointwiseProgram;
using tensor::PointwiseStep;
using tensor::Tensor;
using tensor::TensorType;
using tensor::View;

/// A program over [batch, rows, n] with 1 to 4 inputs, a vector [n], and 2 to 12 steps.
class RandomProgram {
 public:
  explicit RandomProgram(std::uint64_t seed) : seed_(seed) {
    // Samples below, at and beyond a block of the kernel, and no whole vectors.
    static constexpr std::int64_t kSizes[][3] = {
        {1, 1, 1},    {3, 1, 7},   {2, 1, 64},   {70, 3, 5},   {2, 1, 1024},
        {3, 1, 1025}, {2, 40, 64}, {5, 1, 3000}, {1, 100, 33}, {300, 1, 16},
    };
    for (int i = 0; i < 3; ++i) sizes_.push_back(kSizes[seed % 10][i]);
    const std::int64_t num_inputs = 1 + pick(4);
    for (std::int64_t i = 0; i < num_inputs; ++i) {
      inputs_.push_back(cube());
      values_.push_back(static_cast<int>(i));
    }
    inputs_.push_back({tensor::Shape{sizes_[2]}, DType::f32});
    vector_ = static_cast<int>(num_inputs);
    program_.num_inputs = vector_ + 1;
    const std::int64_t num_steps = 2 + pick(11);
    for (std::int64_t i = 0; i < num_steps; ++i) add_step();
    for (std::int64_t i = 1 + pick(3); i > 0; --i) {
      const int made = program_.num_registers() - 1 -
                       static_cast<int>(pick(static_cast<std::int64_t>(program_.steps.size())));
      const auto& outputs = program_.outputs;
      if (std::find(outputs.begin(), outputs.end(), made) == outputs.end() &&
          program_.steps[static_cast<std::size_t>(made - program_.num_inputs)].op != "reshape") {
        program_.outputs.push_back(made);
      }
    }
    if (program_.outputs.empty()) program_.outputs.push_back(program_.num_registers() - 1);
  }
  [[nodiscard]] const PointwiseProgram& program() const { return program_; }
  [[nodiscard]] const std::vector<TensorType>& inputs() const { return inputs_; }

 private:
  [[nodiscard]] TensorType cube() const {
    return {tensor::Shape{sizes_[0], sizes_[1], sizes_[2]}, DType::f32};
  }
  std::int64_t pick(std::int64_t count) {
    return rng::block({seed_, 2, 0, 0}, counter_++)[0] % static_cast<std::uint32_t>(count);
  }
  /// An input or a step's result of the cube's shape.
  int any() {
    return values_[static_cast<std::size_t>(pick(static_cast<std::int64_t>(values_.size())))];
  }
  void add_step() {
    static constexpr const char* kUnary[] = {"relu", "tanh",   "sigmoid", "silu",  "gelu",
                                             "neg",  "square", "abs",     "scale", "leaky_relu"};
    static constexpr const char* kBinary[] = {"add",          "sub",       "mul",
                                              "sigmoid_grad", "silu_grad", "gelu_grad"};
    PointwiseStep step;
    const std::int64_t kind = pick(10);
    if (kind < 4) {
      step = {kUnary[pick(10)], {any()}, {}};
      if (step.op == "scale") step.attrs.set("factor", -0.75);
    } else if (kind < 8) {
      step = {kBinary[pick(6)], {any(), any()}, {}};
    } else if (kind == 8) {
      step = {"bias_add", {any(), vector_}, {}};
    } else {
      step = {"dropout", {any()}, {{"rate", 0.3}, {"op", std::int64_t{-12345}}}};
    }
    if (first_step_) {  // first through another shape and back: an alias of an alias
      const std::int64_t numel = cube().shape.numel();
      program_.steps.push_back(
          {"reshape", {step.inputs[0]}, {{"shape", std::vector<std::int64_t>{numel}}}});
      program_.steps.push_back({"reshape", {program_.num_registers() - 1}, {{"shape", sizes_}}});
      step.inputs[0] = program_.num_registers() - 1;
      first_step_ = false;
    }
    program_.steps.push_back(std::move(step));
    values_.push_back(program_.num_registers() - 1);
  }

  std::uint64_t seed_;
  std::uint32_t counter_ = 0;
  bool first_step_ = true;
  int vector_ = 0;
  std::vector<int> values_;  // registers that steps may read
  std::vector<std::int64_t> sizes_;
  std::vector<TensorType> inputs_;
  PointwiseProgram program_;
};

class FusedPointwise : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    if (!can_run(GetParam())) GTEST_SKIP() << "this processor lacks " << GetParam();
    backend = tensor::make_cpu_backend(GetParam());
    ids.resize(512);
    std::iota(ids.begin(), ids.end(), 41);
    context = {.seed = 8, .epoch = 2, .sample_ids = ids, .scalars = {}};
  }

  /// Every register by a kernel of its own on memory of its own.
  [[nodiscard]] std::vector<Tensor> one_by_one(const PointwiseProgram& program,
                                               const std::vector<Tensor>& inputs) const {
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
      if (step.op == "reshape") {
        std::memcpy(result.bytes(), in[0].data, static_cast<std::size_t>(out[0].bytes()));
      } else {
        const std::vector<View> views{{result.bytes(), out[0]}};
        const auto kernel =
            backend->find(step.op)({.inputs = types, .outputs = out, .attrs = step.attrs});
        kernel->run({.inputs = in, .outputs = views, .scratch = nullptr, .run = context});
      }
      registers.push_back(result);
    }
    return registers;
  }

  autodiff::OpTable table = ops::make_op_table();
  std::unique_ptr<tensor::Backend> backend;
  std::vector<std::int64_t> ids;
  tensor::RunContext context;
};

INSTANTIATE_TEST_SUITE_P(Cpu, FusedPointwise, testing::Values("avx2", "avx512"),
                         [](const auto& test) { return test.param; });

bool same_bits(const void* got, const Tensor& want) {
  return std::memcmp(got, want.bytes(), static_cast<std::size_t>(want.type().bytes())) == 0;
}

TEST_P(FusedPointwise, GivesTheBitsOfItsSteps) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const RandomProgram random(seed);
    const PointwiseProgram& program = random.program();
    const tensor::Attrs attrs{{"program", program.text()}};
    SCOPED_TRACE(cat("seed ", seed, ": ", program.text()));
    std::vector<Tensor> inputs;
    for (const TensorType& type : random.inputs()) {
      inputs.push_back(support::random_tensor(type, seed, inputs.size()));
    }
    const std::vector<Tensor> registers = one_by_one(program, inputs);
    const auto outputs = table.find("fused_pointwise")->infer(random.inputs(), attrs);
    const auto kernel = backend->find("fused_pointwise")(
        {.inputs = random.inputs(), .outputs = outputs, .attrs = attrs});
    // First on memory of its own, then output k over input k where sizes allow.
    for (const bool in_place : {false, true}) {
      std::vector<View> in, out;
      std::vector<GuardedBuffer> buffers;
      for (const Tensor& tensor : inputs) {
        buffers.emplace_back(tensor.type().bytes(), 4);
        std::memcpy(buffers.back().data(), tensor.bytes(),
                    static_cast<std::size_t>(tensor.type().bytes()));
        in.push_back({buffers.back().data(), tensor.type()});
      }
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        const bool over = in_place && k + 1 < in.size();
        if (!over) buffers.emplace_back(outputs[k].bytes(), 0);
        out.push_back({over ? in[k].data : buffers.back().data(), outputs[k]});
      }
      const GuardedBuffer scratch(kernel->scratch_bytes(), 0);
      kernel->run({.inputs = in, .outputs = out, .scratch = scratch.data(), .run = context});
      EXPECT_TRUE(scratch.intact());
      for (const GuardedBuffer& buffer : buffers) EXPECT_TRUE(buffer.intact());
      for (std::size_t k = 0; k < outputs.size(); ++k) {
        const auto made = static_cast<std::size_t>(program.outputs[k]);
        EXPECT_TRUE(same_bits(out[k].data, registers[made])) << "output " << k << in_place;
      }
    }
  }
}

TEST(PointwiseProgram, TextIsReadBack) {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    const std::string text = RandomProgram(seed).program().text();
    EXPECT_EQ(PointwiseProgram::parse(text).text(), text);
  }
  const std::string text =
      "inputs 2; dropout %0 op=-9223372036854775808 rate=0.10000000000000001; "
      "scale %2 factor=2.0 offset=-1e-07; gelu %3 approximate=tanh; "
      "reshape %4 shape=(2,3); add %5 %1; outputs %6 %3";
  const PointwiseProgram program = PointwiseProgram::parse(text);
  EXPECT_EQ(program.text().size(), text.size() + std::string("9.9999999999999995").size() - 1);
  EXPECT_EQ(program.steps[0].attrs.integer("op"), INT64_MIN);
  EXPECT_EQ(program.steps[1].attrs.number("offset"), -1e-7);
  EXPECT_EQ(program.steps[3].attrs.integers("shape"), (std::vector<std::int64_t>{2, 3}));
}

TEST(PointwiseProgram, WhatIsNotOneIsRefused) {
  for (const char* text : {"", "inputs 1", "inputs 1; relu %0", "inputs 1; relu %1; outputs %1",
                           "inputs 1; relu 0; outputs %1", "inputs 1; relu %0; outputs %0",
                           "inputs 1; relu %0; outputs %2", "inputs x; relu %0; outputs %1"}) {
    EXPECT_THROW((void)PointwiseProgram::parse(text), std::exception) << text;
  }
}

}  // namespace
}  // namespace dlt::test
