// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "autodiff/op_def.h"
#include "tensor/tensor.h"

namespace dlt::autodiff {

enum class ValueKind : std::uint8_t { input, param, result, constant };

struct Value {
  tensor::TensorType type;
  ValueKind kind = ValueKind::result;
  std::string name;            // inputs and params; results are named by their node
  std::int32_t producer = -1;  // node index, results only
};

struct Node {
  const OpDef* op = nullptr;
  tensor::Attrs attrs;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  std::string scope;  // the layer it belongs to, for messages: "dense_1"
  bool backward = false;
};

/// A static graph of typed ops. Built node by node in a valid order, which every pass keeps: a node
/// stands behind the producers of its inputs. Shapes are inferred as it grows. Value ids stay
/// valid; a result whose node was dropped has producer -1.
class Graph {
 public:
  /// ops must outlive the graph.
  explicit Graph(const OpTable& ops);

  /// Names of inputs are unique, and so are names of parameters.
  [[nodiscard]] ValueId input(const std::string& name, tensor::TensorType type);
  [[nodiscard]] ValueId param(const std::string& name, tensor::Shape shape,
                              DType dtype = DType::f32);
  /// errors  Error(Exit::config) from the op's shape rule, prefixed by the scope
  std::vector<ValueId> add(std::string_view op, std::vector<ValueId> inputs,
                           tensor::Attrs attrs = {});
  /// An op with one output.
  [[nodiscard]] ValueId add_one(std::string_view op, std::vector<ValueId> inputs,
                                tensor::Attrs attrs = {});
  /// Marks a value as wanted: it stays until the end of a run. Output names are unique.
  void output(const std::string& name, ValueId value);
  /// Marks a value as the gradient of a parameter.
  void gradient(ValueId param, ValueId gradient);
  /// Turns a result into a constant with these numbers (fold_constants). Its node is dead then.
  void set_constant(ValueId id, tensor::Tensor numbers);
  [[nodiscard]] const tensor::Tensor& constant(ValueId id) const { return constants_.at(id); }
  [[nodiscard]] const std::map<ValueId, tensor::Tensor>& constants() const { return constants_; }
  void set_scope(std::string scope) { scope_ = std::move(scope); }
  /// Nodes added from now on belong to the backward pass.
  void set_backward(bool on) { backward_ = on; }
  [[nodiscard]] const std::string& scope() const { return scope_; }
  [[nodiscard]] bool backward() const { return backward_; }

  [[nodiscard]] const OpTable& ops() const { return *ops_; }
  [[nodiscard]] const Value& value(ValueId id) const {
    return values_[static_cast<std::size_t>(id.index)];
  }
  [[nodiscard]] const tensor::Shape& shape(ValueId id) const { return value(id).type.shape; }
  [[nodiscard]] const std::vector<Value>& values() const { return values_; }
  [[nodiscard]] const std::vector<Node>& nodes() const { return nodes_; }
  [[nodiscard]] std::vector<Node>& mutable_nodes() { return nodes_; }  // passes only
  [[nodiscard]] std::vector<Value>& mutable_values() { return values_; }
  [[nodiscard]] const std::map<std::string, ValueId>& outputs() const { return outputs_; }
  [[nodiscard]] std::map<std::string, ValueId>& mutable_outputs() { return outputs_; }
  /// Parameter -> its gradient, in the order they were set.
  [[nodiscard]] const std::vector<std::pair<ValueId, ValueId>>& gradients() const {
    return gradients_;
  }
  [[nodiscard]] std::vector<std::pair<ValueId, ValueId>>& mutable_gradients() { return gradients_; }
  [[nodiscard]] std::vector<ValueId> inputs() const;
  [[nodiscard]] std::vector<ValueId> params() const;
  /// A text of the whole structure (ops, attributes, types, edges, outputs), one node a line: for
  /// people, and hashed so that ranks can compare their plans.
  [[nodiscard]] std::string text() const;

 private:
  const OpTable* ops_;
  std::vector<Value> values_;
  std::vector<Node> nodes_;
  std::map<std::string, ValueId> outputs_;
  std::map<ValueId, tensor::Tensor> constants_;
  std::vector<std::pair<ValueId, ValueId>> gradients_;
  std::string scope_;
  bool backward_ = false;
};

/// Where a value or a node is in its graph's list.
[[nodiscard]] inline std::size_t at(ValueId id) { return static_cast<std::size_t>(id.index); }
[[nodiscard]] inline std::size_t at(std::int32_t index) { return static_cast<std::size_t>(index); }

}  // namespace dlt::autodiff
