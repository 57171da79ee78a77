// SPDX-License-Identifier: Apache-2.0
#include "nn/window.h"

#include <algorithm>
#include <utility>

#include "base/text.h"

namespace dlt::nn {
namespace {

constexpr std::int64_t kMaxSize = 1 << 20;

std::string lengths_text(std::size_t axes, bool sides) {
  if (axes == 1) return sides ? "1 or 2 numbers" : "1 number";
  return sides ? "1, 2 or 4 numbers" : "1 or 2 numbers";
}

}  // namespace

std::vector<std::int64_t> read_axes(config::MapReader& options, const std::string& key,
                                    std::size_t axes, std::vector<std::int64_t> fallback) {
  std::vector<std::int64_t> values =
      options.integers(key, {.min = 1, .max = kMaxSize}, std::vector<std::int64_t>(fallback));
  if (values.size() == 1) values.resize(axes, values[0]);
  if (values.size() == axes) return values;
  options.error(key, cat("expected ", lengths_text(axes, false), ", got ", values.size()));
  return fallback;
}

std::vector<std::int64_t> read_sides(config::MapReader& options, const std::string& key,
                                     std::size_t axes, std::vector<std::int64_t> fallback) {
  std::vector<std::int64_t> values =
      options.integers(key, {.min = 0, .max = kMaxSize}, std::vector<std::int64_t>(fallback));
  if (values.size() == 1) values.resize(axes, values[0]);
  if (values.size() == 2 * axes) return values;
  if (values.size() == axes) {
    std::vector<std::int64_t> sides;
    for (const std::int64_t value : values) sides.insert(sides.end(), 2, value);
    return sides;
  }
  options.error(key, cat("expected ", lengths_text(axes, true), ", got ", values.size()),
                axes == 2 ? "a number; [height, width]; [top, bottom, left, right]"
                          : "a number; [before, behind]");
  return std::vector<std::int64_t>(2 * axes, 0);
}

Padding read_padding(config::MapReader& options, std::size_t axes) {
  const config::Node* node = options.child("padding");
  const bool numbers = node != nullptr && (node->kind == config::Kind::sequence ||
                                           config::to_integer(*node).has_value());
  if (numbers) return {PaddingKind::given, read_sides(options, "padding", axes, {0})};
  const std::string word = options.choice("padding", {"same", "valid"}, std::string("valid"));
  return {word == "same" ? PaddingKind::same : PaddingKind::valid, {}};
}

Sides padding_of(const Padding& padding, std::size_t axis, std::int64_t length, std::int64_t size,
                 std::int64_t stride) {
  switch (padding.kind) {
    case PaddingKind::valid:
      return {};
    case PaddingKind::given:
      return {padding.sides[2 * axis], padding.sides[2 * axis + 1]};
    case PaddingKind::same: {
      const std::int64_t count = (length + stride - 1) / stride;
      const std::int64_t total = std::max<std::int64_t>((count - 1) * stride + size - length, 0);
      return {total / 2, total - total / 2};
    }
  }
  return {};
}

autodiff::ValueId as_image(autodiff::Graph& graph, autodiff::ValueId sequence) {
  const tensor::Shape shape = graph.shape(sequence);
  return graph.add_one("reshape", {sequence},
                       {{"shape", std::vector<std::int64_t>{shape[0], 1, shape[1], shape[2]}}});
}

autodiff::ValueId as_sequence(autodiff::Graph& graph, autodiff::ValueId image) {
  const tensor::Shape shape = graph.shape(image);
  return graph.add_one("reshape", {image},
                       {{"shape", std::vector<std::int64_t>{shape[0], shape[2], shape[3]}}});
}

void expect_places(const BuildContext& context, autodiff::ValueId x, std::size_t axes) {
  if (context.graph.shape(x).rank() == static_cast<int>(axes) + 2) return;
  refuse_input(context, x,
               axes == 2 ? "an image [height, width, channels]" : "a sequence [time, channels]");
}

}  // namespace dlt::nn
