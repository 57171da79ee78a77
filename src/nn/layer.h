// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/graph.h"
#include "config/node.h"
#include "nn/init.h"

namespace dlt::nn {

enum class Mode : std::uint8_t { training, inference };

/// A row of the model table. Layers within others follow the one that holds them.
struct LayerRow {
  std::string name;      // "dense_1"
  std::string type;      // "dense"
  tensor::Shape output;  // of one sample
  std::int64_t num_params = 0;
  int depth = 0;  // layers around it
};

/// Two statistic parameters [C] that follow the data: after each step, with W the sum of the sample
/// weights of the whole global batch and S1, S2 the sums over all leaves of what the layer gave as
/// their gradients,
///   S1 = Σ W_leaf (mean_leaf - mean),  S2 = Σ W_leaf (variance_leaf + (mean_leaf - mean)²),
/// the batch has mean m = mean + S1 / W and variance v = S2 / W - (S1 / W)², and
///   mean += momentum (m - mean),  variance += momentum (v n / (n - 1) - variance),
///   n = W · elements_per_sample.
/// With num_positions, a third one [1]: W is its sum, of positions and not of samples, in all of
/// these, n = W, and it is kept as the parameter's value.
struct RunningStatistics {
  std::string mean;  // names of the parameters
  std::string variance;
  double momentum = 0.1;                 // the share of the new batch, as in PyTorch
  std::int64_t elements_per_sample = 1;  // of one channel
  bool synchronised = false;             // the layer's moments are those of the whole step
  std::string num_positions = {};        // empty: samples count whole
};

/// What a layer gives as the gradient of a statistic parameter.
struct StatisticGradient {
  autodiff::ValueId param, gradient;
};

/// A state that goes from one step to the next for each sample of the global batch: in training
/// graphs an input [B, size] and an output of that name.
struct CarriedSpec {
  std::string name;  // "state.lstm_1.h"
  std::int64_t size = 0;
};

/// What building a model collects beside the graph.
struct BuildRecord {
  std::vector<ParamSpec> params;
  std::vector<RunningStatistics> running_statistics;   // in both modes
  std::vector<StatisticGradient> statistic_gradients;  // training only
  std::vector<CarriedSpec> carried;                    // in both modes
  std::vector<LayerRow> rows;
};

struct BuildContext {
  autodiff::Graph& graph;
  Mode mode = Mode::training;
  std::string name;  // unique in the model: "dense_1"
  BuildRecord& record;
  std::vector<ParamSpec>& params;  // record.params: layers append theirs; names begin with name.
  std::string previous = {};       // the layer before, for messages; empty: the model's input
  autodiff::ValueId weight = {};   // [B] f32: 1, or 0 for padding samples; in training only
  /// [B, T] f32, 1 for real positions and 0 for padding; invalid: all are real. A layer that
  /// changes or removes the time axis resets it.
  autodiff::ValueId mask = {};
  int depth = 0;

  /// Declares the carried state "state." + name + "." + suffix; in training, its value before the
  /// step [B, size], else invalid. carry_out() says what it is behind the step.
  [[nodiscard]] autodiff::ValueId carry_in(std::string_view suffix, std::int64_t batch,
                                           std::int64_t size);
  void carry_out(std::string_view suffix, autodiff::ValueId value);

  /// Declares the parameter name + "." + suffix.
  [[nodiscard]] autodiff::ValueId param(std::string_view suffix, const tensor::Shape& shape,
                                        const Init& init, ParamKind kind = ParamKind::trainable);
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
  /// Above 0 for a layer that takes token ids, i32 from 0 to below this number, in place of
  /// numbers; the model's input then is i32.
  [[nodiscard]] virtual std::int64_t num_tokens() const { return 0; }
};

class LayerReader;

/// A row of layers.def: the name in the config and what reads its options; one of the two makers is
/// null. The caller calls options.finish(); where a mistake was recorded the layer must not be
/// built.
struct LayerDef {
  const char* name;
  std::unique_ptr<Layer> (*make)(config::MapReader& options);
  /// Of layers that hold layers. Where the config has a bare list ({residual: [...]}) the list
  /// stands under the key "layers".
  std::unique_ptr<Layer> (*make_container)(config::MapReader& options, LayerReader& reader);
};
[[nodiscard]] const std::vector<LayerDef>& layer_defs();
[[nodiscard]] std::vector<std::string> layer_names();

/// Adds an activation by name ("relu", ..., "none", "linear"); shared by layers with an
/// `activation` option.
[[nodiscard]] autodiff::ValueId apply_activation(autodiff::Graph& graph, const std::string& name,
                                                 autodiff::ValueId x);
[[nodiscard]] std::vector<std::string> activation_names();

}  // namespace dlt::nn
