// SPDX-License-Identifier: Apache-2.0
// What the golden files do not say of normalisation and pooling layers: padding, masks, shapes and
// messages.
#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>

#include "base/text.h"
#include "nn/nn_support.h"
#include "nn/window.h"

namespace dlt::nn {
namespace {

using ::testing::HasSubstr;

/// Mistakes of one layer behind a dense layer that gives `shape`.
std::string one_layer_mistakes(const std::string& shape, const std::string& layer) {
  return mistakes("input: " + shape + "\nlayers:\n  - " + layer +
                  "\n  - flatten\n  - dense: {units: 1}\n");
}

/// The shape of one sample behind a layer.
tensor::Shape shape_of(const std::string& input, const std::string& layer) {
  const auto model = read_model("input: " + input + "\nlayers:\n  - " + layer +
                                "\n  - flatten\n  - dense: {units: 1}\n");
  return model == nullptr ? tensor::Shape{} : model->rows()[0].output;
}

bool all_finite(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(), [](float v) { return std::isfinite(v); });
}

TEST(BatchNorm, HasTwoParametersAndTwoStatistics) {
  const auto model = read_model("input: [4, 5, 3]\nlayers: [{batch_norm: {momentum: 0.25}}]\n");
  ASSERT_EQ(model->params().size(), 4u);
  const auto expect = [&](std::size_t i, const char* name, InitKind init, ParamKind kind) {
    EXPECT_EQ(model->params()[i].name, std::string("batch_norm_1.") + name);
    EXPECT_EQ(model->params()[i].shape, (tensor::Shape{3}));
    EXPECT_EQ(model->params()[i].init.kind, init) << name;
    EXPECT_EQ(model->params()[i].kind, kind) << name;
  };
  expect(0, "gamma", InitKind::ones, ParamKind::trainable);
  expect(1, "beta", InitKind::zeros, ParamKind::trainable);
  expect(2, "running_mean", InitKind::zeros, ParamKind::statistic);
  expect(3, "running_var", InitKind::ones, ParamKind::statistic);
  ASSERT_EQ(model->running_statistics().size(), 1u);
  const RunningStatistics& row = model->running_statistics()[0];
  EXPECT_EQ(row.mean, "batch_norm_1.running_mean");
  EXPECT_EQ(row.variance, "batch_norm_1.running_var");
  EXPECT_EQ(row.momentum, 0.25);
  EXPECT_EQ(row.elements_per_sample, 20);
}

TEST(BatchNorm, ALeafOfPaddingGivesFiniteNumbersAndNoSums) {
  const auto model = read_model(
      "input: [3]\nlayers: [{dense: {units: 2}}, batch_norm, relu, {dense: {units: 2}}]\n");
  const auto loss = read_loss_text("mse");
  GraphRun run = training_run(*model, 2, *loss);
  run.set("dense_1.weight", {1, 2, 3, 4, 5, 6});
  run.set("dense_2.weight", {1, 2, 3, 4});
  run.set("batch_norm_1.gamma", {1, 1});
  run.set("batch_norm_1.running_mean", {3, 4});
  const std::vector<float> input(6, 1e30f), target(4, 1.0f), weight(2, 0.0f);
  run.bind("input", input);
  run.bind("target", target);
  run.bind("weight", weight);
  run.run();
  EXPECT_TRUE(all_finite(run.output("prediction")));
  EXPECT_TRUE(all_finite(run.grads));
  EXPECT_EQ(run.gradient("batch_norm_1.running_mean"), (std::vector<float>{0, 0}));
  EXPECT_EQ(run.gradient("batch_norm_1.running_var"), (std::vector<float>{0, 0}));
}

TEST(BatchNorm, PaddingChangesNothingOfTheRealSamples) {
  const auto model = read_model(
      "input: [2]\nlayers: [{dense: {units: 3}}, batch_norm, relu, {dense: {units: 1}}]\n");
  const auto loss = read_loss_text("mse");
  const auto gradients = [&](std::int64_t batch, float padding) {
    GraphRun run = training_run(*model, batch, *loss);
    run.set("dense_1.weight", {0.5f, -1, 2, 1, 0.25f, -1});
    run.set("dense_2.weight", {1, -2, 3});
    run.set("batch_norm_1.gamma", {1, 2, 0.5f});
    run.set("batch_norm_1.beta", {0.1f, 0.2f, 0.3f});
    std::vector<float> input{1, 2, -3, 0.5f, 2, 2}, target{1, 0, -1}, weight{1, 1, 1};
    input.resize(static_cast<std::size_t>(2 * batch), padding);
    target.resize(static_cast<std::size_t>(batch), padding);
    weight.resize(static_cast<std::size_t>(batch), 0.0f);
    run.bind("input", input);
    run.bind("target", target);
    run.bind("weight", weight);
    run.run();
    return run.grads;
  };
  EXPECT_EQ(gradients(3, 0), gradients(5, 7.0f));
}

/// Two sequences of 3 and 2 real steps of 2 numbers, padded with zeros to `length`.
std::vector<float> padded_sequences(std::size_t length) {
  std::vector<float> input(2 * length * 2, 0.0f);
  const std::vector<float> first{1, 2, -3, 0.5f, 2, 4}, second{7, -1, 3, 2.5f};
  std::copy(first.begin(), first.end(), input.begin());
  std::copy(second.begin(), second.end(), input.begin() + static_cast<std::ptrdiff_t>(2 * length));
  return input;
}

TEST(BatchNorm, PaddingOfSequencesTakesNoPart) {
  const auto loss = read_loss_text("mse");
  for (const bool sync : {false, true}) {
    SCOPED_TRACE(sync);
    const auto model = read_model(cat(
        "input: [4, 2]\nlayers: [masking, {batch_norm: {sync: ", sync ? "true" : "false", "}}]\n"));
    GraphRun run = training_run(*model, 2, *loss);
    run.set("batch_norm_1.gamma", {1, 1});
    run.set("batch_norm_1.running_mean", {1, -1});
    const std::vector<float> input = padded_sequences(4), target(16, 0.0f), weight{1, 1};
    run.bind("input", input);
    run.bind("target", target);
    run.bind("weight", weight);
    run.run();
    // Channel 0 of the five real steps: 1, -3, 2, 7, 3; channel 1: 2, 0.5, 4, -1, 2.5.
    const double mean[2] = {2.0, 1.6}, variance[2] = {10.4, 2.94};
    for (std::size_t i = 0; i < 16; ++i) {
      const bool real = i < 6 || (i >= 8 && i < 12);
      if (!real && sync) continue;  // whatever it is, the mask hides it
      const double want =
          (static_cast<double>(input[i]) - mean[i % 2]) / std::sqrt(variance[i % 2] + 1e-5);
      EXPECT_NEAR(run.output("prediction")[i], real ? want : 0.0, 1e-5) << i;
    }
    EXPECT_EQ(run.gradient("batch_norm_1.num_positions"), std::vector<float>{5});
    expect_near(run.gradient("batch_norm_1.running_mean"), {5 * 1.0, 5 * 2.6}, 1e-5);
    expect_near(run.gradient("batch_norm_1.running_var"),
                {5 * (10.4 + 1.0), 5 * (2.94 + 2.6 * 2.6)}, 1e-4);
  }
}

/// The golden files hold the derivative of batch_norm over samples; here steps take their part.
TEST(BatchNorm, GradientsAreThoseOfTheRealStepsAsSamples) {
  const auto loss = read_loss_text("mse");
  const std::string layers = "{dense: {units: 3}}, batch_norm]\n";
  const auto gradients_of = [&](const std::string& text, const std::vector<float>& input,
                                const std::vector<float>& target,
                                const std::vector<float>& weight) {
    const auto model = read_model(text + layers);
    GraphRun run = training_run(*model, static_cast<std::int64_t>(weight.size()), *loss);
    run.set("dense_1.weight", {0.5f, -1, 2, 1, 0.25f, -1});
    run.set("batch_norm_1.gamma", {1, 2, 0.5f});
    run.set("batch_norm_1.beta", {0.1f, 0.2f, 0.3f});
    run.bind("input", input);
    run.bind("target", target);
    run.bind("weight", weight);
    run.run();
    std::vector<float> all;
    for (const char* name :
         {"dense_1.weight", "dense_1.bias", "batch_norm_1.gamma", "batch_norm_1.beta"}) {
      const std::vector<float> part = run.gradient(name);
      all.insert(all.end(), part.begin(), part.end());
    }
    return all;
  };
  const std::vector<float> sequences = padded_sequences(4);
  std::vector<float> steps, targets(24), real_targets;
  for (std::size_t i = 0; i < targets.size(); ++i) {
    targets[i] = 0.25f * static_cast<float>(i % 7) - 0.5f;
  }
  for (const std::size_t step : {0, 1, 2, 4, 5}) {
    steps.insert(steps.end(), sequences.begin() + static_cast<std::ptrdiff_t>(2 * step),
                 sequences.begin() + static_cast<std::ptrdiff_t>(2 * step + 2));
    real_targets.insert(real_targets.end(), targets.begin() + static_cast<std::ptrdiff_t>(3 * step),
                        targets.begin() + static_cast<std::ptrdiff_t>(3 * step + 3));
  }
  const std::vector<float> masked =
      gradients_of("input: [4, 2]\nlayers: [masking, ", sequences, targets, {1, 1});
  // A sequence's loss is the mean over its real steps.
  const float third = 1.0f / 3;
  const std::vector<float> samples =
      gradients_of("input: [2]\nlayers: [", steps, real_targets, {third, third, third, 0.5f, 0.5f});
  expect_near(masked, {samples.begin(), samples.end()}, 2e-5);
}

TEST(BatchNorm, MorePaddingOfSequencesChangesNothing) {
  const auto loss = read_loss_text("mse");
  for (const char* options : {"{}", "{sync: true}"}) {
    const auto gradients = [&](std::size_t length) {
      const auto model =
          read_model(cat("input: [", length,
                         ", 2]\nlayers: [masking, {dense: "
                         "{units: 3}}, {batch_norm: ",
                         options, "}, relu, global_avg_pool1d, {dense: {units: 1}}]\n"));
      GraphRun run = training_run(*model, 3, *loss);
      run.set("dense_1.weight", {0.5f, -1, 2, 1, 0.25f, -1});
      run.set("dense_1.bias", {0.1f, 0.2f, -0.3f});
      run.set("dense_2.weight", {1, -2, 3});
      run.set("batch_norm_1.gamma", {1, 2, 0.5f});
      run.set("batch_norm_1.beta", {0.1f, 0.2f, 0.3f});
      std::vector<float> input = padded_sequences(length), target{1, -1, 5}, weight{1, 1, 0};
      input.resize(3 * length * 2, 9.0f);  // a sample of weight 0, all of it real
      run.bind("input", input);
      run.bind("target", target);
      run.bind("weight", weight);
      run.run();
      std::vector<float> all;
      for (const char* name : {"dense_1.weight", "dense_1.bias", "batch_norm_1.gamma",
                               "batch_norm_1.beta", "batch_norm_1.running_mean",
                               "batch_norm_1.running_var", "batch_norm_1.num_positions"}) {
        const std::vector<float> part = run.gradient(name);
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    };
    const std::vector<float> few = gradients(3), many = gradients(9);
    ASSERT_EQ(few.size(), many.size());
    for (std::size_t i = 0; i < few.size(); ++i)
      EXPECT_NEAR(few[i], many[i], 1e-5f * std::max(1.0f, std::abs(few[i]))) << i;
    EXPECT_EQ(few.back(), 5.0f);
  }
}

TEST(BatchNorm, VarianceOfNumbersFarFromZeroIsAccurate) {
  const auto model = read_model("input: [1000, 1]\nlayers: [batch_norm]\n");
  const auto loss = read_loss_text("mse");
  GraphRun run = training_run(*model, 1, *loss);
  run.set("batch_norm_1.gamma", {1});
  std::vector<float> input(1000), target(1000, 0.0f), weight{1};
  for (std::size_t i = 0; i < input.size(); ++i) input[i] = i % 2 == 0 ? 4096.0f : 4097.0f;
  run.bind("input", input);
  run.bind("target", target);
  run.bind("weight", weight);
  run.run();
  EXPECT_NEAR(run.gradient("batch_norm_1.running_mean")[0], 4096.5, 1e-3);
  // The variance is 0.25: with a sum of squares of 1.7e10 nothing would be left of it in f32.
  EXPECT_NEAR(run.output("prediction")[1], 0.5 / std::sqrt(0.25 + 1e-5), 1e-5);
}

TEST(Norms, AreReadStrictly) {
  EXPECT_THAT(one_layer_mistakes("[4]", "batch_norm: {eps: 0}"), HasSubstr("batch_norm.eps"));
  EXPECT_THAT(one_layer_mistakes("[4]", "batch_norm: {momentum: 2}"),
              HasSubstr("batch_norm.momentum"));
  EXPECT_THAT(one_layer_mistakes("[4]", "batch_norm: {epsilon: 0.1}"),
              HasSubstr("legal: center, eps, momentum, name, scale"));
  EXPECT_THAT(one_layer_mistakes("[4, 6]", "group_norm: {groups: 4}"),
              HasSubstr("expected channels (the last size) in 4 equal groups from the model's "
                        "input for 'group_norm_1', got [4, 6]"));
  EXPECT_THAT(one_layer_mistakes("[4]", "rms_norm: {center: true}"), HasSubstr("unknown key"));
}

TEST(Pools, GiveTheSizesOfKeras) {
  EXPECT_EQ(shape_of("[28, 28, 6]", "max_pool2d"), (tensor::Shape{14, 14, 6}));
  EXPECT_EQ(shape_of("[7, 8, 2]", "avg_pool2d"), (tensor::Shape{3, 4, 2}));
  EXPECT_EQ(shape_of("[7, 8, 2]", "max_pool2d: {padding: same}"), (tensor::Shape{4, 4, 2}));
  EXPECT_EQ(shape_of("[112, 112, 4]", "max_pool2d: {pool_size: 3, strides: 2, padding: 1}"),
            (tensor::Shape{56, 56, 4}));
  EXPECT_EQ(shape_of("[9, 5]", "max_pool1d: {pool_size: 4, strides: 3}"), (tensor::Shape{2, 5}));
  EXPECT_EQ(shape_of("[9, 5]", "avg_pool1d: {pool_size: 4, strides: 3, padding: same}"),
            (tensor::Shape{3, 5}));
  EXPECT_EQ(shape_of("[4, 6, 5]", "global_max_pool2d"), (tensor::Shape{5}));
  EXPECT_EQ(shape_of("[4, 5]", "global_avg_pool1d"), (tensor::Shape{5}));
  EXPECT_EQ(shape_of("[4, 6, 5]", "upsample2d: {size: [1, 3]}"), (tensor::Shape{4, 18, 5}));
  EXPECT_EQ(shape_of("[4, 6, 5]", "zero_pad2d: {padding: [1, 0]}"), (tensor::Shape{6, 6, 5}));
  EXPECT_EQ(shape_of("[4, 6]", "cropping1d: {cropping: [1, 2]}"), (tensor::Shape{1, 6}));
}

TEST(Pools, SayWhatDoesNotFit) {
  EXPECT_THAT(one_layer_mistakes("[4, 4]", "max_pool2d"),
              HasSubstr("expected an image [height, width, channels] from the model's input for "
                        "'max_pool2d_1', got [4, 4]"));
  EXPECT_THAT(one_layer_mistakes("[4]", "avg_pool1d"), HasSubstr("a sequence [time, channels]"));
  EXPECT_THAT(one_layer_mistakes("[3, 4, 1]", "max_pool2d: {pool_size: [2, 5]}"),
              HasSubstr("expected at least 5 places along axis 1"));
  EXPECT_THAT(one_layer_mistakes("[9, 9, 1]", "max_pool2d: {pool_size: 2, padding: 2}"),
              HasSubstr("expected less than pool_size on each side"));
  EXPECT_THAT(one_layer_mistakes("[9, 9, 1]", "avg_pool2d: {padding: [1, 1, 1]}"),
              HasSubstr("expected 1, 2 or 4 numbers, got 3"));
  EXPECT_THAT(one_layer_mistakes("[9, 9, 1]", "avg_pool2d: {padding: sane}"),
              HasSubstr("did you mean 'same'?"));
  EXPECT_THAT(one_layer_mistakes("[90, 90, 1]", "max_pool2d: {pool_size: 17}"),
              HasSubstr("at most 256 cells"));
  EXPECT_THAT(one_layer_mistakes("[90, 9]", "max_pool1d: {pool_size: [2, 3]}"),
              HasSubstr("expected 1 number, got 2"));
  EXPECT_THAT(one_layer_mistakes("[3, 9, 1]", "cropping2d: {cropping: [2, 1, 1, 1]}"),
              HasSubstr("expected more than 3 places along axis 0"));
}

/// A global pool over a sequence with a mask.
std::vector<float> pooled(const std::string& layer, const std::vector<float>& x,
                          const std::vector<float>& mask) {
  autodiff::Graph graph(op_table());
  const auto batch = static_cast<std::int64_t>(mask.size()) / 3;
  const autodiff::ValueId in = graph.input("x", {{batch, 3, 2}, DType::f32});
  BuildRecord record;
  BuildContext context{.graph = graph, .name = "pool", .record = record, .params = record.params};
  context.mask = graph.input("mask", {{batch, 3}, DType::f32});
  config::Diagnostics diagnostics;
  const config::Node node = config::parse("l.yaml", "{}", diagnostics);
  config::MapReader reader(&node, "layer", node.mark, diagnostics);
  for (const LayerDef& def : layer_defs()) {
    if (def.name == layer) graph.output("y", def.make(reader)->build(context, in));
  }
  EXPECT_FALSE(context.mask.valid()) << "the time axis is gone";
  GraphRun run(std::move(graph));
  run.bind("x", x);
  run.bind("mask", mask);
  run.run();
  return run.output("y");
}

TEST(GlobalPools, LeaveOutWhatTheMaskSays) {
  const std::vector<float> x{1, 2, 3, -4, 100, 100, -1, -2, 9, 9, 9, 9, 5, 5, 5, 5, 5, 5};
  const std::vector<float> mask{1, 1, 0, 1, 0, 0, 0, 0, 0};
  EXPECT_EQ(pooled("global_avg_pool1d", x, mask), (std::vector<float>{2, -1, -1, -2, 0, 0}));
  EXPECT_EQ(pooled("global_max_pool1d", x, mask), (std::vector<float>{3, 2, -1, -2, 0, 0}));
}

TEST(Window, SamePaddingPutsTheOddPlaceBehind) {
  const Padding same{PaddingKind::same, {}};
  const auto sides = [&](std::int64_t length, std::int64_t size, std::int64_t stride) {
    const Sides s = padding_of(same, 0, length, size, stride);
    return std::pair(s.before, s.behind);
  };
  EXPECT_EQ(sides(5, 3, 1), std::pair(1L, 1L));
  EXPECT_EQ(sides(6, 3, 2), std::pair(0L, 1L));
  EXPECT_EQ(sides(7, 2, 2), std::pair(0L, 1L));
  EXPECT_EQ(sides(8, 4, 1), std::pair(1L, 2L));
  EXPECT_EQ(sides(9, 1, 4), std::pair(0L, 0L));
}

}  // namespace
}  // namespace dlt::nn
