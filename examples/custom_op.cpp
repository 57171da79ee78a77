// SPDX-License-Identifier: Apache-2.0
// An op of one's own: a class with shape, kernel and derivative; its gradient check; a model with
// it.
#include <cmath>
#include <cstdio>
#include <vector>

#include <dltrain/custom_op.h>
#include <dltrain/network.h>

namespace {

/// y = x * sin(x), element by element.
struct XSinX {
  static constexpr std::string_view name = "x_sin_x";
  static constexpr int num_inputs = 1;

  static dltrain::Shape shape(std::span<const dltrain::Shape> inputs) { return inputs[0]; }

  template <typename T>
  static void forward(std::span<const dltrain::Array<const T>> x, const dltrain::Array<T>& y) {
    for (std::int64_t i = 0; i < y.size(); ++i) y[i] = x[0][i] * std::sin(x[0][i]);
  }

  template <typename T>
  static void backward(std::span<const dltrain::Array<const T>> x,
                       const dltrain::Array<const T>& dy, std::span<const dltrain::Array<T>> dx) {
    for (std::int64_t i = 0; i < dy.size(); ++i) {
      dx[0][i] = dy[i] * (std::sin(x[0][i]) + x[0][i] * std::cos(x[0][i]));
    }
  }
};

}  // namespace

int main() try {
  const double error = dltrain::gradient_error<XSinX>({{5}}, {{-2.0, -0.3, 0.1, 1.0, 4.0}});
  std::printf("gradient check: largest error %.1e\n", error);

  std::vector<float> x, y;
  for (int i = 0; i < 512; ++i) {
    x.push_back(static_cast<float>(i) / 64.0f - 4.0f);
    y.push_back(std::abs(x.back()) - 2.0f);
  }
  dltrain::Network network(
      {.input = {1},
       .layers = {dltrain::dense(32), dltrain::op(XSinX::name), dltrain::dense(1)},
       .optimizer = "{name: adam, learning_rate: 0.01}",
       .ops = dltrain::custom_op<XSinX>()});
  const dltrain::Values before = network.evaluate({.inputs = x, .targets = y});
  dltrain::Values after = network.fit({.inputs = x, .targets = y}, {.epochs = 100});
  std::printf("mse %.4f before, %.4f after training\n", before.at("loss"), after["loss"]);
  return error < 1e-7 && after["loss"] < 0.1 * before.at("loss") ? 0 : 1;
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
