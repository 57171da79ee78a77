// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <map>

#include <gmock/gmock.h>

#include "base/error.h"
#include "nn/nn_support.h"

namespace dlt::nn {
namespace {

/// A model whose prediction is a function of the bias alone: two samples, the weight is zero.
struct Case {
  std::string loss;
  std::string layers = "[{dense: {units: 3}}]";
  std::vector<float> bias;
  std::vector<float> targets = {};        // two samples
  std::vector<std::int32_t> labels = {};  // or these
};

struct Result {
  std::vector<float> loss, gradient, prediction;
};

Result run_case(const Case& c, const std::vector<float>& weights) {
  const auto model = read_model("input: [1]\nlayers: " + c.layers + "\n");
  const auto loss = read_loss_text(c.loss);
  GraphRun run = training_run(*model, 2, *loss);
  run.set("dense_1.bias", c.bias);
  const std::vector<float> input{1, -1};
  run.bind("input", input);
  run.bind("weight", weights);
  if (loss->target({4}).labels()) {
    run.bind("target", c.labels);
  } else {
    run.bind("target", c.targets);
  }
  run.run();
  return {run.output("loss"), run.gradient("dense_1.bias"), run.output("prediction")};
}

const std::vector<float> kBias{0.5f, -1.0f, 2.0f};
const std::vector<float> kTargets{0.0f, -1.5f, 5.0f, 1.0f, -1.0f, 1.75f};
const std::vector<float> kWeights{1.0f, 0.5f};

/// Loss and gradient of an element-wise loss that is a mean over three outputs.
template <typename Value, typename Slope>
void expect_pointwise(const Case& c, Value value, Slope slope) {
  const Result got = run_case(c, kWeights);
  std::vector<double> losses(2, 0.0), gradient(3, 0.0);
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t j = 0; j < 3; ++j) {
      const auto p = static_cast<double>(c.bias[j]), t = static_cast<double>(c.targets[3 * b + j]);
      losses[b] += value(p, t) / 3;
      gradient[j] += static_cast<double>(kWeights[b]) * slope(p, t) / 3;
    }
  }
  expect_near(got.loss, losses);
  expect_near(got.gradient, gradient);
}

double sign(double x) { return x > 0 ? 1 : x < 0 ? -1 : 0; }
double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }

TEST(Losses, MseIsTheMeanSquare) {
  expect_pointwise(
      {.loss = "mse", .bias = kBias, .targets = kTargets},
      [](double p, double t) { return (p - t) * (p - t); },
      [](double p, double t) { return 2 * (p - t); });
}

TEST(Losses, MaeIsTheMeanMagnitude) {
  expect_pointwise(
      {.loss = "mae", .bias = kBias, .targets = kTargets},
      [](double p, double t) { return std::abs(p - t); },
      [](double p, double t) { return sign(p - t); });
}

TEST(Losses, HuberIsSquareThenStraight) {
  for (const double delta : {1.0, 0.3}) {
    const std::string text =
        delta == 1.0 ? "huber" : "{huber: {delta: " + std::to_string(delta) + "}}";
    expect_pointwise(
        {.loss = text, .bias = kBias, .targets = kTargets},
        [&](double p, double t) {
          const double e = std::abs(p - t);
          return e <= delta ? 0.5 * e * e : delta * (e - 0.5 * delta);
        },
        [&](double p, double t) {
          const double e = p - t;
          return std::abs(e) <= delta ? e : delta * sign(e);
        });
  }
}

const std::vector<float> kBits{0.0f, 1.0f, 1.0f, 1.0f, 0.0f, 0.25f};

TEST(Losses, BinaryCrossEntropyTakesLogitsOrSigmoid) {
  for (const char* layers : {"[{dense: {units: 3}}]", "[{dense: {units: 3, activation: sigmoid}}]",
                             "[{dense: {units: 3}}, sigmoid]"}) {
    SCOPED_TRACE(layers);
    expect_pointwise(
        {.loss = "binary_cross_entropy", .layers = layers, .bias = kBias, .targets = kBits},
        [](double z, double t) {
          return -t * std::log(sigmoid(z)) - (1 - t) * std::log(1 - sigmoid(z));
        },
        [](double z, double t) { return sigmoid(z) - t; });
  }
}

TEST(Losses, BinaryCrossEntropySmoothsItsTargets) {
  const auto smooth = [](double t) { return 0.8 * t + 0.1; };
  expect_pointwise(
      {.loss = "{binary_cross_entropy: {label_smoothing: 0.2}}", .bias = kBias, .targets = kBits},
      [&](double z, double t) {
        return -smooth(t) * std::log(sigmoid(z)) - (1 - smooth(t)) * std::log(1 - sigmoid(z));
      },
      [&](double z, double t) { return sigmoid(z) - smooth(t); });
}

