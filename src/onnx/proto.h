// SPDX-License-Identifier: Apache-2.0
// What of ONNX's messages a model takes, and how they are written. Field numbers are those of
// onnx.proto3, IR version 8.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "tensor/tensor.h"

namespace dlt::onnx {

/// A message, field by field.
class ProtoWriter {
 public:
  void integer(unsigned field, std::int64_t value);
  void number(unsigned field, float value);
  void bytes(unsigned field, std::string_view value);
  /// A list of integers, packed.
  void integers(unsigned field, const std::vector<std::int64_t>& values);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

/// A graph within a node, encoded.
struct Subgraph {
  std::string text;
};

using Attribute = std::variant<std::int64_t, float, std::string, std::vector<std::int64_t>,
                               std::vector<std::string>, Subgraph>;
using Attributes = std::vector<std::pair<std::string, Attribute>>;

struct NodeDef {
  std::string name, op;
  std::vector<std::string> inputs, outputs;  // "" stands for an input that is left out
  Attributes attributes;
};

/// Of an input or output; -1 is the number of samples.
struct ValueDef {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> dims;
};

struct ModelDef {
  std::vector<NodeDef> nodes;
  std::vector<std::pair<std::string, tensor::Tensor>> initializers;
  std::vector<ValueDef> inputs, outputs;
  std::vector<std::pair<std::string, std::string>> metadata;
  std::string name, producer_version;
};

/// TensorProto.DataType
[[nodiscard]] std::int64_t data_type(DType dtype);

/// A body reads names of the graph around it.
[[nodiscard]] Subgraph encode_body(const std::string& name, const std::vector<NodeDef>& nodes,
                                   const std::vector<ValueDef>& inputs,
                                   const std::vector<ValueDef>& outputs);

/// The bytes of an .onnx file of operator set 17.
/// errors  Error(Exit::config) if they are more than the 2 GiB that protobuf holds
[[nodiscard]] std::string serialize(const ModelDef& model);

}  // namespace dlt::onnx
