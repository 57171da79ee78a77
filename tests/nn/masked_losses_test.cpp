// SPDX-License-Identifier: Apache-2.0
// Padding positions take no part: a loss of a masked sequence is that of the sequence cut short.
#include <string>
#include <vector>

#include "autodiff/backward.h"
#include "nn/nn_support.h"
#include "support/gradient_check.h"

namespace dlt::nn {
namespace {

using autodiff::ValueId;
using tensor::Tensor;

constexpr std::int64_t kSteps = 5, kReal = 3, kClasses = 4;

/// One sample of `steps` steps: prediction, target and mask are the first of fixed numbers.
struct Outcome {
  double loss = 0;
  std::vector<double> gradient;
};

Tensor f64(const tensor::Shape& shape, std::uint64_t stream, bool positive) {
  Tensor tensor = support::random_tensor({shape, DType::f64}, 3, stream);
  for (double& x : tensor.as<double>()) x = positive ? 0.1 + 0.1 * std::abs(x) : x;
  return tensor;
}

Outcome run_loss(const std::string& text, std::int64_t steps, bool with_mask) {
  const auto loss = read_loss_text(text);
  const tensor::Shape shape{1, steps, kClasses};
  const TargetSpec spec = loss->target(shape.without_front());
  autodiff::Graph graph(op_table());
  support::Bindings bound;
  const auto input = [&](const std::string& name, const Tensor& tensor) {
    const ValueId id = graph.input(name, tensor.type());
    bound[id] = tensor;
    return id;
  };
  const ValueId prediction =
      input("prediction", f64(shape, 1, text.find("kl") != std::string::npos));
  Tensor target = f64(shape, 2, true);
  if (spec.labels()) {
    target = Tensor(spec.shape.with_front(1), DType::i32);
    std::int32_t next = 0;
    for (std::int32_t& label : target.as<std::int32_t>()) label = 1 + (next++ % 3);
    if (text.starts_with("{ctc")) target.as<std::int32_t>()[1] = -1;
  }
  LossInputs inputs{.prediction = prediction, .target = input("target", target)};
  if (with_mask) {
    Tensor mask({1, steps}, DType::f64);
    for (std::int64_t t = 0; t < steps; ++t) {
      mask.as<double>()[static_cast<std::size_t>(t)] = t < kReal ? 1.0 : 0.0;
    }
    inputs.mask = input("mask", mask);
  }
  const ValueId value = loss->build(graph, inputs);
  Tensor one({1}, DType::f64);
  one.as<double>()[0] = 1.0;
  const ValueId seed = input("seed", one);
  const std::vector<ValueId> wanted{prediction};
  const ValueId gradient = autodiff::gradients_of(graph, value, seed, wanted)[0];
  const support::Bindings values = support::naive_run(graph, bound, {});
  return {values.at(value).as<double>()[0], support::to_doubles(values.at(gradient))};
}

class MaskedLoss : public ::testing::TestWithParam<std::string> {};

TEST_P(MaskedLoss, IsThatOfTheSequenceCutShort) {
  const Outcome masked = run_loss(GetParam(), kSteps, true);
  const Outcome cut = run_loss(GetParam(), kReal, false);
  const Outcome whole = run_loss(GetParam(), kSteps, false);
  EXPECT_NEAR(masked.loss, cut.loss, 1e-12);
  EXPECT_GT(std::abs(masked.loss - whole.loss), 1e-6);
  ASSERT_EQ(masked.gradient.size(), static_cast<std::size_t>(kSteps * kClasses));
  for (std::size_t i = 0; i < masked.gradient.size(); ++i) {
    EXPECT_NEAR(masked.gradient[i], i < cut.gradient.size() ? cut.gradient[i] : 0.0, 1e-12) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Every, MaskedLoss,
                         ::testing::Values("mse", "mae", "huber", "log_cosh", "hinge",
                                           "squared_hinge", "poisson", "binary_cross_entropy",
                                           "binary_focal", "cosine_similarity", "kl_divergence",
                                           "cross_entropy", "{cross_entropy: {ignore_index: 2}}",
                                           "focal", "categorical_hinge",
                                           "{ctc: {max_label_length: 2}}"));

}  // namespace
}  // namespace dlt::nn
