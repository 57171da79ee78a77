// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "nn/affine.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

using autodiff::ValueId;

/// activation(x·weight + bias) along the last axis. tied_to: the weight is that of an embedding
/// [units, n], transposed; there is one parameter, and its gradients add up.
/// shapes  x [B, n] or [B, T, n], weight [n, units], bias [units]
/// source  Press & Wolf 2017, "Using the output embedding to improve language models"
class Dense final : public Layer {
 public:
  Dense(AffineOptions options, std::string tied_to)
      : options_(std::move(options)), tied_to_(std::move(tied_to)) {}

  [[nodiscard]] ValueId build(BuildContext& context, ValueId x) const override {
    const autodiff::Value& input = context.graph.value(x);
    if (input.type.dtype == DType::i32) {
      refuse_input(context, x, "numbers", "token ids go through an embedding first");
    }
    // An image here is nearly always a forgotten flatten.
    if (input.type.shape.rank() != 2 && input.type.shape.rank() != 3) {
      refuse_input(context, x, "a flat input [n] or sequences [T, n]",
                   "put the layer 'flatten' before it");
    }
    if (tied_to_.empty()) return affine(context, x, options_);
    return affine_tied(context, x, tied_weight(context, x), options_);
  }

 private:
  [[nodiscard]] ValueId tied_weight(const BuildContext& context, ValueId x) const {
    const autodiff::Graph& graph = context.graph;
    const tensor::Shape wanted{options_.units, graph.shape(x).last()};
    for (const ValueId id : graph.params()) {
      if (graph.value(id).name != tied_to_ + ".weight") continue;
      if (graph.shape(id) == wanted) return id;
      throw Error(Exit::config, cat("'", context.name, "': expected ", wanted.text(),
                                    " (units and the input's ", "last size) in '", tied_to_,
                                    ".weight' to tie to, got ", graph.shape(id).text()));
    }
    throw Error(Exit::config,
                cat("'", context.name, "': expected an embedding before it that is called '",
                    tied_to_, "' to tie to, found none"),
                "a layer without a name is called TYPE_K: embedding_1");
  }

  AffineOptions options_;
  std::string tied_to_;
};

}  // namespace

std::unique_ptr<Layer> make_dense(config::MapReader& options) {
  AffineOptions dense;
  dense.units = options.integer("units", {.min = 1, .max = INT32_MAX});
  dense.activation = read_activation(options, "activation");
  dense.use_bias = options.boolean("use_bias", true);
  std::string tied_to;
  if (options.has("tied_to")) {
    tied_to = options.text("tied_to");
    if (options.has("kernel_init")) {
      options.error("kernel_init", "expected no initialiser beside tied_to, got one",
                    "the weight is that of the embedding");
    }
  } else {
    (void)options.child("tied_to");  // legal, though absent
  }
  dense.kernel_init = read_init(options, "kernel_init", InitKind::glorot_uniform);
  dense.bias_init = read_init(options, "bias_init", InitKind::zeros);
  return std::make_unique<Dense>(std::move(dense), std::move(tied_to));
}

}  // namespace dlt::nn
