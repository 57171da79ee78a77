// SPDX-License-Identifier: Apache-2.0
// Lists of layers: a model's own, and those within layers that hold others.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "nn/layer.h"

namespace dlt::nn {

struct NamedLayer {
  std::string name;  // "dense_1"
  std::string type;  // "dense"
  std::unique_ptr<Layer> layer;
  config::Mark mark;  // where the config says it
  std::string key;    // "model.layers.2"
};

using LayerList = std::vector<NamedLayer>;

/// A mistake of a layer's shapes, with the layer's place in the config.
class LayerError : public Error {
 public:
  LayerError(const Error& error, const NamedLayer& layer)
      : Error(error.exit(), error.what(), error.hint()), mark_(layer.mark), key_(layer.key) {}
  [[nodiscard]] const config::Mark& mark() const { return mark_; }
  [[nodiscard]] const std::string& key() const { return key_; }

 private:
  config::Mark mark_;
  std::string key_;
};

/// Reads lists of layers, names them, and keeps who has which name in the whole model.
class LayerReader {
 public:
  explicit LayerReader(config::Diagnostics& diagnostics) : diagnostics_(&diagnostics) {}

  /// The list under a key of a layer's options: 1 to 4096 layers. Empty after recording a mistake.
  [[nodiscard]] LayerList read_list(config::MapReader& options, const std::string& key);
  /// The layers of a sequence node; key is its dotted place.
  [[nodiscard]] LayerList read_items(const config::Node& list, const std::string& key);
  /// One layer, such as the value of `layer: {lstm: {units: 8}}`. Its `layer` is null after a
  /// mistake.
  [[nodiscard]] NamedLayer read_layer(const config::Node& item, const std::string& key);

 private:
  [[nodiscard]] std::unique_ptr<Layer> make(const LayerDef& def, config::MapReader& options,
                                            std::string& name);
  void claim(const NamedLayer& layer, const config::Mark& mark);

  config::Diagnostics* diagnostics_;
  std::map<std::string, int> counts_;
  std::map<std::string, std::string> owners_;  // name -> key of its layer
};

/// Builds the layers one behind the other, each in its own scope; the mask goes along (context.mask
/// is afterwards that of the result). errors  LayerError from shapes
[[nodiscard]] autodiff::ValueId build_layers(BuildContext& context, const LayerList& layers,
                                             autodiff::ValueId x);
/// One of them, for layers that hold a single one. previous: the layer before, for messages.
[[nodiscard]] autodiff::ValueId build_layer(BuildContext& context, const NamedLayer& layer,
                                            const std::string& previous, autodiff::ValueId x);

}  // namespace dlt::nn
