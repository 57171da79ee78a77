// SPDX-License-Identifier: Apache-2.0
// Layers for models built in C++. A layer is the text that a YAML config has for it; whatever
// docs/config.md lists can be written with layer().
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dltrain {

/// One layer with its options, as YAML: "{dense: {units: 64, activation: relu}}".
struct Layer {
  std::string yaml;
};

/// Any layer: layer("conv2d", "filters: 32, kernel_size: 3, activation: relu").
inline Layer layer(std::string_view type, std::string_view options = {}) {
  return {std::string("{") + std::string(type) + ": {" + std::string(options) + "}}"};
}

inline Layer dense(std::int64_t units, std::string_view activation = "none") {
  return layer("dense",
               "units: " + std::to_string(units) + ", activation: " + std::string(activation));
}
inline Layer flatten() { return layer("flatten"); }
inline Layer dropout(double rate) { return layer("dropout", "rate: " + std::to_string(rate)); }
inline Layer relu() { return layer("relu"); }
inline Layer softmax() { return layer("softmax"); }
/// An element-wise or other op of one input by its name, a custom one included.
inline Layer op(std::string_view name) { return layer("op", "op: " + std::string(name)); }

/// "[{flatten: {}}, {dense: {...}}]"
inline std::string list_of(const std::vector<Layer>& layers) {
  std::string text = "[";
  for (const Layer& item : layers) text += (text.size() > 1 ? ", " : "") + item.yaml;
  return text + "]";
}
/// layers(x) + x.
inline Layer residual(const std::vector<Layer>& layers) {
  return layer("residual", "layers: " + list_of(layers));
}

}  // namespace dltrain
