// SPDX-License-Identifier: Apache-2.0
#include <cstdint>

#include "autodiff/graph.h"
#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "ops/defs.h"
#include "ops/host.h"
#include "ops/rules.h"

namespace dlt::ops {
namespace {

using autodiff::ValueId;
using tensor::Attrs;

TypeList infer_dropout(Types inputs, const Attrs& attrs) {
  const TypeList outputs = infer_unary<"dropout">(inputs, attrs);
  if (inputs[0].shape.rank() == 0) rule_broken("dropout", "x is a scalar; want [B, ...]");
  const double rate = attrs.number("rate");
  expect_number("dropout", "rate", rate, rate >= 0 && rate < 1, "0 <= rate < 1");
  return outputs;
}

/// source  Srivastava et al. 2014, "Dropout", in its inverted form
template <typename T>
void dropout_host(const tensor::KernelArgs& args, const Attrs& attrs) {
  const double rate = attrs.number("rate");
  const tensor::Shape& shape = args.inputs[0].type.shape;
  const std::int64_t batch = shape[0], n = shape.without_front().numel();
  DLT_CHECK(static_cast<std::int64_t>(args.run.sample_ids.size()) >= batch,
            cat("dropout: ", args.run.sample_ids.size(), " sample ids for ", batch, " samples"));
  rng::Key key{args.run.seed, static_cast<std::uint64_t>(attrs.integer("op")), args.run.epoch, 0};
  for (std::int64_t b = 0; b < batch; ++b) {
    key.sample = static_cast<std::uint64_t>(args.run.sample_ids[static_cast<std::size_t>(b)]);
    const T* x = args.inputs[0].as<const T>() + b * n;
    T* y = args.outputs[0].as<T>() + b * n;
    for (std::int64_t j = 0; j < n; ++j) {
      const bool keep =
          static_cast<double>(rng::uniform(key, static_cast<std::uint64_t>(j))) >= rate;
      y[j] = keep ? static_cast<T>(static_cast<double>(x[j]) / (1.0 - rate)) : T{0};
    }
  }
}

std::vector<ValueId> dropout_vjp(autodiff::Graph& graph, const autodiff::Node& node,
                                 std::span<const ValueId> grads) {
  return {graph.add_one("dropout", {grads[0]}, Attrs(node.attrs))};
}

}  // namespace

autodiff::OpDef make_dropout() {
  return {.name = "dropout",
          .infer = infer_dropout,
          .host = host_kernel<dropout_host<float>, dropout_host<double>>,
          .vjp = dropout_vjp,
          .in_place = true,
          .pointwise = autodiff::Pointwise::each,
          .random = true};
}

}  // namespace dlt::ops
