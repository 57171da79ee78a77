// SPDX-License-Identifier: Apache-2.0
#include "onnx/proto.h"

#include <bit>

#include "base/error.h"
#include "base/proto_wire.h"
#include "base/text.h"

namespace dlt::onnx {
namespace {

constexpr std::int64_t kIrVersion = 8, kOperatorSet = 17;
constexpr std::size_t kMaxModel_bytes = 0x7fffffff;

std::string encode(const std::string& name, const Attribute& attribute) {
  ProtoWriter out;
  out.bytes(1, name);
  constexpr unsigned kType = 20;
  if (const auto* integer = std::get_if<std::int64_t>(&attribute)) {
    out.integer(3, *integer);
    out.integer(kType, 2);
  } else if (const auto* number = std::get_if<float>(&attribute)) {
    out.number(2, *number);
    out.integer(kType, 1);
  } else if (const auto* word = std::get_if<std::string>(&attribute)) {
    out.bytes(4, *word);
    out.integer(kType, 3);
  } else if (const auto* graph = std::get_if<Subgraph>(&attribute)) {
    out.bytes(6, graph->text);
    out.integer(kType, 5);
  } else if (const auto* words = std::get_if<std::vector<std::string>>(&attribute)) {
    for (const std::string& one : *words) out.bytes(9, one);
    out.integer(kType, 8);
  } else {
    out.integers(8, std::get<std::vector<std::int64_t>>(attribute));
    out.integer(kType, 7);
  }
  return out.text();
}

std::string encode(const NodeDef& node) {
  ProtoWriter out;
  for (const std::string& input : node.inputs) out.bytes(1, input);
  for (const std::string& output : node.outputs) out.bytes(2, output);
  out.bytes(3, node.name);
  out.bytes(4, node.op);
  for (const auto& [name, attribute] : node.attributes) out.bytes(5, encode(name, attribute));
  return out.text();
}

std::string encode(const std::string& name, const tensor::Tensor& tensor) {
  ProtoWriter out;
  const auto dims = tensor.shape().dims();
  out.integers(1, {dims.begin(), dims.end()});
  out.integer(2, data_type(tensor.dtype()));
  out.bytes(8, name);
  const auto bytes = tensor.byte_span();
  out.bytes(9, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  return out.text();
}

std::string encode(const ValueDef& value) {
  ProtoWriter shape;
  for (const std::int64_t size : value.dims) {
    ProtoWriter dim;
    if (size < 0) {
      dim.bytes(2, "samples");
    } else {
      dim.integer(1, size);
    }
    shape.bytes(1, dim.text());
  }
  ProtoWriter tensor;
  tensor.integer(1, data_type(value.dtype));
  tensor.bytes(2, shape.text());
  ProtoWriter type;
  type.bytes(1, tensor.text());
  ProtoWriter out;
  out.bytes(1, value.name);
  out.bytes(2, type.text());
  return out.text();
}

}  // namespace

void ProtoWriter::integer(unsigned field, std::int64_t value) {
  append_tag(text_, field, Wire::varint);
  append_varint(text_, static_cast<std::uint64_t>(value));
}

void ProtoWriter::number(unsigned field, float value) {
  append_tag(text_, field, Wire::bits32);
  append_little_endian(text_, std::bit_cast<std::uint32_t>(value), 4);
}

void ProtoWriter::bytes(unsigned field, std::string_view value) {
  append_bytes(text_, field, value);
}

void ProtoWriter::integers(unsigned field, const std::vector<std::int64_t>& values) {
  std::string packed;
  for (const std::int64_t value : values) append_varint(packed, static_cast<std::uint64_t>(value));
  append_bytes(text_, field, packed);
}

std::int64_t data_type(DType dtype) {
  switch (dtype) {
    case DType::f32:
      return 1;
    case DType::u8:
      return 2;
    case DType::i8:
      return 3;
    case DType::u16:
      return 4;
    case DType::i16:
      return 5;
    case DType::i32:
      return 6;
    case DType::i64:
      return 7;
    case DType::boolean:
      return 9;
    case DType::f16:
      return 10;
    case DType::f64:
      return 11;
    case DType::u32:
      return 12;
    case DType::u64:
      return 13;
    case DType::bf16:
      return 16;
  }
  throw Error(Exit::internal, "unknown dtype");
}

Subgraph encode_body(const std::string& name, const std::vector<NodeDef>& nodes,
                     const std::vector<ValueDef>& inputs, const std::vector<ValueDef>& outputs) {
  ProtoWriter graph;
  for (const NodeDef& node : nodes) graph.bytes(1, encode(node));
  graph.bytes(2, name);
  for (const ValueDef& value : inputs) graph.bytes(11, encode(value));
  for (const ValueDef& value : outputs) graph.bytes(12, encode(value));
  return {graph.text()};
}

std::string serialize(const ModelDef& model) {
  std::size_t num_bytes = 0;
  for (const auto& [name, tensor] : model.initializers) num_bytes += tensor.byte_span().size();
  ProtoWriter graph;
  if (num_bytes <= kMaxModel_bytes) {
    for (const NodeDef& node : model.nodes) graph.bytes(1, encode(node));
    graph.bytes(2, model.name);
    for (const auto& [name, tensor] : model.initializers) graph.bytes(5, encode(name, tensor));
    for (const ValueDef& value : model.inputs) graph.bytes(11, encode(value));
    for (const ValueDef& value : model.outputs) graph.bytes(12, encode(value));
    num_bytes = graph.text().size() + (1 << 16);
  }
  if (num_bytes > kMaxModel_bytes) {
    throw Error(Exit::config, cat("onnx: ", num_bytes, " bytes, expected at most 2 GiB"),
                "--format safetensors holds parameters of any size");
  }
  ProtoWriter set;
  set.bytes(1, "");
  set.integer(2, kOperatorSet);
  ProtoWriter out;
  out.integer(1, kIrVersion);
  out.bytes(2, "dltrain");
  out.bytes(3, model.producer_version);
  out.bytes(7, graph.text());
  out.bytes(8, set.text());
  for (const auto& [key, value] : model.metadata) {
    ProtoWriter entry;
    entry.bytes(1, key);
    entry.bytes(2, value);
    out.bytes(14, entry.text());
  }
  return out.text();
}

}  // namespace dlt::onnx
