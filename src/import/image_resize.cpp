// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cmath>

#include "import/image_file.h"

namespace dlt::import_ {
namespace {

/// What a new row or column is made of.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;  // their sum is 1
};

/// The old sizes [begin, begin + length) become `size` new ones.
std::vector<Taps> taps_of(double begin, double length, std::int64_t old_size, std::int64_t size,
                          Resampling resampling) {
  std::vector<Taps> out;
  const double step = length / static_cast<double>(size);
  for (std::int64_t i = 0; i < size; ++i) {
    const double from = begin + static_cast<double>(i) * step;
    Taps taps;
    if (resampling == Resampling::bilinear) {
      const double centre =
          std::clamp(from + step / 2 - 0.5, 0.0, static_cast<double>(old_size - 1));
      taps.first =
          std::min(static_cast<std::int64_t>(centre), std::max<std::int64_t>(old_size - 2, 0));
      const double second = centre - static_cast<double>(taps.first);
      taps.weights = {1 - second, second};
      if (old_size == 1) taps.weights = {1};
    } else {
      const double to = std::min(from + step, static_cast<double>(old_size));
      taps.first = std::min(static_cast<std::int64_t>(from), old_size - 1);
      for (std::int64_t at = taps.first; static_cast<double>(at) < to && at < old_size; ++at) {
        const double covered =
            std::min(to, static_cast<double>(at + 1)) - std::max(from, static_cast<double>(at));
        taps.weights.push_back(covered / (to - from));
      }
    }
    out.push_back(std::move(taps));
  }
  return out;
}

struct Window {
  double top = 0, left = 0, height = 0, width = 0;
};

Window window_of(const Image& image, const ResizeOptions& options) {
  Window out{.height = static_cast<double>(image.height),
             .width = static_cast<double>(image.width)};
  if (options.fit == Fit::stretch) return out;
  const double scale = std::min(out.height / static_cast<double>(options.height),
                                out.width / static_cast<double>(options.width));
  const double height = static_cast<double>(options.height) * scale;
  const double width = static_cast<double>(options.width) * scale;
  return {(out.height - height) / 2, (out.width - width) / 2, height, width};
}

}  // namespace

Image resized(const Image& image, const ResizeOptions& options) {
  if (image.height == options.height && image.width == options.width) return image;
  const Window window = window_of(image, options);
  const auto rows =
      taps_of(window.top, window.height, image.height, options.height, options.resampling);
  const auto columns =
      taps_of(window.left, window.width, image.width, options.width, options.resampling);
  const auto channels = static_cast<std::size_t>(image.channels);
  Image out{
      .height = options.height, .width = options.width, .channels = image.channels, .pixels = {}};
  out.pixels.reserve(static_cast<std::size_t>(options.height * options.width) * channels);
  std::vector<double> row(static_cast<std::size_t>(image.width) * channels);
  for (const Taps& down : rows) {
    std::fill(row.begin(), row.end(), 0.0);
    for (std::size_t k = 0; k < down.weights.size(); ++k) {
      const std::uint8_t* const from =
          image.pixels.data() + (static_cast<std::size_t>(down.first) + k) * row.size();
      for (std::size_t i = 0; i < row.size(); ++i) row[i] += down.weights[k] * from[i];
    }
    for (const Taps& across : columns) {
      for (std::size_t c = 0; c < channels; ++c) {
        double sum = 0;
        for (std::size_t k = 0; k < across.weights.size(); ++k) {
          sum +=
              across.weights[k] * row[(static_cast<std::size_t>(across.first) + k) * channels + c];
        }
        out.pixels.push_back(
            static_cast<std::uint8_t>(std::clamp(std::floor(sum + 0.5), 0.0, 255.0)));
      }
    }
  }
  return out;
}

}  // namespace dlt::import_
