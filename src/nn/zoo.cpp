// SPDX-License-Identifier: Apache-2.0
#include "nn/zoo.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace dlt::nn {
namespace {

void move_to(config::Node& node, const config::Mark& mark) {
  node.mark = mark;
  for (config::Node& item : node.items) move_to(item, mark);
  for (config::Node::Entry& entry : node.entries) {
    entry.key_mark = mark;
    move_to(entry.value, mark);
  }
}

}  // namespace

const std::vector<ZooDef>& zoo_defs() {
  static const std::vector<ZooDef> defs{
#define DLT_MODEL(name) ZooDef{#name, zoo_##name},
#include "nn/zoo.def"
#undef DLT_MODEL
  };
  return defs;
}

std::vector<std::string> zoo_names() {
  std::vector<std::string> names;
  for (const ZooDef& def : zoo_defs()) names.emplace_back(def.name);
  return names;
}

LayerList read_zoo_layers(config::MapReader& model, const tensor::Shape& input) {
  const std::size_t mistakes = model.diagnostics().size();
  const std::string name = model.choice("name", zoo_names());
  const auto def = std::find_if(zoo_defs().begin(), zoo_defs().end(),
                                [&](const ZooDef& row) { return name == row.name; });
  if (def == zoo_defs().end()) return {};
  const std::string text = def->layers(model, input);
  if (model.diagnostics().size() > mistakes) return {};
  // The text is ours, and its defaults are not the config's. A mistake in it comes from the input.
  config::Diagnostics own;
  config::Node tree = config::parse(name, text, own);
  move_to(tree, model.mark("name"));
  LayerList layers = LayerReader(own).read_items(tree, "model.layers");
  if (!own.ok()) {
    model.error("input", cat("expected sizes that ", name, " can be made for, got ", input.text()));
    return {};
  }
  return layers;
}

}  // namespace dlt::nn
