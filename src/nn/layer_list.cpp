// SPDX-License-Identifier: Apache-2.0
#include "nn/layer_list.h"

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

#include "base/text.h"

namespace dlt::nn {
namespace {

using config::Diagnostics;
using config::Kind;
using config::MapReader;
using config::Mark;
using config::Node;

constexpr std::int64_t kMaxParams = std::int64_t{1} << 40;
constexpr std::int64_t kMaxParamElements = std::int64_t{1} << 34;  // a random stream has no more
constexpr std::size_t kMaxLayers = 4096;
constexpr std::size_t kMaxNameChars = 64;

/// A layer's type and options as the file has them.
struct LayerText {
  std::string type;
  const Node* options = nullptr;
  Mark mark;
};

/// The usual slip: options on a line of their own, but not indented below the type.
std::string several_keys_hint(const Node& item) {
  const std::vector<std::string> types = layer_names();
  for (const Node::Entry& entry : item.entries) {
    if (std::find(types.begin(), types.end(), entry.key) != types.end()) {
      return cat("indent the options below '", entry.key, ":', or write ", entry.key, ": {...}");
    }
  }
  return "write TYPE: {OPTION: VALUE}, each layer behind a dash of its own";
}

/// Splits `flatten` or `dense: {...}`; nothing after recording a mistake.
std::optional<LayerText> split_layer(const Node& item, const std::string& key,
                                     Diagnostics& diagnostics) {
  if (item.kind == Kind::scalar) return LayerText{item.scalar, nullptr, item.mark};
  if (item.kind == Kind::map && item.entries.size() == 1) {
    const auto& [type, key_mark, value] = item.entries.front();
    return LayerText{type, value.kind == Kind::null ? nullptr : &value, key_mark};
  }
  if (item.kind == Kind::map) {
    std::vector<std::string> keys;
    for (const Node::Entry& entry : item.entries) keys.push_back(printable(entry.key));
    const std::string got = keys.empty() ? std::string("an empty map")
                                         : cat("a map of ", keys.size(), " keys: ", join(keys));
    diagnostics.error(item.mark, key, cat("expected one layer type with its options, got ", got),
                      several_keys_hint(item));
  } else {
    diagnostics.error(
        item.mark, key,
        cat("expected a layer, got ", item.kind == Kind::sequence ? "a list" : "nothing"),
        cat("legal: ", join(layer_names())));
  }
  return {};
}

const LayerDef* find_layer(const LayerText& text, const std::string& key,
                           Diagnostics& diagnostics) {
  for (const LayerDef& def : layer_defs()) {
    if (def.name == text.type) return &def;
  }
  const std::string near = nearest(text.type, layer_names());
  const std::string legal = cat("legal: ", join(layer_names()));
  diagnostics.error(text.mark, key, cat("expected a layer type, got '", printable(text.type), "'"),
                    near.empty() ? legal : cat("did you mean '", near, "'?  ", legal));
  return nullptr;
}

/// The explicit name, or "" for none.
std::string read_name(MapReader& options) {
  if (!options.has("name")) {
    (void)options.child("name");  // legal, though absent
    return "";
  }
  std::string name = options.text("name");
  const auto legal = [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' ||
           c == '-';
  };
  if (name.empty() || name.size() > kMaxNameChars ||
      !std::all_of(name.begin(), name.end(), legal)) {
    options.error("name",
                  cat("expected 1 to ", kMaxNameChars, " letters, digits, '_' or '-', got '",
                      printable(name), "'"),
                  "it names the layer's parameters: NAME.weight");
    return "";
  }
  return name;
}

/// {layers: LIST} for a bare list.
Node list_of_layers(const Node& list) {
  Node map;
  map.kind = Kind::map;
  map.mark = list.mark;
  map.entries.push_back({.key = "layers", .key_mark = list.mark, .value = list});
  return map;
}

/// errors  Error(Exit::config) if a parameter from `first` on, or all together, are too large
void check_size(const BuildContext& context, std::size_t first) {
  std::int64_t total = 0;
  for (std::size_t i = 0; i < context.params.size(); ++i) {
    const ParamSpec& spec = context.params[i];
    const std::int64_t numel = spec.shape.numel();
    if (i >= first && numel > kMaxParamElements) {
      throw Error(Exit::config, cat("expected at most ", kMaxParamElements, " elements in '",
                                    spec.name, "', got ", spec.shape.text()));
    }
    total += numel;
  }
  if (total > kMaxParams) {
    throw Error(Exit::config, cat("expected at most ", kMaxParams, " parameters up to '",
                                  context.name, "', got ", total));
  }
}

/// Fills in the row that was put down before the layer was built.
void fill_row(BuildContext& context, std::size_t row, std::size_t first_param,
              const tensor::Shape& output) {
  LayerRow& out = context.record.rows[row];
  out.output = output.without_front();
  // What layers within this one have stands in their rows.
  std::int64_t inner = 0, all = 0;
  for (std::size_t i = row + 1; i < context.record.rows.size(); ++i) {
    inner += context.record.rows[i].num_params;
  }
  for (std::size_t i = first_param; i < context.params.size(); ++i) {
    all += context.params[i].shape.numel();
  }
  out.num_params = all - inner;
}

}  // namespace

LayerList LayerReader::read_list(MapReader& options, const std::string& key) {
  const Node* list = options.child(key);
  if (list == nullptr) {
    options.error(key, "expected a list of layers, the key is missing");
    return {};
  }
  return read_items(*list, cat(options.path(), ".", key));
}

LayerList LayerReader::read_items(const Node& list, const std::string& key) {
  LayerList layers;
  if (list.kind != Kind::sequence) {
    diagnostics_->error(list.mark, key, "expected a list of layers, got another kind of value",
                        "each layer on a line of its own, behind a dash");
    return layers;
  }
  if (list.items.empty() || list.items.size() > kMaxLayers) {
    diagnostics_->error(list.mark, key,
                        cat("expected 1 to ", kMaxLayers, " layers, got ", list.items.size()));
    return layers;
  }
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    NamedLayer layer = read_layer(list.items[i], cat(key, ".", i));
    if (layer.layer != nullptr) layers.push_back(std::move(layer));
  }
  return layers;
}

