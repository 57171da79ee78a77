// SPDX-License-Identifier: Apache-2.0
#include "weights/match.h"

#include <map>

#include "base/error.h"
#include "base/text.h"

namespace dlt::weights {
namespace {

using tensor::Shape;
using tensor::Tensor;

bool has_fractions(DType dtype) {
  return dtype == DType::f32 || dtype == DType::f64 || dtype == DType::f16 || dtype == DType::bf16;
}

/// f32 numbers of a tensor that has_fractions().
Tensor to_f32(const Tensor& from) {
  if (from.dtype() == DType::f32) return from;
  DLT_CHECK(has_fractions(from.dtype()), "numbers with a fraction");
  Tensor out(from.shape(), DType::f32);
  const auto to = out.as<float>();
  const auto convert = [&](auto numbers, auto rule) {
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = rule(numbers[i]);
  };
  if (from.dtype() == DType::f64) {
    convert(from.as<double>(), [](double x) { return static_cast<float>(x); });
  } else {
    convert(from.as<std::uint16_t>(), from.dtype() == DType::f16 ? f16_to_f32 : bf16_to_f32);
  }
  return out;
}

/// The axes of the file's tensor in the order in which the model has them; empty: the same.
std::vector<int> axes_of(const Wanted& wanted, Layout layout) {
  if (layout == Layout::dltrain || wanted.is_table) return {};
  if (wanted.shape.rank() == 2) return {1, 0};
  if (wanted.shape.rank() == 4) return {2, 3, 1, 0};
  return {};
}

Shape permuted(const Shape& shape, const std::vector<int>& axes) {
  std::vector<std::int64_t> dims;
  for (const int axis : axes) dims.push_back(shape[axis]);
  return Shape(dims);
}

/// Element i of the result, read row by row, is that of `from` at the permuted place.
Tensor permuted(const Tensor& from, const std::vector<int>& axes) {
  const Shape shape = permuted(from.shape(), axes);
  Tensor out(shape, DType::f32);
  std::vector<std::int64_t> strides(axes.size()), place(axes.size(), 0);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    std::int64_t stride = 1;
    for (int axis = axes[i] + 1; axis < from.shape().rank(); ++axis) stride *= from.shape()[axis];
    strides[i] = stride;
  }
  const auto source = from.as<float>();
  const auto to = out.as<float>();
  std::int64_t at = 0;
  for (float& number : to) {
    number = source[static_cast<std::size_t>(at)];
    for (std::size_t axis = axes.size(); axis-- > 0;) {
      at += strides[axis];
      if (++place[axis] < shape[static_cast<int>(axis)]) break;
      at -= strides[axis] * place[axis];
      place[axis] = 0;
    }
  }
  return out;
}

}  // namespace

std::string renamed(const std::string& name, const MatchOptions& options) {
  std::string out = name;
  for (const auto& [before, after] : options.rename) {
    for (std::size_t at = out.find(before); at != std::string::npos;
         at = out.find(before, at + 1)) {
      const std::size_t end = at + before.size();
      if ((at > 0 && out[at - 1] != '.') || (end < out.size() && out[end] != '.')) continue;
      // A word that goes takes one of its dots along.
      const std::size_t dot = after.empty() && end < out.size() ? 1 : 0;
      out.replace(at, before.size() + dot, after);
      if (after.empty() && dot == 0 && at > 0) out.resize(at - 1);
      break;
    }
  }
  return out;
}

Match match_by_name(const WeightsFile& file, const std::vector<Wanted>& wanted,
                    const MatchOptions& options) {
  std::map<std::string, std::string> in_file;  // the model's name -> the file's
  for (const auto& [name, type] : file.types()) {
    const auto [at, is_new] = in_file.emplace(renamed(name, options), name);
    if (!is_new) {
      throw Error(Exit::data, cat("tensors '", printable(at->second), "' and '", printable(name),
                                  "': both are called '", printable(at->first),
                                  "' after renaming, expected different names"));
    }
  }
  Match out;
  for (const Wanted& one : wanted) {
    const auto found = in_file.find(one.name);
    if (found == in_file.end()) {
      out.missing.push_back(one.name);
      continue;
    }
    const tensor::TensorType& type = file.types().at(found->second);
    const std::vector<int> axes = axes_of(one, options.layout);
    const bool same_rank = type.shape.rank() == one.shape.rank();
    const Shape shape = same_rank && !axes.empty() ? permuted(type.shape, axes) : type.shape;
    if (!has_fractions(type.dtype) || shape != one.shape) {
      out.differ.push_back(cat(one.name, ": expected ", one.shape.text(),
                               has_fractions(type.dtype) ? "" : " of floats", ", got ", type.text(),
                               axes.empty() ? "" : " in PyTorch's layout"));
    } else {
      const Tensor numbers = to_f32(file.load(found->second));
      out.tensors.emplace(one.name, axes.empty() ? numbers : permuted(numbers, axes));
    }
    in_file.erase(found);
  }
  for (const auto& [name, original] : in_file) out.unused.push_back(original);
  return out;
}

}  // namespace dlt::weights
