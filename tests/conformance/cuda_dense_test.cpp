// SPDX-License-Identifier: Apache-2.0
// Products, convolutions, attention and recurrent layers of the CUDA back end at sizes of several
// tiles and in every precision, against the host kernels; what is kept of parameters.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/rng.h"
#include "conformance/cuda_test.h"
#include "conformance/kernel_case.h"
#include "tensor/conv_geometry.h"

namespace dlt::test {
namespace {

using support::OpSample;
using tensor::Attrs;
using tensor::Shape;

constexpr std::uint64_t kSeed = 20;
constexpr std::int64_t kYes = 1;

class CudaDense : public CudaTest {
 protected:
  /// The root of the mean square of the differences, by that of the host kernel's numbers.
  void expect_error_below(double most, const OpSample& sample) {
    const KernelCase test(table, sample, kSeed);
    const RunResult got = test.run(*backend), want = test.run_host();
    EXPECT_TRUE(got.guards_intact) << test.text();
    EXPECT_EQ(got.outputs, test.run(*backend).outputs) << test.text();
    for (std::size_t out = 0; out < got.outputs.size(); ++out) {
      const auto g = got.as<float>(out), w = want.as<float>(out);
      double squares = 0, errors = 0;
      for (std::size_t i = 0; i < g.size(); ++i) {
        if (std::isinf(w[i]) && g[i] == w[i]) continue;
        errors += std::pow(static_cast<double>(g[i]) - static_cast<double>(w[i]), 2);
        squares += std::pow(static_cast<double>(w[i]), 2);
      }
      EXPECT_LE(std::sqrt(errors / std::max(squares, 1e-30)), most)
          << test.text() << " output " << out << " seed " << kSeed;
    }
  }
};

/// Roundings of the sums alone: operands are rounded alike on both sides.
constexpr double kSumError = 1e-6;

Attrs with(Attrs attrs, const std::string& name, Attrs::Value value) {
  attrs.set(name, std::move(value));
  return attrs;
}

TEST_F(CudaDense, ProductsOfEveryLayoutAndPrecision) {
  for (const char* precision : {"f32", "bf16", "fp16"}) {
    const Attrs attrs{{"precision", std::string(precision)}};
    expect_error_below(kSumError, {"matmul", {{{70, 33}}, {{33, 45}}}, attrs});
    expect_error_below(kSumError, {"matmul", {{{40, 64}}, {{64, 48}}}, attrs});
    expect_error_below(kSumError,
                       {"matmul", {{{33, 70}}, {{33, 45}}}, with(attrs, "trans_a", kYes)});
    expect_error_below(kSumError,
                       {"matmul", {{{70, 33}}, {{45, 33}}}, with(attrs, "trans_b", kYes)});
    for (const char* activation : {"none", "relu", "softplus"}) {
      expect_error_below(kSumError, {"linear",
                                     {{{70, 33}}, {{33, 45}}, {{45}}},
                                     with(attrs, "activation", std::string(activation))});
    }
  }
}

struct ConvCase {
  Shape x, weight;
  std::int64_t stride = 1, pad = 0, dilation = 1, groups = 1;
};

std::vector<OpSample> directions(const ConvCase& c, const Attrs& precision) {
  Attrs attrs = precision;
  for (const char* name : {"stride_h", "stride_w"}) attrs.set(name, c.stride);
  for (const char* name : {"pad_top", "pad_left", "pad_right"}) attrs.set(name, c.pad);
  for (const char* name : {"dilation_h", "dilation_w"}) attrs.set(name, c.dilation);
  attrs.set("groups", c.groups);
  const tensor::ConvGeometry g = tensor::conv_geometry("test", c.x, c.weight, attrs);
  Attrs input = attrs, weight = attrs, fused = attrs;
  input.set("in_h", g.in_h);
  input.set("in_w", g.in_w);
  weight.set("kernel_h", g.kernel_h);
  weight.set("kernel_w", g.kernel_w);
  fused.set("activation", std::string("relu"));
  return {{"conv2d", {{c.x}, {c.weight}}, attrs},
          {"conv2d", {{c.x}, {c.weight}, {{g.out_channels}}}, fused},
          {"conv2d_input_grad", {{g.output()}, {c.weight}}, input},
          {"conv2d_weight_grad", {{c.x}, {g.output()}}, weight}};
}

TEST_F(CudaDense, ConvolutionsOfEveryKind) {
  const std::vector<ConvCase> cases{
      {{2, 9, 8, 17}, {3, 3, 17, 35}, 1, 1},
      {{2, 9, 8, 32}, {3, 3, 32, 24}, 2, 1},
      {{2, 7, 6, 33}, {1, 1, 33, 40}},
      {{2, 7, 6, 32}, {1, 1, 32, 40}, 2},
      {{1, 12, 11, 16}, {5, 5, 16, 20}, 1, 3, 2},
      {{2, 9, 10, 34}, {3, 3, 17, 36}, 1, 1, 1, 2},
      {{3, 12, 13, 37}, {3, 3, 1, 37}, 2, 1, 1, 37},
      {{2, 6, 7, 5}, {3, 3, 1, 10}, 1, 1, 1, 5},
  };
  for (const char* precision : {"f32", "bf16", "fp16"}) {
    for (const ConvCase& c : cases) {
      for (const OpSample& sample : directions(c, {{"precision", std::string(precision)}})) {
        expect_error_below(kSumError, sample);
      }
    }
  }
}

struct AttentionCase {
  std::int64_t batch, length, heads, kv_heads, head_size;
  bool causal = false, masked = false;
  double rate = 0;
};

OpSample forward_of(const AttentionCase& c) {
  Attrs attrs{{"heads", c.heads}, {"kv_heads", c.kv_heads}, {"rate", c.rate}};
  attrs.set("op", static_cast<std::int64_t>(rng::op_id("attention_1")));
  if (c.causal) attrs.set("causal", kYes);
  OpSample sample{"attention", {}, attrs};
  sample.inputs.push_back({{c.batch, c.length, (c.heads + 2 * c.kv_heads) * c.head_size}});
  if (c.masked) sample.inputs.push_back({{c.batch, c.length}, support::Fill::mask, 0, false});
  return sample;
}

OpSample backward_of(const AttentionCase& c) {
  OpSample sample = forward_of(c);
  sample.op = "attention_grad";
  const support::SampleInput y{{c.batch, c.length, c.heads * c.head_size}};
  const support::SampleInput lse{{c.batch, c.heads, c.length}, support::Fill::positive};
  sample.inputs.insert(sample.inputs.begin() + 1, {y, lse, y});
  return sample;
}

TEST_F(CudaDense, AttentionOverSeveralTiles) {
  const std::vector<AttentionCase> cases{
      {1, 130, 2, 1, 32, true},
      {1, 70, 2, 2, 64, false, true},
      {1, 140, 1, 1, 33, true, true},
      {1, 66, 2, 1, 48, true, true, 0.2},
      {1, 70, 1, 1, 100, true, false, 0.1},
      {1, 65, 2, 1, 200, true},
      {1, 40, 1, 1, 256, false, true, 0.3},
  };
  for (const AttentionCase& c : cases) {
    expect_error_below(2e-6, forward_of(c));
    expect_error_below(2e-6, backward_of(c));
  }
}

TEST_F(CudaDense, HeadsTooLargeForTilesAreTheHosts) {
  const KernelCase test(table, forward_of({1, 3, 1, 1, 257}), kSeed);
  EXPECT_EQ(test.kernel(*backend), nullptr);
}

TEST_F(CudaDense, RecurrentLayersInEveryPrecision) {
  const std::int64_t b = 3, t = 5, h = 33;
  for (const char* precision : {"f32", "fp16"}) {
    Attrs attrs{{"precision", std::string(precision)}, {"initial", kYes}, {"masked", kYes}};
    const support::SampleInput state{{b, h}}, mask{{b, t}, support::Fill::mask, 0, false};
    const support::SampleInput sequence{{b, t, h}}, wide{{b, t, 3 * h}};
    expect_error_below(1e-4, {"lstm", {{{b, t, 4 * h}}, {{h, 4 * h}}, state, state, mask}, attrs});
    expect_error_below(1e-4, {"gru", {wide, {{h, 3 * h}}, state, mask}, attrs});
    expect_error_below(1e-4, {"simple_rnn", {sequence, {{h, h}}, state, mask}, attrs});
    attrs = {{"precision", std::string(precision)}, {"initial", kYes}, {"inner", kYes}};
    expect_error_below(kSumError,
                       {"recurrent_weight_grad", {sequence, wide, sequence, state}, attrs});
  }
}

/// A kernel whose input 1 is a parameter, run with memory to keep its copy in.
class Kept {
 public:
  Kept(tensor::Backend& backend, const autodiff::OpTable& table, const OpSample& sample)
      : backend_(backend), queue_(backend.make_queue()) {
    for (std::size_t i = 0; i < sample.inputs.size(); ++i) {
      const tensor::Tensor input = support::make_input(sample, i, DType::f32, kSeed);
      types_.push_back(input.type());
      storages_.push_back(backend.allocate(input.type().bytes()));
      queue_->copy(storages_.back().data(), input.bytes(), input.type().bytes());
      queue_->wait();
      inputs_.push_back({storages_.back().data(), input.type()});
    }
    outputs_ = table.find(sample.op)->infer(types_, sample.attrs);
    kernel_ = backend.find(sample.op)(
        {.inputs = types_, .outputs = outputs_, .attrs = sample.attrs, .params = 2});
    kept_ = backend.allocate(kernel_->kept_bytes());
    scratch_ = backend.allocate(kernel_->scratch_bytes());
  }
  [[nodiscard]] const tensor::Kernel& kernel() const { return *kernel_; }
  /// In the memory of input 1 from now on.
  void clear_parameter() { queue_->zero(inputs_[1].data, types_[1].bytes()); }
  enum class With : std::uint8_t { nothing, new_copy, valid_copy };
  [[nodiscard]] std::vector<float> run(With with) {
    tensor::RunContext context;
    context.queue = queue_.get();
    std::vector<tensor::Storage> out;
    std::vector<tensor::View> views;
    for (const tensor::TensorType& type : outputs_) {
      out.push_back(backend_.allocate(type.bytes()));
      views.push_back({out.back().data(), type});
    }
    kernel_->run({.inputs = inputs_,
                  .outputs = views,
                  .scratch = scratch_.data(),
                  .run = context,
                  .kept = with == With::nothing ? nullptr : kept_.data(),
                  .kept_valid = with == With::valid_copy});
    std::vector<float> result(static_cast<std::size_t>(outputs_[0].shape.numel()));
    queue_->copy(result.data(), out[0].data(), outputs_[0].bytes());
    queue_->wait();
    return result;
  }

