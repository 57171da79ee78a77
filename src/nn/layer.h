// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "config/node.h"
#include "nn/init.h"

namespace dlt::nn {

enum class Mode : std::uint8_t { training, inference };

struct BuildContext {
  autodiff::Graph& graph;
  Mode mode = Mode::training;
  std::string name;                // unique in the model: "dense_1"
  std::vector<ParamSpec>& params;  // layers append theirs; names begin with name + "."
  std::string previous = {};       // the layer before, for messages; empty: the model's input
};

/// Throws Error(Exit::config) "expected WANTED from 'reshape_1' for 'dense_2', got [28, 28]"
/// (sizes of one sample).
[[noreturn]] void refuse_input(const BuildContext& context, autodiff::ValueId x,
                               const std::string& wanted, const std::string& hint = {});

/// One layer of a model: options read once from the config, then built into any number of graphs.
class Layer {
 public:
  virtual ~Layer() = default;
  /// x is [B, ...]; returns [B, ...]. errors  Error(Exit::config) saying what shape was expected
  [[nodiscard]] virtual autodiff::ValueId build(BuildContext& context,
                                                autodiff::ValueId x) const = 0;
};

/// A row of layers.def: the name in the config and what reads its options. The caller of make()
/// calls options.finish(); where a mistake was recorded the layer must not be built.
struct LayerDef {
  const char* name;
  std::unique_ptr<Layer> (*make)(config::MapReader& options);
};
[[nodiscard]] const std::vector<LayerDef>& layer_defs();
[[nodiscard]] std::vector<std::string> layer_names();

/// Adds an activation by name ("relu", ..., "none", "linear"); shared by layers with an
/// `activation` option.
[[nodiscard]] autodiff::ValueId apply_activation(autodiff::Graph& graph, const std::string& name,
                                                 autodiff::ValueId x);
[[nodiscard]] std::vector<std::string> activation_names();

}  // namespace dlt::nn
