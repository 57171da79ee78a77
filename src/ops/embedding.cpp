// SPDX-License-Identifier: Apache-2.0
// embedding, embedding_grad, token_mask
#include <algorithm>
#include <cstdint>

#include "autodiff/graph.h"
#include "base/error.h"
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
using tensor::TensorType;

void expect_ids(std::string_view op, const TensorType& ids) {
  if (ids.dtype == DType::i32 && ids.shape.rank() > 0) return;
  rule_broken(op, cat("ids are ", ids.text(), "; want i32 token ids [B, ...]"));
}

/// The sizes of ids with one more at the end.
Shape with_rows(const Shape& ids, std::int64_t size) {
  std::vector<std::int64_t> dims(ids.dims().begin(), ids.dims().end());
  dims.push_back(size);
  return Shape(std::span<const std::int64_t>(dims));
}

TypeList infer_embedding(Types inputs, const Attrs&) {
  expect_inputs("embedding", inputs, 2);
  expect_ids("embedding", inputs[0]);
  expect_float("embedding", "weight", inputs[1]);
  expect_rank("embedding", "weight", inputs[1], "[vocabulary, size]");
  return {{with_rows(inputs[0].shape, inputs[1].shape[1]), inputs[1].dtype}};
}

/// errors  Exit::data naming the place of an id that is not a row of the weight
void check_ids(const std::int32_t* ids, const Shape& shape, std::int64_t rows) {
  const std::int64_t each = shape.without_front().numel();
  for (std::int64_t i = 0; i < shape.numel(); ++i) {
    if (ids[i] >= 0 && ids[i] < rows) continue;
    throw Error(Exit::data, cat("embedding: token id ", ids[i], " at sample ", i / each,
                                ", position ", i % each, "; want 0 to ", rows - 1));
  }
}

template <typename T>
void embedding_host(const KernelArgs& args, const Attrs&) {
  const auto* ids = args.inputs[0].as<const std::int32_t>();
  const T* weight = args.inputs[1].as<const T>();
  const std::int64_t n = args.inputs[1].type.shape[1];
  check_ids(ids, args.inputs[0].type.shape, args.inputs[1].type.shape[0]);
  for (std::int64_t i = 0; i < args.inputs[0].numel(); ++i) {
    std::copy_n(weight + ids[i] * n, n, args.outputs[0].as<T>() + i * n);
  }
}

std::vector<ValueId> embedding_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                   std::span<const ValueId> grads) {
  const std::int64_t rows = graph.shape(node.inputs[1])[0];
  return {{}, graph.add_one("embedding_grad", {node.inputs[0], grads[0]}, {{"rows", rows}})};
}

TypeList infer_embedding_grad(Types inputs, const Attrs& attrs) {
  expect_inputs("embedding_grad", inputs, 2);
  expect_ids("embedding_grad", inputs[0]);
  expect_float("embedding_grad", "dy", inputs[1]);
  const std::int64_t size = inputs[1].shape.last();
  if (inputs[1].shape != with_rows(inputs[0].shape, size)) {
    rule_broken("embedding_grad", cat("ids are ", inputs[0].text(), ", dy is ", inputs[1].text(),
                                      "; want the sizes of ids and one more"));
  }
  return {{{attrs.integer("rows"), size}, inputs[1].dtype}};
}

/// Rows are added in the order in which their token occurs.
template <typename T>
void embedding_grad_host(const KernelArgs& args, const Attrs& attrs) {
  const auto* ids = args.inputs[0].as<const std::int32_t>();
  const T* dy = args.inputs[1].as<const T>();
  T* dw = args.outputs[0].as<T>();
  const std::int64_t count = args.inputs[0].numel(), n = args.outputs[0].type.shape[1];
  check_ids(ids, args.inputs[0].type.shape, attrs.integer("rows"));
  std::fill_n(dw, args.outputs[0].numel(), T{0});
  for (std::int64_t i = 0; i < count; ++i) {
    if (std::find(ids, ids + i, ids[i]) != ids + i) continue;  // that row is done
    for (std::int64_t j = 0; j < n; ++j) {
      double sum = 0;
      for (std::int64_t k = i; k < count; ++k) {
        if (ids[k] == ids[i]) sum += static_cast<double>(dy[k * n + j]);
      }
      dw[ids[i] * n + j] = static_cast<T>(sum);
    }
  }
}

TypeList infer_token_mask(Types inputs, const Attrs&) {
  expect_inputs("token_mask", inputs, 1);
  expect_ids("token_mask", inputs[0]);
  return {{inputs[0].shape, DType::f32}};
}

void token_mask_host(const KernelArgs& args, const Attrs&) {
  const auto* ids = args.inputs[0].as<const std::int32_t>();
  float* mask = args.outputs[0].as<float>();
  for (std::int64_t i = 0; i < args.inputs[0].numel(); ++i) mask[i] = ids[i] != 0 ? 1.0f : 0.0f;
}

std::unique_ptr<tensor::Kernel> token_mask_kernel(const tensor::KernelSpec& spec) {
  return tensor::make_function_kernel(token_mask_host, spec.attrs);
}

}  // namespace

autodiff::OpDef make_embedding() {
  return {.name = "embedding",
          .infer = infer_embedding,
          .host = host_kernel<embedding_host<float>, embedding_host<double>>,
          .vjp = embedding_vjp};
}

autodiff::OpDef make_embedding_grad() {
  return {.name = "embedding_grad",
          .infer = infer_embedding_grad,
          .host = host_kernel<embedding_grad_host<float>, embedding_grad_host<double>>};
}

autodiff::OpDef make_token_mask() {
  return {.name = "token_mask", .infer = infer_token_mask, .host = token_mask_kernel};
}

}  // namespace dlt::ops
