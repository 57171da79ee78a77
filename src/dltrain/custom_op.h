// SPDX-License-Identifier: Apache-2.0
// An op of your own from one class: shape, kernel and derivative.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "autodiff/op_def.h"
#include "tensor/kernel.h"

namespace dltrain {

using Shape = dlt::tensor::Shape;

/// The numbers of one input or output.
template <typename T>
struct Array {
  T* data = nullptr;
  Shape shape;
  [[nodiscard]] std::int64_t size() const { return shape.numel(); }
  T& operator[](std::int64_t i) const { return data[i]; }
};

/// What a class must have to be an op; T is float in training and double in gradient checks.
///
///   struct Cube {
///     static constexpr std::string_view name = "cube";
///     static constexpr int num_inputs = 1;
///     static Shape shape(std::span<const Shape> inputs) { return inputs[0]; }
///     template <typename T>
///     static void forward(std::span<const Array<const T>> inputs, const Array<T>& output);
///     /// Writes d(sum of output_gradient * output) / d(input) for each input.
///     template <typename T>
///     static void backward(std::span<const Array<const T>> inputs,
///                          const Array<const T>& output_gradient,
///                          std::span<const Array<T>> input_gradients);
///   };
template <typename Op>
struct CustomOp {
  static constexpr std::size_t kInputs = Op::num_inputs;
  using Types = std::span<const dlt::tensor::TensorType>;
  using TypeList = std::vector<dlt::tensor::TensorType>;

  /// "cube_grad"
  static constexpr auto grad_text = [] {
    std::array<char, Op::name.size() + 5> text{};
    for (std::size_t i = 0; i < Op::name.size(); ++i) text[i] = Op::name[i];
    for (std::size_t i = 0; i < 5; ++i) text[Op::name.size() + i] = "_grad"[i];
    return text;
  }();
  static constexpr std::string_view grad_name{grad_text.data(), grad_text.size()};

  static TypeList infer(Types inputs, const dlt::tensor::Attrs&) {
    std::vector<Shape> shapes;
    for (const auto& type : inputs) shapes.push_back(type.shape);
    return {{Op::shape(shapes), inputs[0].dtype}};
  }
  static TypeList infer_grad(Types inputs, const dlt::tensor::Attrs&) {
    return {inputs.begin(), inputs.begin() + kInputs};
  }

  template <typename T>
  static std::array<Array<const T>, kInputs> arrays(const dlt::tensor::KernelArgs& args) {
    std::array<Array<const T>, kInputs> out;
    for (std::size_t i = 0; i < kInputs; ++i) {
      out[i] = {args.inputs[i].as<const T>(), args.inputs[i].type.shape};
    }
    return out;
  }
  template <typename T>
  static void run(const dlt::tensor::KernelArgs& args, const dlt::tensor::Attrs&) {
    const auto inputs = arrays<T>(args);
    Op::template forward<T>(inputs, Array<T>{args.outputs[0].as<T>(), args.outputs[0].type.shape});
  }
  template <typename T>
  static void run_grad(const dlt::tensor::KernelArgs& args, const dlt::tensor::Attrs&) {
    const auto inputs = arrays<T>(args);
    const auto& dy = args.inputs[kInputs];
    std::array<Array<T>, kInputs> gradients;
    for (std::size_t i = 0; i < kInputs; ++i) {
      gradients[i] = {args.outputs[i].as<T>(), args.outputs[i].type.shape};
    }
    Op::template backward<T>(inputs, Array<const T>{dy.as<const T>(), dy.type.shape}, gradients);
  }
  template <dlt::tensor::KernelFunction f32, dlt::tensor::KernelFunction f64>
  static std::unique_ptr<dlt::tensor::Kernel> kernel(const dlt::tensor::KernelSpec& spec) {
    return dlt::tensor::make_function_kernel(spec.outputs[0].dtype == dlt::DType::f64 ? f64 : f32,
                                             spec.attrs);
  }

  static std::vector<dlt::autodiff::ValueId> vjp(dlt::autodiff::Graph& graph,
                                                 const dlt::autodiff::Node& node,
                                                 std::span<const dlt::autodiff::ValueId> grads) {
    std::vector<dlt::autodiff::ValueId> inputs = node.inputs;
    inputs.push_back(grads[0]);
    return graph.add(grad_name, inputs);
  }
};

/// The op and its derivative, for NetworkOptions::ops; append several with insert().
template <typename Op>
[[nodiscard]] std::vector<dlt::autodiff::OpDef> custom_op() {
  using Made = CustomOp<Op>;
  return {
      {.name = Op::name,
       .infer = Made::infer,
       .host = Made::template kernel<Made::template run<float>, Made::template run<double>>,
       .vjp = Made::vjp},
      {.name = Made::grad_name,
       .infer = Made::infer_grad,
       .host =
           Made::template kernel<Made::template run_grad<float>, Made::template run_grad<double>>}};
}

/// The largest difference between the derivative an op gives and central differences in double,
/// relative to the largest derivative; some 1e-8 for a right one. inputs: the numbers to check at.
template <typename Op>
[[nodiscard]] double gradient_error(const std::vector<Shape>& shapes,
                                    std::vector<std::vector<double>> inputs) {
  const Shape output_shape = Op::shape(shapes);
  const auto n = static_cast<std::size_t>(output_shape.numel());
  std::vector<double> seed(n), output(n);
  for (std::size_t i = 0; i < n; ++i) seed[i] = 1.0 + 0.5 * static_cast<double>(i % 7);
  std::vector<Array<const double>> views;
  std::vector<std::vector<double>> gradients;
  std::vector<Array<double>> gradient_views;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    views.push_back({inputs[i].data(), shapes[i]});
    gradients.emplace_back(inputs[i].size());
  }
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    gradient_views.push_back({gradients[i].data(), shapes[i]});
  }
  const auto value = [&] {
    Op::template forward<double>(views, {output.data(), output_shape});
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += seed[i] * output[i];
    return sum;
  };
  Op::template backward<double>(views, {seed.data(), output_shape}, gradient_views);
  double largest = 1e-12, worst = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    for (std::size_t j = 0; j < inputs[i].size(); ++j) {
      constexpr double kStep = 1e-5;
      const double at = inputs[i][j];
      inputs[i][j] = at + kStep;
      const double above = value();
      inputs[i][j] = at - kStep;
      const double numeric = (above - value()) / (2 * kStep);
      inputs[i][j] = at;
      const double difference = numeric - gradients[i][j];
      worst = difference > worst ? difference : -difference > worst ? -difference : worst;
      largest = numeric > largest ? numeric : -numeric > largest ? -numeric : largest;
    }
  }
  return worst / largest;
}

}  // namespace dltrain
