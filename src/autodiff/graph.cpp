// SPDX-License-Identifier: Apache-2.0
#include "autodiff/graph.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"

namespace dlt::autodiff {
namespace {

ValueId next_id(const std::vector<Value>& values) {
  return {static_cast<std::int32_t>(values.size())};
}

std::string number_text(double number) {
  std::array<char, 32> buffer{};
  std::snprintf(buffer.data(), buffer.size(), "%.17g", number);
  return buffer.data();
}

std::string attr_text(const tensor::Attrs::Value& value) {
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) return number_text(*number);
  if (const auto* word = std::get_if<std::string>(&value)) return *word;
  if (const auto* numbers = std::get_if<std::vector<double>>(&value)) {
    std::vector<std::string> words;
    for (const double number : *numbers) words.push_back(number_text(number));
    return cat("(", join(words), ")");
  }
  return tensor::Shape(std::get<std::vector<std::int64_t>>(value)).text();
}

std::string id_text(ValueId id) { return "%" + std::to_string(id.index); }

std::string ids_text(const std::vector<ValueId>& ids) {
  std::vector<std::string> words;
  for (const ValueId id : ids) words.push_back(id_text(id));
  return join(words);
}

std::string node_text(const Graph& graph, const Node& node) {
  std::vector<std::string> outputs, attrs;
  for (const ValueId id : node.outputs) {
    outputs.push_back(id_text(id) + " " + graph.value(id).type.text());
  }
  for (const auto& [name, value] : node.attrs.values()) {
    attrs.push_back(cat(name, "=", attr_text(value)));
  }
  std::string text = cat(join(outputs), " = ", node.op->name, "(", ids_text(node.inputs), ")");
  if (!attrs.empty()) text += cat(" {", join(attrs), "}");
  if (!node.scope.empty()) text += cat(" in ", node.scope);
  if (node.backward) text += " backward";
  return text + "\n";
}

}  // namespace

Graph::Graph(const OpTable& ops) : ops_(&ops) {}

ValueId Graph::input(const std::string& name, tensor::TensorType type) {
  const ValueId id = next_id(values_);
  for (const ValueId other : inputs()) DLT_CHECK(value(other).name != name, name);
  values_.push_back({type, ValueKind::input, name, -1});
  return id;
}

ValueId Graph::param(const std::string& name, tensor::Shape shape, DType dtype) {
  const ValueId id = next_id(values_);
  for (const ValueId other : params()) DLT_CHECK(value(other).name != name, name);
  values_.push_back({{shape, dtype}, ValueKind::param, name, -1});
  return id;
}

std::vector<ValueId> Graph::add(std::string_view op, std::vector<ValueId> inputs,
                                tensor::Attrs attrs) {
  const OpDef* def = ops_->find(op);
  DLT_CHECK(def != nullptr, cat("no op is called ", op));
  std::vector<tensor::TensorType> types;
  for (const ValueId id : inputs) {
    DLT_CHECK(id.valid() && id < next_id(values_), cat(op, ": value ", id.index));
    types.push_back(value(id).type);
  }
  std::vector<tensor::TensorType> outputs;
  try {
    outputs = def->infer(types, attrs);
  } catch (const Error& error) {
    if (scope_.empty()) throw;
    throw Error(error.exit(), cat(scope_, ": ", error.what()), error.hint());
  }
  Node node{def, std::move(attrs), std::move(inputs), {}, scope_, backward_};
  for (const tensor::TensorType& type : outputs) {
    node.outputs.push_back(next_id(values_));
    values_.push_back({type, ValueKind::result, "", static_cast<std::int32_t>(nodes_.size())});
  }
  nodes_.push_back(std::move(node));
  return nodes_.back().outputs;
}

ValueId Graph::add_one(std::string_view op, std::vector<ValueId> inputs, tensor::Attrs attrs) {
  const std::vector<ValueId> outputs = add(op, std::move(inputs), std::move(attrs));
  DLT_CHECK(outputs.size() == 1, op);
  return outputs[0];
}

void Graph::output(const std::string& name, ValueId value) {
  DLT_CHECK(value.valid() && value < next_id(values_), name);
  const bool is_new = outputs_.emplace(name, value).second;
  DLT_CHECK(is_new, cat("output ", name, " exists"));
}

void Graph::gradient(ValueId param, ValueId gradient) {
  DLT_CHECK(value(param).kind == ValueKind::param, value(param).name);
  DLT_CHECK(value(param).type == value(gradient).type,
            cat(value(param).name, ": ", value(param).type.text(), " has a gradient ",
                value(gradient).type.text()));
  for (const auto& entry : gradients_) {
    DLT_CHECK(entry.first != param, cat(value(param).name, " has a gradient"));
  }
  gradients_.emplace_back(param, gradient);
}

void Graph::set_constant(ValueId id, tensor::Tensor numbers) {
  Value& result = values_[static_cast<std::size_t>(id.index)];
  DLT_CHECK(result.kind == ValueKind::result && result.type == numbers.type(), result.type.text());
  result.kind = ValueKind::constant;
  result.producer = -1;
  constants_.emplace(id, std::move(numbers));
}

std::vector<ValueId> Graph::inputs() const {
  std::vector<ValueId> ids;
  for (ValueId id{0}; id < next_id(values_); ++id.index) {
    if (value(id).kind == ValueKind::input) ids.push_back(id);
  }
  return ids;
}

std::vector<ValueId> Graph::params() const {
  std::vector<ValueId> ids;
  for (ValueId id{0}; id < next_id(values_); ++id.index) {
    if (value(id).kind == ValueKind::param) ids.push_back(id);
  }
  return ids;
}

std::string Graph::text() const {
  std::string text;
  for (ValueId id{0}; id < next_id(values_); ++id.index) {
    if (value(id).kind != ValueKind::input && value(id).kind != ValueKind::param) continue;
    const char* kind = value(id).kind == ValueKind::input ? " = input " : " = param ";
    text += cat(id_text(id), " ", value(id).type.text(), kind, value(id).name, "\n");
  }
  for (const auto& [id, numbers] : constants_) {
    text += cat(id_text(id), " ", value(id).type.text(), " = constant ", xxh3(numbers.byte_span()),
                "\n");
  }
  for (const Node& node : nodes_) text += node_text(*this, node);
  for (const auto& [name, id] : outputs_) text += cat("output ", name, " = ", id_text(id), "\n");
  for (const auto& [param, gradient] : gradients_) {
    text += cat("gradient ", value(param).name, " = ", id_text(gradient), "\n");
  }
  return text;
}

}  // namespace dlt::autodiff
