// SPDX-License-Identifier: Apache-2.0
#include "support/gradient_check.h"

#include <cstring>
#include <memory>

#include "base/error.h"
#include "base/rng.h"

namespace dlt::support {
namespace {

using autodiff::Graph;
using autodiff::Node;
using autodiff::ValueId;
using tensor::Tensor;

Tensor copy_of(const Tensor& tensor) {
  Tensor copy(tensor.shape(), tensor.dtype());
  if (copy.type().bytes() > 0) {
    std::memcpy(copy.bytes(), tensor.bytes(), static_cast<std::size_t>(copy.type().bytes()));
  }
  return copy;
}

void run_node(const Graph& graph, const Node& node, Bindings& values,
              const tensor::RunContext& context) {
  std::vector<tensor::TensorType> input_types, output_types;
  std::vector<tensor::View> inputs, outputs;
  for (const ValueId id : node.inputs) {
    const Tensor& tensor = values.at(id);
    input_types.push_back(tensor.type());
    inputs.push_back({tensor.bytes(), tensor.type()});
  }
  for (const ValueId id : node.outputs) {
    const tensor::TensorType type = graph.value(id).type;
    const Tensor& tensor = values[id] = Tensor(type.shape, type.dtype);
    output_types.push_back(type);
    outputs.push_back({tensor.bytes(), type});
  }
  const std::unique_ptr<tensor::Kernel> kernel =
      node.op->host({input_types, output_types, node.attrs});
  DLT_CHECK(kernel != nullptr, node.op->name);
  const tensor::Storage scratch = tensor::Storage::allocate(kernel->scratch_bytes());
  kernel->run({inputs, outputs, scratch.data(), context});
}

double weighted_sum(const Bindings& values, ValueId target, ValueId seed) {
  const std::span<const double> x = values.at(target).as<double>();
  const std::span<const double> weights = values.at(seed).as<double>();
  double sum = 0;
  for (std::size_t i = 0; i < x.size(); ++i) sum += x[i] * weights[i];
  return sum;
}

}  // namespace

Bindings naive_run(const Graph& graph, const Bindings& bound, const tensor::RunContext& context) {
  Bindings values = bound;
  for (const auto& [id, numbers] : graph.constants()) values[id] = numbers;
  for (const Node& node : graph.nodes()) run_node(graph, node, values, context);
  return values;
}

std::vector<double> numeric_gradient(const Graph& graph, const Bindings& bound,
                                     const tensor::RunContext& context, ValueId target,
                                     ValueId seed, ValueId wrt) {
  constexpr double kStep = 1e-5;
  Bindings moved = bound;
  moved[wrt] = copy_of(bound.at(wrt));
  const std::span<double> x = moved[wrt].as<double>();
  std::vector<double> gradient;
  for (double& element : x) {
    const double start = element;
    element = start + kStep;
    const double above = weighted_sum(naive_run(graph, moved, context), target, seed);
    element = start - kStep;
    const double below = weighted_sum(naive_run(graph, moved, context), target, seed);
    element = start;
    gradient.push_back((above - below) / (2 * kStep));
  }
  return gradient;
}

Tensor random_tensor(const tensor::TensorType& type, std::uint64_t seed, std::uint64_t stream) {
  Tensor tensor(type.shape, type.dtype);
  const rng::Key key{seed, stream, 0, 0};
  for (std::size_t i = 0; i < static_cast<std::size_t>(type.shape.numel()); ++i) {
    const float number = rng::normal(key, i);
    if (type.dtype == DType::f64) {
      tensor.as<double>()[i] = static_cast<double>(number);
    } else {
      DLT_CHECK(type.dtype == DType::f32, type.text());
      tensor.as<float>()[i] = number;
    }
  }
  return tensor;
}

std::vector<double> to_doubles(const Tensor& tensor) {
  std::vector<double> numbers;
  const auto append = [&](const auto& elements) {
    for (const auto element : elements) numbers.push_back(static_cast<double>(element));
  };
  if (tensor.dtype() == DType::f32) {
    append(tensor.as<float>());
  } else if (tensor.dtype() == DType::f64) {
    append(tensor.as<double>());
  } else if (tensor.dtype() == DType::u8) {
    append(tensor.as<std::uint8_t>());
  } else {
    DLT_CHECK(tensor.dtype() == DType::i32, tensor.type().text());
    append(tensor.as<std::int32_t>());
  }
  return numbers;
}

}  // namespace dlt::support
