// SPDX-License-Identifier: Apache-2.0
#include "onnx/builder.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::onnx {

using autodiff::ValueId;
using autodiff::ValueKind;
using tensor::Tensor;

Builder::Builder(const PredictionGraphs& graphs, const tensor::StateDict& params)
    : graphs_{&graphs.two, &graphs.three}, params_(&params) {
  for (const ValueId id : graph().inputs()) {
    const autodiff::Value& value = graph().value(id);
    taken_.insert(value.name);
    names_[id] = value.name;
    model_.inputs.push_back({.name = value.name, .dtype = value.type.dtype, .dims = dims(id)});
  }
  for (const auto& [name, id] : graph().outputs()) taken_.insert(name);
}

std::vector<std::int64_t> Builder::dims(ValueId id) const {
  const tensor::Shape &two = graphs_.two->shape(id), &three = graphs_.three->shape(id);
  std::vector<std::int64_t> out;
  for (int axis = 0; axis < two.rank(); ++axis) {
    out.push_back(two[axis] == three[axis] ? two[axis] : -1);
  }
  return out;
}

const autodiff::Node* Builder::producer(ValueId id) const {
  const std::int32_t index = graph().value(id).producer;
  return index < 0 ? nullptr : &graph().nodes()[static_cast<std::size_t>(index)];
}

void Builder::refuse(const std::string& why) const {
  const std::string layer = node_->scope.empty() ? "the model" : cat("layer '", node_->scope, "'");
  throw Error(Exit::config, cat("onnx: ", layer, ": op '", node_->op->name, "' ", why),
              "the parameters can be exported: --format safetensors");
}

/// The value that reshapes before this one were given.
ValueId Builder::unshaped(ValueId id) const {
  for (const autodiff::Node* node = producer(id); node != nullptr && node->op->name == "reshape";
       node = producer(id)) {
    id = node->inputs[0];
  }
  return id;
}

std::string Builder::param_name(ValueId id) const { return graph().value(unshaped(id)).name; }

Tensor Builder::param(ValueId id) const {
  const ValueId source = unshaped(id);
  const autodiff::Value& value = graph().value(source);
  if (value.kind == ValueKind::constant) return graph().constant(source);
  if (value.kind != ValueKind::param) refuse("reads as a weight what is computed");
  const auto found = params_->find(value.name);
  if (found == params_->end() || found->second.type() != value.type) {
    throw Error(Exit::data,
                cat("tensor '", value.name, "': expected ", value.type.text(), ", got ",
                    found == params_->end() ? "none of that name" : found->second.type().text()));
  }
  if (source == id) return found->second;
  Tensor out(shape(id), value.type.dtype);
  std::memcpy(out.bytes(), found->second.bytes(), found->second.byte_span().size());
  return out;
}

bool Builder::only_channels_first(ValueId id) const {
  return first_.contains(id) && !names_.contains(id);
}

std::string Builder::name(ValueId id) {
  const auto known = names_.find(id);
  if (known != names_.end()) return known->second;
  const auto first = first_.find(id);
  std::string made;
  if (first != first_.end()) {
    std::vector<std::int64_t> axes{0};
    for (int axis = 2; axis < shape(id).rank(); ++axis) axes.push_back(axis);
    axes.push_back(1);
    made = transpose(first->second, axes);
  } else {
    made = constant(graph().value(id).name, param(id));
  }
  return names_[id] = made;
}

std::string Builder::channels_first(ValueId id) {
  const auto first = first_.find(id);
  if (first != first_.end()) return first->second;
  const int rank = shape(id).rank();
  if (rank == 2) return name(id);
  std::vector<std::int64_t> axes{0, rank - 1};
  for (int axis = 1; axis < rank - 1; ++axis) axes.push_back(axis);
  return first_[id] = transpose(name(id), axes);
}

std::string Builder::fresh(std::string_view op) {
  const std::string start =
      node_ == nullptr || node_->scope.empty() ? std::string(op) : cat(node_->scope, "/", op);
  std::string out = start;
  for (int n = 2; !taken_.insert(out).second; ++n) out = cat(start, "_", n);
  return out;
}

