// SPDX-License-Identifier: Apache-2.0
// Tokens, positions and attention.
#include <array>
#include <cmath>

#include "onnx/builder.h"

namespace dlt::onnx {
namespace {

using autodiff::Node;
using autodiff::ValueId;
using tensor::Shape;
using tensor::Tensor;
using Sizes = std::vector<std::int64_t>;

void embedding(Builder& b, const Node& node) {
  b.set(node.outputs[0], b.add("Gather", {b.name(node.inputs[1]), b.name(node.inputs[0])}));
}

void token_mask(Builder& b, const Node& node) {
  const std::string zero = b.constant("no_token", Tensor(Shape{}, DType::i32));
  b.set(node.outputs[0], b.to_float(b.differs({b.name(node.inputs[0]), zero})));
}

void time_mask(Builder& b, const Node& node) {
  const std::string other =
      b.to_float(b.differs({b.name(node.inputs[0]), b.scalar(node.attrs.number("value", 0))}));
  b.set(node.outputs[0],
        b.add("ReduceMax", {other}, {{"axes", Sizes{-1}}, {"keepdims", std::int64_t{0}}}));
}

void position_add(Builder& b, const Node& node) {
  const Shape &x = b.shape(node.inputs[0]), &table = b.shape(node.inputs[1]);
  std::string rows = b.name(node.inputs[1]);
  if (table[0] != x[1]) rows = b.slice(rows, 0, 0, x[1]);
  b.set(node.outputs[0], b.add("Add", {b.name(node.inputs[0]), rows}));
}

void sinusoid_add(Builder& b, const Node& node) {
  const Shape& x = b.shape(node.inputs[0]);
  const double theta = node.attrs.number("theta", 10000);
  Tensor table({x[1], x[2]}, DType::f32);
  auto at = table.as<float>().begin();
  for (std::int64_t t = 0; t < x[1]; ++t) {
    for (std::int64_t c = 0; c < x[2]; ++c) {
      const double pair = 2 * static_cast<double>(c / 2);
      const double angle =
          static_cast<double>(t) * std::pow(theta, -pair / static_cast<double>(x[2]));
      *at++ = static_cast<float>(c % 2 == 0 ? std::sin(angle) : std::cos(angle));
    }
  }
  b.set(node.outputs[0], b.add("Add", {b.name(node.inputs[0]), b.constant("positions", table)}));
}

/// Angles of position t and pair d, through a function, as [T, 1, D / 2].
std::string turned(Builder& b, const Node& node, std::int64_t length, double (*function)(double)) {
  const std::int64_t size = node.attrs.integer("head_size");
  const double theta = node.attrs.number("theta", 10000);
  Tensor table({length, 1, size / 2}, DType::f32);
  auto at = table.as<float>().begin();
  for (std::int64_t t = 0; t < length; ++t) {
    for (std::int64_t d = 0; d < size / 2; ++d) {
      const double power = -2 * static_cast<double>(d) / static_cast<double>(size);
      *at++ = static_cast<float>(function(static_cast<double>(t) * std::pow(theta, power)));
    }
  }
  return b.constant("angles", table);
}

double sine(double x) { return std::sin(x); }
double cosine(double x) { return std::cos(x); }

void rope(Builder& b, const Node& node) {
  const Shape& x = b.shape(node.inputs[0]);
  const std::int64_t heads = node.attrs.integer("heads"), size = node.attrs.integer("head_size");
  if (node.attrs.integer("inverse") != 0) b.refuse("that turns back has no equivalent in ONNX");
  const std::string input = b.name(node.inputs[0]);
  const std::string first = b.reshape(b.slice(input, -1, 0, heads * size), {-1, x[1], heads, size});
  const std::string left = b.slice(first, -1, 0, size / 2);
  const std::string right = b.slice(first, -1, size / 2, size);
  const std::string s = turned(b, node, x[1], sine), c = turned(b, node, x[1], cosine);
  const std::string new_left = b.add("Sub", {b.add("Mul", {left, c}), b.add("Mul", {right, s})});
  const std::string new_right = b.add("Add", {b.add("Mul", {right, c}), b.add("Mul", {left, s})});
  const Attributes last{{"axis", std::int64_t{-1}}};
  std::string y = b.reshape(b.add("Concat", {new_left, new_right}, last), {-1, x[1], heads * size});
  if (heads * size < x[2]) {
    y = b.add("Concat", {y, b.slice(input, -1, heads * size, x[2])}, last);
  }
  b.set(node.outputs[0], y);
}

/// Columns [begin, begin + heads · size) of qkv as [B, all heads, T, size]; heads that several
/// query heads share are there several times.
std::string heads_of(Builder& b, const std::string& qkv, std::int64_t begin, const Shape& cut) {
  const std::int64_t heads = cut[0], repeats = cut[1], length = cut[2], size = cut[3];
  std::string x = b.slice(qkv, -1, begin, begin + heads * size);
  if (repeats > 1) {
    x = b.reshape(x, {-1, length, heads, 1, size});
    x = b.add("Expand", {x, b.integers({1, length, heads, repeats, size})});
  }
  return b.transpose(b.reshape(x, {-1, length, heads * repeats, size}), {0, 2, 1, 3});
}

/// Which key each query may see: [1, 1, T, T], [B, 1, 1, T], both, or "" for all.
std::string visible(Builder& b, const Node& node, std::int64_t length) {
  std::string out;
  if (node.attrs.integer("causal") != 0) {
    Tensor triangle({1, 1, length, length}, DType::boolean);
    const auto cells = triangle.as<std::uint8_t>();
    for (std::int64_t q = 0; q < length; ++q) {
      for (std::int64_t k = 0; k <= q; ++k) cells[static_cast<std::size_t>(q * length + k)] = 1;
    }
    out = b.constant("causal", triangle);
  }
  if (node.inputs.size() > 1) {
    const std::string counts = b.differs({b.name(node.inputs[1]), b.scalar(0)});
    const std::string seen = b.add("Unsqueeze", {counts, b.integers({1, 2})});
    out = out.empty() ? seen : b.add("And", {out, seen});
  }
  return out;
}

void attention(Builder& b, const Node& node) {
  const Shape& shape = b.shape(node.inputs[0]);
  const std::int64_t length = shape[1], heads = node.attrs.integer("heads");
  const std::int64_t groups = node.attrs.integer("kv_heads", heads);
  const std::int64_t size = shape[2] / (heads + 2 * groups);
  const std::string qkv = b.name(node.inputs[0]);
  const Shape shared{groups, heads / groups, length, size};
  const std::string q = heads_of(b, qkv, 0, {heads, 1, length, size});
  const std::string k = heads_of(b, qkv, heads * size, shared);
  const std::string v = heads_of(b, qkv, (heads + groups) * size, shared);
  std::string scores = b.add("MatMul", {q, b.transpose(k, {0, 1, 3, 2})});
  scores = b.add("Mul", {scores, b.scalar(1 / std::sqrt(static_cast<double>(size)))});
  const std::string seen = visible(b, node, length);
  if (!seen.empty()) scores = b.add("Where", {seen, scores, b.scalar(-1e30)});
  std::string weights = b.add("Softmax", {scores}, {{"axis", std::int64_t{-1}}});
  // A row that sees no key gives 0.
  if (node.inputs.size() > 1) weights = b.add("Where", {seen, weights, b.scalar(0)});
  const std::string y = b.transpose(b.add("MatMul", {weights, v}), {0, 2, 1, 3});
  b.set(node.outputs[0], b.reshape(y, {-1, length, heads * size}));
}

}  // namespace

std::span<const Rule> sequence_rules() {
  static constexpr std::array<Rule, 7> kRules = {{{"attention", attention},
                                                  {"embedding", embedding},
                                                  {"position_add", position_add},
                                                  {"rope", rope},
                                                  {"sinusoid_add", sinusoid_add},
                                                  {"time_mask", time_mask},
                                                  {"token_mask", token_mask}}};
  return kRules;
}

}  // namespace dlt::onnx
