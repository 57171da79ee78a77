// SPDX-License-Identifier: Apache-2.0
// Options of layers that look at the places of an image or a sequence: sizes along one or two axes,
// and padding around them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "config/node.h"
#include "nn/layer.h"

namespace dlt::nn {

/// A number along each of `axes` axes from a list of as many, or one number for all.
[[nodiscard]] std::vector<std::int64_t> read_axes(config::MapReader& options,
                                                  const std::string& key, std::size_t axes,
                                                  std::vector<std::int64_t> fallback);

/// Rows or columns before and behind each axis: [before, behind] of the first, then of the second.
/// One number is for all; a list has one number an axis (for both its sides) or two.
[[nodiscard]] std::vector<std::int64_t> read_sides(config::MapReader& options,
                                                   const std::string& key, std::size_t axes,
                                                   std::vector<std::int64_t> fallback);

enum class PaddingKind : std::uint8_t { valid, same, given };

struct Padding {
  PaddingKind kind = PaddingKind::valid;
  std::vector<std::int64_t> sides;  // given: as of read_sides
};

/// The option `padding`: valid, same, or numbers as of read_sides.
[[nodiscard]] Padding read_padding(config::MapReader& options, std::size_t axes);

/// What is added before and behind an axis of `length` places for windows of `size` places (counted
/// with their dilation) every `stride`. `same` gives ceil(length / stride) windows, the odd place
/// behind, as in Keras.
struct Sides {
  std::int64_t before = 0, behind = 0;
};
[[nodiscard]] Sides padding_of(const Padding& padding, std::size_t axis, std::int64_t length,
                               std::int64_t size, std::int64_t stride);

/// A sequence [B, T, C] as the image [B, 1, T, C], and back; no memory moves.
[[nodiscard]] autodiff::ValueId as_image(autodiff::Graph& graph, autodiff::ValueId sequence);
[[nodiscard]] autodiff::ValueId as_sequence(autodiff::Graph& graph, autodiff::ValueId image);

/// Refuses x unless it is an image [height, width, channels] (axes == 2) or a sequence [time,
/// channels].
void expect_places(const BuildContext& context, autodiff::ValueId x, std::size_t axes);

}  // namespace dlt::nn
