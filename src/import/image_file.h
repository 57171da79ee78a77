// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace dlt::import_ {

/// Eight bits a channel, row by row, channels last.
struct Image {
  std::int64_t height = 0, width = 0;
  int channels = 3;  // 1 grey, 3 red, green, blue
  std::vector<std::uint8_t> pixels;
};

enum class Colour : std::uint8_t { rgb, grey };

/// Reads a PNG, JPEG or binary PGM or PPM file, told apart by its first bytes, as RGB or grey.
/// Transparency is dropped; 16 bits become 8; grey is ITU-R 601's luma.
/// errors  Error(Exit::missing) no such file; Error(Exit::data) none of these formats, damaged, cut
///         short, or of more than 2^28 pixels
[[nodiscard]] Image read_image(const std::string& path, Colour colour);

/// How an image becomes another size.
enum class Resampling : std::uint8_t {
  area,     // the mean of what a new pixel covers
  bilinear  // the two nearest rows and columns, half-pixel centres
};
enum class Fit : std::uint8_t {
  stretch,  // sides change as they must
  crop      // the largest part in the middle that has the wanted proportions
};
struct ResizeOptions {
  std::int64_t height = 0, width = 0;
  Resampling resampling = Resampling::area;
  Fit fit = Fit::stretch;
};
/// errors  none; an image of just that size stays as it is to the bit
[[nodiscard]] Image resized(const Image& image, const ResizeOptions& options);

}  // namespace dlt::import_
