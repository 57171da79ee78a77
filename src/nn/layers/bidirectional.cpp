// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "base/text.h"
#include "nn/layer_list.h"
#include "nn/layers/recurrent.h"
#include "nn/registry.h"

namespace dlt::nn {
namespace {

/// A recurrent layer in both directions, in the form that Keras has for it. The parameters are the
/// layer's: lstm_1.weight, lstm_1.weight_reverse, ...
/// source  Schuster & Paliwal 1997, "Bidirectional Recurrent Neural Networks"
class Bidirectional final : public Layer {
 public:
  explicit Bidirectional(NamedLayer layer) : layer_(std::move(layer)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    return build_layer(context, layer_, context.previous, x);
  }

 private:
  NamedLayer layer_;
};

}  // namespace

std::unique_ptr<Layer> make_bidirectional(config::MapReader& options, LayerReader& reader) {
  const std::string merge = options.choice("merge", merge_names(), std::string("concat"));
  const config::Node* node = options.child("layer");
  if (node == nullptr) {
    options.error("layer", "expected a recurrent layer, the key is missing",
                  "layer: {lstm: {units: 32}}");
    return nullptr;
  }
  NamedLayer layer = reader.read_layer(*node, cat(options.path(), ".layer"));
  if (layer.layer == nullptr) return nullptr;
  auto* recurrent = dynamic_cast<Recurrent*>(layer.layer.get());
  if (recurrent == nullptr || !recurrent->plain()) {
    options.error("layer",
                  cat("expected gru, lstm or simple_rnn with one direction, forwards, got '",
                      layer.type, "'"));
    return nullptr;
  }
  recurrent->set_bidirectional(merge);
  return std::make_unique<Bidirectional>(std::move(layer));
}

}  // namespace dlt::nn