std::vector<std::string> Builder::add_many(std::string_view op, std::vector<std::string> inputs,
                                           std::size_t num_outputs, Attributes attributes) {
  NodeDef node{.name = fresh(op),
               .op = std::string(op),
               .inputs = std::move(inputs),
               .outputs = {},
               .attributes = std::move(attributes)};
  for (std::size_t i = 0; i < num_outputs; ++i) {
    node.outputs.push_back(num_outputs == 1 ? node.name : cat(node.name, ":", i));
  }
  model_.nodes.push_back(std::move(node));
  return model_.nodes.back().outputs;
}

std::string Builder::add(std::string_view op, std::vector<std::string> inputs,
                         Attributes attributes) {
  return add_many(op, std::move(inputs), 1, std::move(attributes))[0];
}

void Builder::open_body() { outside_ = std::exchange(model_.nodes, {}); }

Subgraph Builder::close_body(const std::vector<ValueDef>& inputs,
                             const std::vector<ValueDef>& outputs) {
  const std::vector<NodeDef> nodes = std::exchange(model_.nodes, std::move(outside_));
  return encode_body(fresh("body"), nodes, inputs, outputs);
}

std::string Builder::constant(const std::string& hint, Tensor numbers) {
  std::string name = hint;
  for (int n = 2; !taken_.insert(name).second; ++n) name = cat(hint, "_", n);
  model_.initializers.emplace_back(name, std::move(numbers));
  return name;
}

std::string Builder::scalar(double value) {
  const auto known = scalars_.find(value);
  if (known != scalars_.end()) return known->second;
  Tensor numbers(tensor::Shape{}, DType::f32);
  numbers.as<float>()[0] = static_cast<float>(value);
  return scalars_[value] = constant(cat("number_", scalars_.size()), numbers);
}

std::string Builder::integers(const std::vector<std::int64_t>& values) {
  const auto known = integers_.find(values);
  if (known != integers_.end()) return known->second;
  Tensor numbers(tensor::Shape{static_cast<std::int64_t>(values.size())}, DType::i64);
  std::copy(values.begin(), values.end(), numbers.as<std::int64_t>().begin());
  return integers_[values] = constant(cat("sizes_", integers_.size()), numbers);
}

std::string Builder::reshape(const std::string& x, const std::vector<std::int64_t>& sizes) {
  return add("Reshape", {x, integers(sizes)});
}

std::string Builder::transpose(const std::string& x, const std::vector<std::int64_t>& axes) {
  return add("Transpose", {x}, {{"perm", axes}});
}

std::string Builder::slice(const std::string& x, std::int64_t axis, std::int64_t begin,
                           std::int64_t end) {
  return add("Slice", {x, integers({begin}), integers({end}), integers({axis})});
}

std::string Builder::differs(std::vector<std::string> both) {
  return add("Not", {add("Equal", std::move(both))});
}

std::string Builder::to_float(const std::string& x) {
  return add("Cast", {x}, {{"to", data_type(DType::f32)}});
}

std::string Builder::activate(const std::string& x, const tensor::Attrs& attrs) {
  const std::string word = attrs.word("activation", "none");
  if (word == "none") return x;
  if (word == "relu") return add("Relu", {x});
  if (word == "tanh") return add("Tanh", {x});
  if (word == "sigmoid") return add("Sigmoid", {x});
  if (word == "softplus") return add("Softplus", {x});
  if (word == "leaky_relu") {
    return add("LeakyRelu", {x}, {{"alpha", static_cast<float>(attrs.number("alpha", 0.01))}});
  }
  refuse(cat("with activation '", word, "' has no equivalent in ONNX"));
}

ModelDef Builder::take(const ModelLabels& labels) {
  node_ = nullptr;
  for (const auto& [name, id] : graph().outputs()) {
    model_.nodes.push_back({.name = name,
                            .op = "Identity",
                            .inputs = {this->name(id)},
                            .outputs = {name},
                            .attributes = {}});
    model_.outputs.push_back(
        {.name = name, .dtype = graph().value(id).type.dtype, .dims = dims(id)});
  }
  model_.name = labels.name;
  model_.producer_version = labels.producer_version;
  model_.metadata = labels.metadata;
  return std::move(model_);
}

}  // namespace dlt::onnx