/// Closed form: loss −Σ q log p, derivative p − q.
void expect_cross_entropy(const Case& c, double smoothing) {
  const Result got = run_case(c, kWeights);
  double sum = 0;
  for (const float z : c.bias) sum += std::exp(static_cast<double>(z));
  std::vector<double> losses(2, 0.0), gradient(3, 0.0);
  for (std::size_t b = 0; b < 2; ++b) {
    for (std::size_t j = 0; j < 3; ++j) {
      const double p = std::exp(static_cast<double>(c.bias[j])) / sum;
      const bool hit = c.labels[b] == static_cast<std::int32_t>(j);
      const double q = (1 - smoothing) * (hit ? 1 : 0) + smoothing / 3;
      losses[b] -= q * std::log(p);
      gradient[j] += static_cast<double>(kWeights[b]) * (p - q);
    }
  }
  expect_near(got.loss, losses);
  expect_near(got.gradient, gradient);
}

TEST(Losses, CrossEntropyTakesLogitsOrSoftmax) {
  for (const char* layers : {"[{dense: {units: 3}}]", "[{dense: {units: 3, activation: softmax}}]",
                             "[{dense: {units: 3}}, softmax]"}) {
    SCOPED_TRACE(layers);
    expect_cross_entropy(
        {.loss = "cross_entropy", .layers = layers, .bias = kBias, .labels = {2, 0}}, 0.0);
  }
}

TEST(Losses, CrossEntropySmoothsItsLabels) {
  expect_cross_entropy(
      {.loss = "{name: cross_entropy, label_smoothing: 0.1}", .bias = kBias, .labels = {1, 2}},
      0.1);
}

TEST(Losses, SoftmaxAtTheEndChangesNoBitAndIsStable) {
  const std::vector<float> extreme{400.0f, -400.0f, 0.0f};
  Case c{.loss = "cross_entropy", .bias = extreme, .labels = {1, 0}};
  const Result logits = run_case(c, kWeights);
  c.layers = "[{dense: {units: 3}}, softmax]";
  const Result softmax = run_case(c, kWeights);
  EXPECT_EQ(softmax.loss, logits.loss);
  EXPECT_EQ(softmax.gradient, logits.gradient);
  expect_near(logits.loss, {800, 0}, 1e-3);
  expect_near(softmax.prediction, {1, 0, 0, 1, 0, 0});
}

TEST(Losses, CrossEntropyIsFused) {
  for (const char* layers : {"[{dense: {units: 3}}]", "[{dense: {units: 3}}, softmax]"}) {
    const auto model = read_model(std::string("input: [1]\nlayers: ") + layers + "\n");
    autodiff::Graph graph(op_table());
    (void)model->build_evaluation(graph, 2, *read_loss_text("cross_entropy"));
    int fused = 0;
    for (const autodiff::Node& node : graph.nodes()) {
      fused += node.op->name == "softmax_cross_entropy" ? 1 : 0;
    }
    EXPECT_EQ(fused, 1) << layers;
  }
}

TEST(Losses, RefuseOutputsTheyCannotTake) {
  const auto refusal = [](const std::string& yaml, const char* loss) -> std::string {
    const auto model = read_model(yaml);
    autodiff::Graph graph(op_table());
    try {
      (void)model->build_evaluation(graph, 2, *read_loss_text(loss));
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::config);
      return std::string(error.what()) + " / " + error.hint();
    }
    return "accepted";
  };
  EXPECT_THAT(refusal("input: [1]\nlayers: [{dense: {units: 1}}]\n", "cross_entropy"),
              testing::AllOf(testing::HasSubstr("2 or more classes, got [1]"),
                             testing::HasSubstr("binary_cross_entropy")));
  const char* flat = "input: [1]\nlayers: [{dense: {units: 6}}]\n";
  EXPECT_THAT(refusal(flat, "{cross_entropy: {class_weights: [1, 2]}}"),
              testing::HasSubstr("a weight for each of the 6 classes in class_weights, got 2"));
  EXPECT_THAT(refusal(flat, "{focal: {ignore_index: 6}}"),
              testing::HasSubstr("ignore_index to be -1 or one of the 6 classes, got 6"));
  EXPECT_THAT(refusal(flat, "ctc"),
              testing::HasSubstr("expects a model output of [steps, classes], got [6]"));
  EXPECT_THAT(refusal("input: [1]\nlayers: [{dense: {units: 6}}, {reshape: {shape: [2, 3]}}]\n",
                      "{ctc: {blank: 3}}"),
              testing::HasSubstr("blank to be one of the 3 classes, got 3"));
}

TEST(Losses, ATargetWithoutItsLastSizeOfOneFits) {
  const auto model = read_model("input: [1]\nlayers: [{dense: {units: 1}}]\n");
  autodiff::Graph graph(op_table());
  const Built built = model->build_evaluation(graph, 4, *read_loss_text("mse"));
  EXPECT_EQ(graph.value(built.target).type.bytes(), 16);
}

}  // namespace
}  // namespace dlt::nn
