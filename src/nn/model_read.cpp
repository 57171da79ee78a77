// SPDX-License-Identifier: Apache-2.0
// A model from its config: every mistake is recorded at its place.
#include <algorithm>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "nn/model_impl.h"

namespace dlt::nn {
namespace {

using config::Diagnostics;
using config::Kind;
using config::MapReader;
using config::Mark;
using config::Node;

constexpr std::int64_t kMaxInputElements = std::int64_t{1} << 31;
constexpr std::int64_t kMaxParams = std::int64_t{1} << 40;
constexpr std::int64_t kMaxParamElements = std::int64_t{1} << 34;  // a random stream has no more
constexpr std::size_t kMaxLayers = 4096;
constexpr std::size_t kMaxNameChars = 64;
constexpr int kMaxInputRank = tensor::Shape::kMaxRank - 1;  // one more is the batch

/// A layer's type and options as the file has them.
struct LayerText {
  std::string type;
  const Node* options = nullptr;
  Mark mark;
};

tensor::Shape read_input(MapReader& model) {
  const std::size_t mistakes = model.diagnostics().size();
  const std::vector<std::int64_t> sizes =
      model.integers("input", {.min = 1, .max = kMaxInputElements});
  if (model.diagnostics().size() > mistakes) return {};
  if (sizes.empty() || sizes.size() > kMaxInputRank) {
    model.error("input", cat("expected 1 to ", kMaxInputRank, " sizes, got ", sizes.size()),
                "the sizes of one sample, channels last: [28, 28, 1]");
    return {};
  }
  std::int64_t numel = 1;
  for (const std::int64_t size : sizes) {
    if (numel <= kMaxInputElements) numel *= size;
  }
  if (numel > kMaxInputElements) {
    model.error("input", cat("expected at most ", kMaxInputElements, " elements, got more"));
    return {};
  }
  return tensor::Shape(std::span<const std::int64_t>(sizes));
}

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

/// Reads the layers one by one, names them, and keeps who has which name.
class LayerReader {
 public:
  LayerReader(Diagnostics& diagnostics, std::vector<NamedLayer>& layers)
      : diagnostics_(&diagnostics), layers_(&layers) {}

  void read(const Node& item) {
    NamedLayer layer;
    layer.key = cat("model.layers.", position_++);
    const std::optional<LayerText> split = split_layer(item, layer.key, *diagnostics_);
    if (!split) return;
    const LayerText& text = *split;
    const LayerDef* def = find_layer(text, layer.key, *diagnostics_);
    if (def == nullptr) return;
    layer.type = text.type;
    layer.mark = text.mark;
    MapReader options(text.options, cat(layer.key, ".", text.type), text.mark, *diagnostics_);
    // The option `name` of the layer `activation` is the function's.
    const std::string name = text.type == "activation" ? "" : read_name(options);
    layer.layer = def->make(options);
    options.finish();
    const std::string automatic = cat(text.type, "_", ++counts_[text.type]);
    layer.name = name.empty() ? automatic : name;
    claim(layer, name.empty() ? text.mark : options.mark("name"));
    layers_->push_back(std::move(layer));
  }

 private:
  void claim(const NamedLayer& layer, const Mark& mark) {
    const auto [owner, fresh] = owners_.emplace(layer.name, layer.key);
    if (fresh) return;
    diagnostics_->error(
        mark, cat(layer.key, ".", layer.type, ".name"),
        cat("expected a name of its own, got '", layer.name, "', the name of ", owner->second),
        "a layer without a name is called TYPE_K, K counting that type from 1");
  }

  Diagnostics* diagnostics_;
  std::vector<NamedLayer>* layers_;
  std::size_t position_ = 0;
  std::map<std::string, int> counts_;
  std::map<std::string, std::string> owners_;  // name -> key of its layer
};

void read_layers(MapReader& model, std::vector<NamedLayer>& layers) {
  const Node* list = model.child("layers");
  if (list == nullptr) {
    model.error("layers", "expected a list of layers, the key is missing");
    return;
  }
  if (list->kind != Kind::sequence) {
    model.error("layers", "expected a list of layers, got another kind of value",
                "each layer on a line of its own, behind a dash");
    return;
  }
  if (list->items.empty() || list->items.size() > kMaxLayers) {
    model.error("layers", cat("expected 1 to ", kMaxLayers, " layers, got ", list->items.size()));
    return;
  }
  LayerReader reader(model.diagnostics(), layers);
  for (const Node& item : list->items) reader.read(item);
}

std::string final_activation_of(const autodiff::Graph& graph, autodiff::ValueId prediction) {
  const std::int32_t producer = graph.value(prediction).producer;
  if (producer < 0) return "";
  const std::string op(graph.nodes()[static_cast<std::size_t>(producer)].op->name);
  const std::vector<std::string> names = activation_names();
  return std::find(names.begin(), names.end(), op) == names.end() ? "" : op;
}

/// Elements of the parameters from `first` on. errors  Error(Exit::config) if one is too large
std::int64_t count_params(const std::vector<ParamSpec>& params, std::size_t first) {
  std::int64_t count = 0;
  for (std::size_t i = first; i < params.size(); ++i) {
    const std::int64_t numel = params[i].shape.numel();
    if (numel > kMaxParamElements) {
      throw Error(Exit::config, cat("expected at most ", kMaxParamElements, " elements in '",
                                    params[i].name, "', got ", params[i].shape.text()));
    }
    count += numel;
  }
  return count;
}

}  // namespace

bool Model::Impl::infer(const autodiff::OpTable& ops, Diagnostics& diagnostics) {
  autodiff::Graph graph(ops);
  autodiff::ValueId x = graph.input("input", {input.with_front(1), DType::f32});
  std::int64_t total = 0;
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const NamedLayer& layer = layers[i];
    const std::size_t before = params.size();
    try {
      x = build_layer(i, graph, Mode::inference, params, x);
      rows.push_back(
          {layer.name, layer.type, graph.shape(x).without_front(), count_params(params, before)});
      total += rows.back().num_params;
      if (total > kMaxParams) {
        throw Error(Exit::config, cat("expected at most ", kMaxParams, " parameters up to '",
                                      layer.name, "', got ", total));
      }
    } catch (const Error& error) {
      if (error.exit() != Exit::config) throw;
      diagnostics.error(layer.mark, layer.key, error.what(), error.hint());
      return false;
    }
  }
  output = graph.shape(x).without_front();
  final_activation = final_activation_of(graph, x);
  return true;
}

std::unique_ptr<Model> Model::read(const Node* node, const Mark& parent, Diagnostics& diagnostics,
                                   const autodiff::OpTable& ops) {
  const std::size_t mistakes = diagnostics.size();
  std::unique_ptr<Model> model(new Model());
  Impl& impl = *model->impl_;
  if (node == nullptr) {
    diagnostics.error(parent, "model", "expected a map with input and layers, the key is missing");
    return nullptr;
  }
  MapReader reader(node, "model", parent, diagnostics);
  impl.input = read_input(reader);
  read_layers(reader, impl.layers);
  reader.finish();
  if (diagnostics.size() > mistakes) return nullptr;
  if (!impl.infer(ops, diagnostics)) return nullptr;
  if (impl.params.empty()) {
    reader.error("layers", "expected at least one layer with parameters, got none",
                 "there is nothing to train; add {dense: {units: N}}");
    return nullptr;
  }
  return model;
}

}  // namespace dlt::nn
