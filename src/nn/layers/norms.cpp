// SPDX-License-Identifier: Apache-2.0
// layer_norm, rms_norm, group_norm: normalisation within a sample.
#include <string>

#include "base/text.h"
#include "nn/layers/norm_params.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

class LayerNorm final : public Layer {
 public:
  explicit LayerNorm(NormOptions options) : options_(options) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const std::int64_t size = context.graph.shape(x).last();
    const autodiff::ValueId gamma = norm_gamma(context, options_, size);
    const autodiff::ValueId beta = norm_beta(context, options_, size);
    return context.graph.add("layer_norm", {x, gamma, beta}, {{"eps", options_.eps}})[0];
  }

 private:
  NormOptions options_;
};

class RmsNorm final : public Layer {
 public:
  explicit RmsNorm(NormOptions options) : options_(options) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const autodiff::ValueId gamma = norm_gamma(context, options_, context.graph.shape(x).last());
    return context.graph.add("rms_norm", {x, gamma}, {{"eps", options_.eps}})[0];
  }

 private:
  NormOptions options_;
};

class GroupNorm final : public Layer {
 public:
  GroupNorm(NormOptions options, std::int64_t groups) : options_(options), groups_(groups) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const std::int64_t size = context.graph.shape(x).last();
    if (size % groups_ != 0) {
      refuse_input(context, x, cat("channels (the last size) in ", groups_, " equal groups"),
                   "give another number of groups, such as {groups: 1}");
    }
    const autodiff::ValueId gamma = norm_gamma(context, options_, size);
    const autodiff::ValueId beta = norm_beta(context, options_, size);
    return context.graph.add("group_norm", {x, gamma, beta},
                             {{"groups", groups_}, {"eps", options_.eps}})[0];
  }

 private:
  NormOptions options_;
  std::int64_t groups_;
};

}  // namespace

std::unique_ptr<Layer> make_layer_norm(config::MapReader& options) {
  return std::make_unique<LayerNorm>(read_norm(options));
}

std::unique_ptr<Layer> make_rms_norm(config::MapReader& options) {
  NormOptions norm;
  norm.eps = options.number("eps", {.min = 0, .max = 1, .min_open = true}, norm.eps);
  norm.scale = options.boolean("scale", true);
  return std::make_unique<RmsNorm>(norm);
}

std::unique_ptr<Layer> make_group_norm(config::MapReader& options) {
  const NormOptions norm = read_norm(options);
  const std::int64_t groups = options.integer("groups", {.min = 1, .max = 1 << 20}, 32);
  return std::make_unique<GroupNorm>(norm, groups);
}

}  // namespace dlt::nn
