// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "autodiff/graph.h"
#include "onnx/export.h"
#include "onnx/proto.h"

namespace dlt::onnx {

/// Makes an ONNX graph node by node. A value of the graph has a name in the file; one with an axis
/// of channels may also be there with the channels in front, which ONNX's image operators want.
/// Either form is made from the other when it is asked for, so that a row of image layers is not
/// transposed between them.
class Builder {
 public:
  Builder(const PredictionGraphs& graphs, const tensor::StateDict& params);

  // What the graph says.
  [[nodiscard]] const autodiff::Graph& graph() const { return *graphs_.two; }
  [[nodiscard]] const tensor::Shape& shape(autodiff::ValueId id) const { return graph().shape(id); }
  /// Sizes with -1 for the one that grows with the number of samples.
  [[nodiscard]] std::vector<std::int64_t> dims(autodiff::ValueId id) const;
  /// The node that makes a value; null for inputs and parameters.
  [[nodiscard]] const autodiff::Node* producer(autodiff::ValueId id) const;
  /// The numbers of a parameter, or of one under another shape, and its name.
  /// errors  as refuse() if the value is none
  [[nodiscard]] tensor::Tensor param(autodiff::ValueId id) const;
  [[nodiscard]] std::string param_name(autodiff::ValueId id) const;
  [[noreturn]] void refuse(const std::string& why) const;

  // Names in the file.
  [[nodiscard]] std::string name(autodiff::ValueId id);
  [[nodiscard]] std::string channels_first(autodiff::ValueId id);
  /// Whether the value is there with the channels in front, and not yet in the other form.
  [[nodiscard]] bool only_channels_first(autodiff::ValueId id) const;
  void set(autodiff::ValueId id, std::string name) { names_[id] = std::move(name); }
  void set_channels_first(autodiff::ValueId id, std::string name) { first_[id] = std::move(name); }

  // What goes into the file.
  std::string add(std::string_view op, std::vector<std::string> inputs, Attributes attributes = {});
  /// The same with several outputs.
  std::vector<std::string> add_many(std::string_view op, std::vector<std::string> inputs,
                                    std::size_t num_outputs, Attributes attributes = {});
  /// Constants; equal lists of integers are there once.
  std::string scalar(double value);
  std::string integers(const std::vector<std::int64_t>& values);
  std::string constant(const std::string& hint, tensor::Tensor numbers);
  std::string reshape(const std::string& x, const std::vector<std::int64_t>& sizes);
  std::string transpose(const std::string& x, const std::vector<std::int64_t>& axes);
  /// [begin, end) of one axis.
  std::string slice(const std::string& x, std::int64_t axis, std::int64_t begin, std::int64_t end);
  /// Whether two values differ, element by element. A list: what makes them is written in order.
  std::string differs(std::vector<std::string> both);
  std::string to_float(const std::string& x);
  /// none, relu, leaky_relu, tanh, sigmoid, softplus, as attribute activation names them.
  std::string activate(const std::string& x, const tensor::Attrs& attrs);

  /// A name that nothing has yet.
  std::string unused(std::string_view hint) { return fresh(hint); }
  /// Nodes made between these two go into a graph of their own, which sees the names outside it;
  /// constants stay outside.
  void open_body();
  [[nodiscard]] Subgraph close_body(const std::vector<ValueDef>& inputs,
                                    const std::vector<ValueDef>& outputs);

  /// Nodes made from now on are this node's; its op and layer are named where it is refused.
  void begin(const autodiff::Node& node) { node_ = &node; }
  [[nodiscard]] ModelDef take(const ModelLabels& labels);

 private:
  struct Graphs {
    const autodiff::Graph *two, *three;
  };
  std::string fresh(std::string_view op);
  [[nodiscard]] autodiff::ValueId unshaped(autodiff::ValueId id) const;

  Graphs graphs_;
  const tensor::StateDict* params_;
  const autodiff::Node* node_ = nullptr;
  ModelDef model_;
  std::vector<NodeDef> outside_;  // while a body is open
  std::map<autodiff::ValueId, std::string> names_, first_;
  std::map<std::vector<std::int64_t>, std::string> integers_;
  std::map<double, std::string> scalars_;
  std::set<std::string> taken_;
};

/// Writes what stands for one node.
using RuleFunction = void (*)(Builder& builder, const autodiff::Node& node);
struct Rule {
  std::string_view op;
  RuleFunction write;
};
[[nodiscard]] std::span<const Rule> pointwise_rules();
[[nodiscard]] std::span<const Rule> image_rules();
[[nodiscard]] std::span<const Rule> norm_rules();
[[nodiscard]] std::span<const Rule> sequence_rules();
[[nodiscard]] std::span<const Rule> recurrent_rules();

/// The values that the rule of a node reads as they come: its inputs, but of a recurrent op what
/// its input product is made of.
[[nodiscard]] std::vector<autodiff::ValueId> values_read(const Builder& builder,
                                                         const autodiff::Node& node);

}  // namespace dlt::onnx
