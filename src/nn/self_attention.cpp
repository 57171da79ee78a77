// SPDX-License-Identifier: Apache-2.0
#include "nn/self_attention.h"

#include <utility>
#include <vector>

#include "base/error.h"
#include "base/rng.h"
#include "base/text.h"
#include "nn/affine.h"

namespace dlt::nn {
namespace {

using autodiff::ValueId;

std::optional<double> read_rope(config::MapReader& options) {
  const config::Node* node = options.child("rope");
  if (node == nullptr || node->kind != config::Kind::map) {
    return options.boolean("rope", false) ? std::optional<double>(10000.0) : std::nullopt;
  }
  config::MapReader reader = options.map("rope");
  const double theta = reader.number("theta", {.min = 1, .max = 1e12}, 10000.0);
  reader.finish();
  return theta;
}

std::optional<std::int64_t> optional_integer(config::MapReader& options, const std::string& key) {
  return options.integer_or_auto(key, {.min = 1, .max = 65536});
}

struct Heads {
  std::int64_t queries, keys, size;
};

Heads heads_of(const BuildContext& context, ValueId x, const SelfAttentionOptions& options) {
  const tensor::Shape& shape = context.graph.shape(x);
  if (shape.rank() != 3) refuse_input(context, x, "sequences [T, C]");
  if (!options.head_size && shape[2] % options.heads != 0) {
    refuse_input(context, x, cat("a last size that the ", options.heads, " heads divide"),
                 "or give the layer a head_size");
  }
  const Heads heads{options.heads, options.kv_heads.value_or(options.heads),
                    options.head_size.value_or(shape[2] / options.heads)};
  if (options.rope_theta && heads.size % 2 != 0) {
    throw Error(Exit::config, cat("'", context.name, "': rope turns pairs of numbers; expected an ",
                                  "even head_size, got ", heads.size));
  }
  return heads;
}

}  // namespace

SelfAttentionOptions read_self_attention(config::MapReader& options) {
  SelfAttentionOptions result;
  result.heads = options.integer("heads", {.min = 1, .max = 65536});
  result.head_size = optional_integer(options, "head_size");
  result.kv_heads = optional_integer(options, "kv_heads");
  if (result.kv_heads && result.heads % *result.kv_heads != 0) {
    options.error("kv_heads", cat("expected a divisor of heads, ", result.heads, ", got '",
                                  *result.kv_heads, "'"));
  }
  result.causal = options.boolean("causal", false);
  result.rope_theta = read_rope(options);
  result.use_bias = options.boolean("use_bias", true);
  result.kernel_init = read_init(options, "kernel_init", InitKind::glorot_uniform);
  return result;
}

ValueId self_attention(BuildContext& context, ValueId x, const SelfAttentionOptions& options) {
  autodiff::Graph& graph = context.graph;
  const Heads heads = heads_of(context, x, options);
  const std::int64_t units = graph.shape(x)[2];
  ValueId qkv = affine(context, x,
                       {.prefix = options.prefix + "qkv.",
                        .units = (heads.queries + 2 * heads.keys) * heads.size,
                        .use_bias = options.use_bias,
                        .kernel_init = options.kernel_init});
  if (options.rope_theta) {
    qkv = graph.add_one("rope", {qkv},
                        {{"heads", heads.queries + heads.keys},
                         {"head_size", heads.size},
                         {"theta", *options.rope_theta}});
  }
  tensor::Attrs attrs{{"heads", heads.queries}, {"kv_heads", heads.keys}};
  if (options.causal) attrs.set("causal", std::int64_t{1});
  if (options.dropout > 0 && context.mode == Mode::training) {
    attrs.set("rate", options.dropout);
    attrs.set("op", static_cast<std::int64_t>(
                        rng::op_id(cat(context.name, ".", options.prefix, "probabilities"))));
  }
  std::vector<ValueId> inputs{qkv};
  if (context.mask.valid()) inputs.push_back(context.mask);
  const ValueId y = graph.add("attention", std::move(inputs), std::move(attrs))[0];
  Init out_init = options.kernel_init;
  out_init.scale = options.out_scale;
  return affine(context, y,
                {.prefix = options.prefix + "out.",
                 .units = units,
                 .use_bias = options.use_bias,
                 .kernel_init = out_init});
}

}  // namespace dlt::nn