 private:
  tensor::Backend& backend_;
  std::unique_ptr<tensor::Queue> queue_;
  std::vector<tensor::TensorType> types_, outputs_;
  std::vector<tensor::Storage> storages_;
  std::vector<tensor::View> inputs_;
  std::unique_ptr<tensor::Kernel> kernel_;
  tensor::Storage kept_, scratch_;
};

TEST_F(CudaDense, CopiesOfParametersAreKept) {
  const Attrs bf16{{"precision", std::string("bf16")}};
  Attrs image = bf16;
  image.set("in_h", std::int64_t{5});
  image.set("in_w", std::int64_t{5});
  const std::vector<OpSample> samples{
      {"matmul", {{{5, 17}}, {{17, 9}}}, bf16},
      {"linear", {{{5, 17}}, {{17, 9}}, {{9}}}, bf16},
      {"conv2d", {{{1, 5, 5, 16}}, {{3, 3, 16, 18}}}, bf16},
      {"conv2d", {{{1, 5, 5, 16}}, {{1, 1, 16, 18}}}, bf16},
      {"conv2d_input_grad", {{{1, 3, 3, 18}}, {{3, 3, 16, 18}}}, image},
      {"simple_rnn", {{{2, 3, 9}}, {{9, 9}}}, bf16},
  };
  for (const OpSample& sample : samples) {
    SCOPED_TRACE(support::text(sample));
    Kept kept(*backend, table, sample);
    ASSERT_GT(kept.kernel().kept_bytes(), 0);
    const std::vector<float> plain = kept.run(Kept::With::nothing);
    EXPECT_EQ(kept.run(Kept::With::new_copy), plain);
    kept.clear_parameter();
    EXPECT_EQ(kept.run(Kept::With::valid_copy), plain) << "the copy was not used";
    EXPECT_NE(kept.run(Kept::With::nothing), plain);
  }
}

}  // namespace
}  // namespace dlt::test
