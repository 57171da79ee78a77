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
#include "base/text.h"
#include "conformance/random_program.h"
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