NamedLayer LayerReader::read_layer(const Node& item, const std::string& key) {
  NamedLayer layer;
  layer.key = key;
  const std::optional<LayerText> split = split_layer(item, key, *diagnostics_);
  if (!split) return layer;
  const LayerText& text = *split;
  const LayerDef* def = find_layer(text, key, *diagnostics_);
  if (def == nullptr) return layer;
  layer.type = text.type;
  layer.mark = text.mark;
  const bool bare_list = def->make_container != nullptr && text.options != nullptr &&
                         text.options->kind == Kind::sequence;
  const Node list = bare_list ? list_of_layers(*text.options) : Node{};
  MapReader options(bare_list ? &list : text.options, cat(key, ".", text.type), text.mark,
                    *diagnostics_);
  // The number is the layer's before those of layers within it.
  const std::string automatic = cat(text.type, "_", ++counts_[text.type]);
  std::string name;
  layer.layer = make(*def, options, name);
  options.finish();
  layer.name = name.empty() ? automatic : name;
  claim(layer, name.empty() ? text.mark : options.mark("name"));
  return layer;
}

std::unique_ptr<Layer> LayerReader::make(const LayerDef& def, MapReader& options,
                                         std::string& name) {
  // The option `name` of the layer `activation` is the function's.
  if (std::string_view(def.name) != "activation") name = read_name(options);
  return def.make_container != nullptr ? def.make_container(options, *this) : def.make(options);
}

void LayerReader::claim(const NamedLayer& layer, const Mark& mark) {
  const auto [owner, fresh] = owners_.emplace(layer.name, layer.key);
  if (fresh) return;
  diagnostics_->error(
      mark, cat(layer.key, ".", layer.type, ".name"),
      cat("expected a name of its own, got '", layer.name, "', the name of ", owner->second),
      "a layer without a name is called TYPE_K, K counting that type from 1");
}

autodiff::ValueId build_layers(BuildContext& context, const LayerList& layers,
                               autodiff::ValueId x) {
  std::string previous = context.previous;
  for (const NamedLayer& layer : layers) {
    x = build_layer(context, layer, previous, x);
    previous = layer.name;
  }
  return x;
}

autodiff::ValueId build_layer(BuildContext& context, const NamedLayer& layer,
                              const std::string& previous, autodiff::ValueId x) {
  autodiff::Graph& graph = context.graph;
  BuildContext inner{.graph = graph,
                     .mode = context.mode,
                     .name = layer.name,
                     .record = context.record,
                     .params = context.params,
                     .previous = previous,
                     .weight = context.weight,
                     .mask = context.mask,
                     .depth = context.depth + 1};
  const std::string outer_scope = graph.scope();
  const std::size_t row = context.record.rows.size(), first_param = context.params.size();
  context.record.rows.push_back({layer.name, layer.type, {}, 0, context.depth});
  graph.set_scope(layer.name);
  try {
    x = layer.layer->build(inner, x);
    check_size(inner, first_param);
  } catch (const LayerError&) {
    throw;
  } catch (const Error& error) {
    throw LayerError(error, layer);
  }
  graph.set_scope(outer_scope);
  fill_row(context, row, first_param, graph.shape(x));
  context.mask = inner.mask;
  return x;
}

}  // namespace dlt::nn
