// SPDX-License-Identifier: Apache-2.0
#include "nn/layer.h"

#include "base/error.h"
#include "base/text.h"
#include "nn/registry.h"

namespace dlt::nn {

const std::vector<LayerDef>& layer_defs() {
  static const std::vector<LayerDef> defs{
#define DLT_LAYER(name) LayerDef{#name, make_##name, nullptr},
#define DLT_CONTAINER(name) LayerDef{#name, nullptr, make_##name},
#include "nn/layers.def"
#undef DLT_CONTAINER
#undef DLT_LAYER
  };
  return defs;
}

std::vector<std::string> layer_names() {
  std::vector<std::string> names;
  for (const LayerDef& def : layer_defs()) names.emplace_back(def.name);
  return names;
}

autodiff::ValueId BuildContext::param(std::string_view suffix, const tensor::Shape& shape,
                                      const Init& init, ParamKind kind) {
  params.push_back({cat(name, ".", suffix), shape, init, kind});
  return graph.param(params.back().name, shape);
}

autodiff::ValueId BuildContext::carry_in(std::string_view suffix, std::int64_t batch,
                                         std::int64_t size) {
  record.carried.push_back({cat("state.", name, ".", suffix), size});
  if (mode != Mode::training) return {};
  return graph.input(record.carried.back().name, {{batch, size}, DType::f32});
}

void BuildContext::carry_out(std::string_view suffix, autodiff::ValueId value) {
  if (mode == Mode::training) graph.output(cat("state.", name, ".", suffix), value);
}

void refuse_input(const BuildContext& context, autodiff::ValueId x, const std::string& wanted,
                  const std::string& hint) {
  const std::string from =
      context.previous.empty() ? "the model's input" : cat("'", context.previous, "'");
  throw Error(Exit::config,
              cat("expected ", wanted, " from ", from, " for '", context.name, "', got ",
                  context.graph.shape(x).without_front().text()),
              hint);
}

}  // namespace dlt::nn
