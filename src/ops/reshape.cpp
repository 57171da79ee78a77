// SPDX-License-Identifier: Apache-2.0
// reshape, copy, fill
#include <algorithm>
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

TypeList infer_reshape(Types inputs, const Attrs& attrs) {
  expect_inputs("reshape", inputs, 1);
  const Shape shape(attrs.integers("shape"));
  if (shape.numel() != inputs[0].shape.numel()) {
    rule_broken("reshape",
                cat(inputs[0].shape.text(), " has ", inputs[0].shape.numel(), " elements, ",
                    shape.text(), " has ", shape.numel(), "; want as many"));
  }
  return {{shape, inputs[0].dtype}};
}

void copy_host(const KernelArgs& args, const Attrs&) {
  const auto size = static_cast<std::size_t>(args.outputs[0].type.bytes());
  if (size > 0) std::memcpy(args.outputs[0].data, args.inputs[0].data, size);
}

/// Any dtype: bytes are bytes.
std::unique_ptr<tensor::Kernel> copy_kernel(const tensor::KernelSpec& spec) {
  return tensor::make_function_kernel(copy_host, spec.attrs);
}

std::vector<ValueId> reshape_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                 std::span<const ValueId> grads) {
  const std::span<const std::int64_t> dims = graph.shape(node.inputs[0]).dims();
  const std::vector<std::int64_t> shape(dims.begin(), dims.end());
  return {graph.add_one("reshape", {grads[0]}, {{"shape", shape}})};
}

TypeList infer_copy(Types inputs, const Attrs&) {
  expect_inputs("copy", inputs, 1);
  return {inputs[0]};
}

std::vector<ValueId> copy_vjp(autodiff::Graph&, const autodiff::Node&,
                              std::span<const ValueId> grads) {
  return {grads[0]};
}

TypeList infer_fill(Types inputs, const Attrs& attrs) {
  expect_inputs("fill", inputs, 0);
  const std::string dtype = attrs.word("dtype", "f32");
  if (dtype != "f32" && dtype != "f64") {
    rule_broken("fill", cat("dtype is ", printable(dtype), "; want f32 or f64"));
  }
  return {{Shape(attrs.integers("shape")), dtype == "f32" ? DType::f32 : DType::f64}};
}

template <typename T>
void fill_host(const KernelArgs& args, const Attrs& attrs) {
  T* y = args.outputs[0].as<T>();
  std::fill(y, y + args.outputs[0].numel(), static_cast<T>(attrs.number("value")));
}

}  // namespace

autodiff::OpDef make_reshape() {
  return {.name = "reshape",
          .infer = infer_reshape,
          .host = copy_kernel,
          .vjp = reshape_vjp,
          .alias = true};
}

autodiff::OpDef make_copy() {
  return {.name = "copy", .infer = infer_copy, .host = copy_kernel, .vjp = copy_vjp};
}

autodiff::OpDef make_fill() {
  return {.name = "fill",
          .infer = infer_fill,
          .host = host_kernel<fill_host<float>, fill_host<double>>};
}

}  // namespace dlt::ops
