// SPDX-License-Identifier: Apache-2.0
#include "train/step_watch.h"

#include <cmath>
#include <cstring>
#include <iomanip>
#include <sstream>

#include "base/dtype.h"
#include "base/text.h"
#include "data/convert.h"

namespace dlt::train {
namespace {

template <typename T, typename Value>
std::int64_t find(const tensor::View& view, const Value& value_of) {
  const T* values = view.as<const T>();
  for (std::int64_t i = 0; i < view.type.shape.numel(); ++i) {
    if (!std::isfinite(value_of(values[i]))) return i;
  }
  return -1;
}

double value_at(const tensor::View& view, std::int64_t element) {
  const auto size = static_cast<std::int64_t>(size_bytes(view.type.dtype));
  return data::element_value(view.type.dtype,
                             static_cast<const std::byte*>(view.data) + element * size);
}

/// [3, 17]
std::string place_text(const tensor::Shape& shape, std::int64_t element) {
  std::vector<std::string> at(static_cast<std::size_t>(shape.rank()));
  for (int axis = shape.rank() - 1; axis >= 0; --axis) {
    at[static_cast<std::size_t>(axis)] = cat(element % shape[axis]);
    element /= shape[axis];
  }
  return cat("[", join(at), "]");
}

}  // namespace

std::int64_t first_nonfinite(const tensor::View& view) {
  switch (view.type.dtype) {
    case DType::f32:
      return data::find_non_finite(view.as<const float>(), view.type.shape.numel());
    case DType::f64:
      return find<double>(view, [](double value) { return value; });
    case DType::f16:
      return find<std::uint16_t>(view, [](std::uint16_t bits) { return f16_to_f32(bits); });
    case DType::bf16:
      return find<std::uint16_t>(view, [](std::uint16_t bits) { return bf16_to_f32(bits); });
    case DType::i8:
    case DType::u8:
    case DType::boolean:
    case DType::i16:
    case DType::u16:
    case DType::i32:
    case DType::u32:
    case DType::i64:
    case DType::u64:
      break;
  }
  return -1;
}

std::string BadNumber::text() const {
  return cat(layer.empty() ? std::string("outside of all layers") : cat("layer '", layer, "'"),
             ", op ", op, backward ? " (backward)" : "", ", element ", place_text(shape, element),
             " of ", shape.text(), " is ", value);
}

/// What one leaf's kernels made in this step.
struct NumberWatch::Leaf final : autodiff::CallWatch {
  void made(const autodiff::Node& node, std::span<const tensor::View> outputs) override {
    if (!on) return;
    for (const tensor::View& view : outputs) {
      if (keeps) keep(node, view);
      if (bad) continue;
      const std::int64_t element = first_nonfinite(view);
      if (element < 0) continue;
      bad = BadNumber{.leaf = number,
                      .layer = node.scope,
                      .op = std::string(node.op->name),
                      .backward = node.backward,
                      .element = element,
                      .shape = view.type.shape,
                      .value = value_at(view, element)};
    }
  }

  void keep(const autodiff::Node& node, const tensor::View& view) {
    std::ostringstream name;
    name << (node.backward ? "backward." : "activation.") << std::setw(4) << std::setfill('0')
         << kept.size() << "." << (node.scope.empty() ? "" : node.scope + ".") << node.op->name;
    const tensor::Tensor copy(view.type.shape, view.type.dtype);
    std::memcpy(copy.bytes(), view.data, static_cast<std::size_t>(view.type.bytes()));
    std::string text = name.str();
    for (char& c : text) {
      if (c == '/') c = '.';
    }
    kept.emplace(text, copy);
  }

  int number = 0;
  bool on = false, keeps = false;
  std::optional<BadNumber> bad;
  tensor::StateDict kept;
};

NumberWatch::NumberWatch(int num_leaves, int keep_leaf) : keep_leaf_(keep_leaf) {
  for (int i = 0; i < num_leaves; ++i) {
    leaves_.push_back(std::make_unique<Leaf>());
    leaves_.back()->number = i;
    leaves_.back()->keeps = i == keep_leaf;
  }
}

NumberWatch::~NumberWatch() = default;

autodiff::CallWatch* NumberWatch::leaf(int leaf) {
  return leaves_[static_cast<std::size_t>(leaf)].get();
}

void NumberWatch::begin_step(bool on) {
  for (const auto& leaf : leaves_) {
    leaf->on = on;
    leaf->bad.reset();
    leaf->kept.clear();
  }
}

std::optional<BadNumber> NumberWatch::first_bad() const {
  for (const auto& leaf : leaves_) {
    if (leaf->bad) return leaf->bad;
  }
  return {};
}

const tensor::StateDict& NumberWatch::kept() const {
  return keep_leaf_ < 0 ? none_ : leaves_[static_cast<std::size_t>(keep_leaf_)]->kept;
}

}  // namespace dlt::train
