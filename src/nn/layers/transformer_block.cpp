// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <optional>
#include <utility>
#include <vector>

#include "base/rng.h"
#include "base/text.h"
#include "nn/affine.h"
#include "nn/registry.h"
#include "nn/self_attention.h"

namespace dlt::nn {
namespace {

using autodiff::ValueId;

struct BlockOptions {
  SelfAttentionOptions attention;
  std::optional<std::int64_t> ffn_units;  // default: 4 C
  Activation activation;
  bool gated = false;
  double dropout = 0;
  bool norm_first = true;
  bool rms_norm = false;
  double norm_eps = 1e-5;
};

/// norm_first:  h = x + attention(norm_1(x));  y = h + ffn(norm_2(h))
/// else:        h = norm_1(x + attention(x));  y = norm_2(h + ffn(h))
/// with ffn(x) = ffn_2(activation(ffn_1(x))), gated: ffn_2(activation(ffn_1(x)) ffn_gate(x));
/// dropout on what is added.
/// shapes  x [B, T, C]
/// source  Vaswani et al. 2017; Radford et al. 2019 for norm_first; Shazeer 2020, arXiv:2002.05202,
///         for gated; Zhang & Sennrich 2019 for rms_norm
class TransformerBlock final : public Layer {
 public:
  explicit TransformerBlock(BlockOptions options) : options_(std::move(options)) {}

  [[nodiscard]] ValueId build(BuildContext& context, ValueId x) const override {
    if (context.graph.shape(x).rank() != 3) refuse_input(context, x, "sequences [T, C]");
    if (options_.norm_first) {
      x = add(context, x, self_attention(context, norm(context, x, "norm_1"), options_.attention),
              "dropout_1");
      return add(context, x, feed_forward(context, norm(context, x, "norm_2")), "dropout_2");
    }
    x = add(context, x, self_attention(context, x, options_.attention), "dropout_1");
    x = norm(context, x, "norm_1");
    return norm(context, add(context, x, feed_forward(context, x), "dropout_2"), "norm_2");
  }

 private:
  [[nodiscard]] ValueId norm(BuildContext& context, ValueId x, const std::string& name) const {
    const tensor::Shape size{context.graph.shape(x).last()};
    std::vector<ValueId> inputs{x, context.param(name + ".gamma", size, {.kind = InitKind::ones})};
    if (!options_.rms_norm) {
      const std::vector<std::int64_t> sizes{size[0]};
      inputs.push_back(options_.attention.use_bias
                           ? context.param(name + ".beta", size, {})
                           : context.graph.add_one("fill", {}, {{"shape", sizes}}));
    }
    return context.graph.add(options_.rms_norm ? "rms_norm" : "layer_norm", std::move(inputs),
                             {{"eps", options_.norm_eps}})[0];
  }

  /// x + dropout(branch)
  [[nodiscard]] ValueId add(BuildContext& context, ValueId x, ValueId branch,
                            const std::string& name) const {
    if (context.mode == Mode::training && options_.dropout > 0) {
      const auto op = static_cast<std::int64_t>(rng::op_id(cat(context.name, ".", name)));
      branch = context.graph.add_one("dropout", {branch}, {{"rate", options_.dropout}, {"op", op}});
    }
    return context.graph.add_one("add", {x, branch});
  }

  [[nodiscard]] ValueId feed_forward(BuildContext& context, ValueId x) const {
    const std::int64_t units = context.graph.shape(x).last();
    AffineOptions options{.prefix = "ffn_1.",
                          .units = options_.ffn_units.value_or(4 * units),
                          .use_bias = options_.attention.use_bias,
                          .kernel_init = options_.attention.kernel_init,
                          .activation = options_.activation};
    ValueId hidden = affine(context, x, options);
    if (options_.gated) {
      options.prefix = "ffn_gate.";
      options.activation = {};
      hidden = context.graph.add_one("mul", {hidden, affine(context, x, options)});
    }
    options.prefix = "ffn_2.";
    options.units = units;
    options.activation = {};
    options.kernel_init.scale = options_.attention.out_scale;
    return affine(context, hidden, options);
  }

  BlockOptions options_;
};

}  // namespace

std::unique_ptr<Layer> make_transformer_block(config::MapReader& options) {
  BlockOptions block;
  block.attention = read_self_attention(options);
  block.attention.prefix = "attention.";
  block.ffn_units = options.integer_or_auto("ffn_units", {.min = 1, .max = INT32_MAX});
  block.gated = options.boolean("gated", false);
  block.activation = read_activation(options, "activation", block.gated ? "silu" : "gelu");
  block.dropout = options.number("dropout", {.min = 0, .max = 1, .max_open = true}, 0.0);
  block.attention.dropout =
      options.number("attention_dropout", {.min = 0, .max = 1, .max_open = true}, block.dropout);
  block.norm_first = options.boolean("norm_first", true);
  block.rms_norm =
      options.choice("norm", {"layer_norm", "rms_norm"}, std::string("layer_norm")) == "rms_norm";
  block.norm_eps = options.number("norm_eps", {.min = 0, .max = 1, .min_open = true}, 1e-5);
  const auto layers = options.integer_or_auto("residual_layers", {.min = 1, .max = 4096});
  if (layers) block.attention.out_scale = 1.0 / std::sqrt(2.0 * static_cast<double>(*layers));
  return std::make_unique<TransformerBlock>(std::move(block));
}

}  // namespace dlt::nn
