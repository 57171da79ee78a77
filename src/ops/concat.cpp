// SPDX-License-Identifier: Apache-2.0
// concat, slice: along the last axis
#include <cstring>
#include <string>

#include "autodiff/graph.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::ValueId;
using tensor::Attrs;
using tensor::KernelArgs;
using tensor::Shape;

Shape with_last(const Shape& shape, std::int64_t last) {
  std::vector<std::int64_t> dims(shape.dims().begin(), shape.dims().end());
  dims.back() = last;
  return Shape(std::span<const std::int64_t>(dims));
}

TypeList infer_concat(Types inputs, const Attrs&) {
  if (inputs.empty()) rule_broken("concat", "no inputs; want one or more");
  if (inputs[0].shape.rank() == 0) rule_broken("concat", "x0 is a scalar; want [..., n]");
  std::int64_t last = 0;
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Shape& shape = inputs[i].shape;
    if (inputs[i].dtype != inputs[0].dtype || shape.rank() != inputs[0].shape.rank() ||
        with_last(shape, 1) != with_last(inputs[0].shape, 1)) {
      rule_broken("concat", cat("x0 is ", inputs[0].text(), ", x", i, " is ", inputs[i].text(),
                                "; want the same dtype and sizes but for the last"));
    }
    last += shape.last();
  }
  return {{with_last(inputs[0].shape, last), inputs[0].dtype}};
}

std::size_t row_bytes(const tensor::TensorType& type) {
  return static_cast<std::size_t>(type.shape.last()) * size_bytes(type.dtype);
}

/// Any dtype: bytes are bytes.
void concat_host(const KernelArgs& args, const Attrs&) {
  const auto rows = static_cast<std::size_t>(args.outputs[0].type.shape.rows());
  const std::size_t stride = row_bytes(args.outputs[0].type);
  auto* out = args.outputs[0].as<std::byte>();
  for (const tensor::View& input : args.inputs) {
    const std::size_t bytes = row_bytes(input.type);
    for (std::size_t row = 0; row < rows && bytes > 0; ++row) {
      std::memcpy(out + row * stride, input.as<const std::byte>() + row * bytes, bytes);
    }
    out += bytes;
  }
}

std::unique_ptr<tensor::Kernel> concat_kernel(const tensor::KernelSpec& spec) {
  return tensor::make_function_kernel(concat_host, spec.attrs);
}

std::vector<ValueId> concat_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                std::span<const ValueId> grads) {
  std::vector<ValueId> out;
  std::int64_t begin = 0;
  const std::vector<ValueId> inputs = node.inputs;  // adding nodes moves them
  for (const ValueId input : inputs) {
    const std::int64_t size = graph.shape(input).last();
    out.push_back(graph.add_one("slice", {grads[0]}, {{"begin", begin}, {"size", size}}));
    begin += size;
  }
  return out;
}

TypeList infer_slice(Types inputs, const Attrs& attrs) {
  expect_inputs("slice", inputs, 1);
  if (inputs[0].shape.rank() == 0) rule_broken("slice", "x is a scalar; want [..., n]");
  const std::int64_t begin = attrs.integer("begin"), size = attrs.integer("size");
  if (begin < 0 || size < 0 || begin > inputs[0].shape.last() - size) {
    rule_broken("slice", cat("begin ", begin, ", size ", size, " of ", inputs[0].shape.text(),
                             "; want a range of the last axis"));
  }
  return {{with_last(inputs[0].shape, size), inputs[0].dtype}};
}

void slice_host(const KernelArgs& args, const Attrs& attrs) {
  const auto rows = static_cast<std::size_t>(args.outputs[0].type.shape.rows());
  const std::size_t stride = row_bytes(args.inputs[0].type),
                    bytes = row_bytes(args.outputs[0].type);
  if (bytes == 0) return;
  const std::byte* x =
      args.inputs[0].as<const std::byte>() +
      static_cast<std::size_t>(attrs.integer("begin")) * size_bytes(args.inputs[0].type.dtype);
  for (std::size_t row = 0; row < rows; ++row) {
    std::memcpy(args.outputs[0].as<std::byte>() + row * bytes, x + row * stride, bytes);
  }
}

std::unique_ptr<tensor::Kernel> slice_kernel(const tensor::KernelSpec& spec) {
  return tensor::make_function_kernel(slice_host, spec.attrs);
}

/// Zeros on both sides of dy.
std::vector<ValueId> slice_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                               std::span<const ValueId> grads) {
  const Shape shape = graph.shape(node.inputs[0]);
  const std::int64_t begin = node.attrs.integer("begin"), size = node.attrs.integer("size");
  const std::string dtype = graph.value(node.inputs[0]).type.dtype == DType::f64 ? "f64" : "f32";
  const auto zeros = [&](std::int64_t last) {
    const Shape side = with_last(shape, last);
    return graph.add_one(
        "fill", {},
        {{"shape", std::vector<std::int64_t>(side.dims().begin(), side.dims().end())},
         {"value", 0.0},
         {"dtype", dtype}});
  };
  std::vector<ValueId> parts;
  if (begin > 0) parts.push_back(zeros(begin));
  parts.push_back(grads[0]);
  if (begin + size < shape.last()) parts.push_back(zeros(shape.last() - begin - size));
  return {graph.add_one("concat", parts)};
}

}  // namespace

autodiff::OpDef make_concat() {
  return {.name = "concat", .infer = infer_concat, .host = concat_kernel, .vjp = concat_vjp};
}

autodiff::OpDef make_slice() {
  return {.name = "slice", .infer = infer_slice, .host = slice_kernel, .vjp = slice_vjp};
}

}  // namespace dlt::ops
