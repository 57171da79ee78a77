// SPDX-License-Identifier: Apache-2.0
#include "data/augment.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/rng.h"

namespace dlt::data {
namespace {

/// Logarithm of a gamma variate of shape above 0. `stream` tells apart those of one key.
/// source  Marsaglia & Tsang 2000, "A simple method for generating gamma variables"; below 1 by
/// their boost, in logarithms, since small shapes give numbers too small for doubles
double log_gamma_sample(double shape, const rng::Key& key, std::uint64_t stream) {
  rng::Key normals = key, uniforms = key;
  normals.op = rng::op_id("beta.normal") + stream;
  uniforms.op = rng::op_id("beta.uniform") + stream;
  const auto uniform = [&](std::uint64_t i) {  // above 0
    return 1.0 - static_cast<double>(rng::uniform(uniforms, i));
  };
  const double boost = shape < 1 ? std::log(uniform(0)) / shape : 0.0;
  const double d = (shape < 1 ? shape + 1 : shape) - 1.0 / 3, c = 1.0 / std::sqrt(9 * d);
  for (std::uint64_t i = 0;; ++i) {
    const auto x = static_cast<double>(rng::normal(normals, i));
    const double v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    if (std::log(uniform(i + 1)) < 0.5 * x * x + d - d * v + d * std::log(v)) {
      return std::log(d * v) + boost;
    }
  }
}

/// A whole number from 0 to below n.
std::int64_t below(std::int64_t n, const rng::Key& key, std::uint64_t index) {
  const double u = static_cast<double>(rng::uniform(key, index));
  return std::min(n - 1, static_cast<std::int64_t>(u * static_cast<double>(n)));
}

rng::Key key_of(const char* op, std::uint64_t seed, const AugmentRows& rows, std::int64_t row) {
  return {.seed = seed,
          .op = rng::op_id(op),
          .epoch = rows.epoch,
          .sample = static_cast<std::uint64_t>(rows.ids[static_cast<std::size_t>(row)])};
}

}  // namespace

double beta_sample(double alpha, std::uint64_t seed, std::uint64_t epoch, std::uint64_t sample) {
  const rng::Key key{.seed = seed, .op = 0, .epoch = epoch, .sample = sample};
  const double a = log_gamma_sample(alpha, key, 0), b = log_gamma_sample(alpha, key, 1);
  return 1.0 / (1.0 + std::exp(b - a));
}

/// What a row becomes: its own share and its partner, and for cutmix the partner's rectangle.
struct Augment::Mixture {
  std::int64_t partner = 0;
  float share = 1;  // of the row itself
  bool cut = false;
  std::int64_t top = 0, bottom = 0, left = 0, right = 0;
};

Augment::Augment(const AugmentOptions& options, const Sample& sample, std::uint64_t seed)
    : options_(options), sample_(sample), seed_(seed) {
  DLT_CHECK(sample.input.rank() == 3 || (!options.moves() && options.cutmix_alpha == 0),
            "an image has three sizes");
  DLT_CHECK(!mixes_labels() || (sample.target.numel() == 1 && sample.num_classes >= 1),
            "mixed labels are one a sample");
}

std::int64_t Augment::target_numel() const {
  return mixes_labels() ? sample_.num_classes : sample_.target.numel();
}

Augment::Mixture Augment::mixture(const AugmentRows& rows, std::int64_t row) const {
  Mixture out;
  if (rows.count < 2) return out;
  const std::int64_t shift =
      1 + below(rows.count - 1, key_of("augment.partner", seed_, rows, 0), 0);
  out.partner = (row + shift) % rows.count;
  const rng::Key coin = key_of("augment.choice", seed_, rows, row);
  out.cut =
      options_.cutmix_alpha > 0 && (options_.mixup_alpha <= 0 || rng::uniform(coin, 0) < 0.5F);
  const double share = beta_sample(out.cut ? options_.cutmix_alpha : options_.mixup_alpha, seed_,
                                   rows.epoch, coin.sample);
  out.share = static_cast<float>(share);
  if (!out.cut) return out;
  // source  Yun et al. 2019, arXiv:1905.04899: a rectangle about any pixel, cut at the border.
  const std::int64_t height = sample_.input[0], width = sample_.input[1];
  const double side = std::sqrt(1.0 - share);
  const auto tall = std::llround(static_cast<double>(height) * side);
  const auto wide = std::llround(static_cast<double>(width) * side);
  const std::int64_t top = below(height, coin, 1) - tall / 2;
  const std::int64_t left = below(width, coin, 2) - wide / 2;
  out.top = std::max<std::int64_t>(0, top);
  out.bottom = std::min<std::int64_t>(height, top + tall);
  out.left = std::max<std::int64_t>(0, left);
  out.right = std::min<std::int64_t>(width, left + wide);
  const std::int64_t taken = (out.bottom - out.top) * (out.right - out.left);
  out.share =
      static_cast<float>(1.0 - static_cast<double>(taken) / static_cast<double>(height * width));
  return out;
}

/// Padding, a crop at a random place, flips: row y of the result is one row of the image, moved.
void Augment::move(const AugmentRows& rows, std::int64_t row, float* to) const {
  const std::int64_t height = sample_.input[0], width = sample_.input[1], c = sample_.input[2];
  const std::int64_t pad = options_.crop_padding;
  const rng::Key key = key_of("augment.move", seed_, rows, row);
  const std::int64_t down = below(2 * pad + 1, key, 0) - pad,
                     over = below(2 * pad + 1, key, 1) - pad;
  const bool mirror = options_.flip_horizontal && rng::uniform(key, 2) < 0.5F;
  const bool turn = options_.flip_vertical && rng::uniform(key, 3) < 0.5F;
  const float* image = rows.inputs + row * height * width * c;
  for (std::int64_t y = 0; y < height; ++y) {
    float* line = to + y * width * c;
    const std::int64_t from_y = (turn ? height - 1 - y : y) + down;
    if (from_y < 0 || from_y >= height) {
      std::fill_n(line, width * c, options_.crop_fill);
      continue;
    }
    const float* from = image + from_y * width * c;
    if (!mirror) {
      const std::int64_t first = std::clamp<std::int64_t>(-over, 0, width);
      const std::int64_t end = std::clamp<std::int64_t>(width - over, 0, width);
      std::fill(line, line + first * c, options_.crop_fill);
      if (end > first) std::copy_n(from + (first + over) * c, (end - first) * c, line + first * c);
      std::fill(line + std::max(first, end) * c, line + width * c, options_.crop_fill);
      continue;
    }
    for (std::int64_t x = 0; x < width; ++x) {
      const std::int64_t from_x = width - 1 - x + over;
      const bool inside = from_x >= 0 && from_x < width;
      for (std::int64_t k = 0; k < c; ++k) {
        line[x * c + k] = inside ? from[from_x * c + k] : options_.crop_fill;
      }
    }
  }
}

void Augment::mix_inputs(const float* own, const float* partner, const Mixture& m,
                         float* to) const {
  const std::int64_t numel = sample_.input.numel();
  if (!m.cut) {
    const float a = m.share, b = 1.0F - m.share;
    for (std::int64_t i = 0; i < numel; ++i) to[i] = a * own[i] + b * partner[i];
    return;
  }
  std::copy_n(own, numel, to);
  const std::int64_t c = sample_.input[2], line = sample_.input[1] * c;
  for (std::int64_t y = m.top; y < m.bottom && m.right > m.left; ++y) {
    std::copy_n(partner + y * line + m.left * c, (m.right - m.left) * c,
                to + y * line + m.left * c);
  }
}

void Augment::mix_targets(const AugmentRows& rows, std::int64_t row, const Mixture& m) const {
  const std::int64_t n = target_numel();
  float* to = static_cast<float*>(rows.out_targets) + row * n;
  if (!mixes_labels()) {
    const auto* values = static_cast<const float*>(rows.targets);
    const float *own = values + row * n, *partner = values + m.partner * n;
    const float a = m.share, b = 1.0F - m.share;
    for (std::int64_t i = 0; i < n; ++i) to[i] = a * own[i] + b * partner[i];
    return;
  }
  const auto* labels = static_cast<const std::int32_t*>(rows.targets);
  const std::int32_t own = labels[row], partner = labels[m.partner];
  std::fill_n(to, n, 0.0F);
  // A label of -1 does not count: its share of the distribution is left out.
  if (own >= 0) to[own] = own == partner ? 1.0F : m.share;
  if (partner >= 0 && partner != own) to[partner] = 1.0F - m.share;
  rows.out_labels[row] = m.share >= 0.5F ? own : partner;
}

void Augment::apply(const AugmentRows& rows) const {
  const std::int64_t numel = sample_.input.numel();
  const float* moved = rows.inputs;
  if (options_.moves()) {
    float* to = options_.mixes() ? rows.moved : rows.out_inputs;
    for (std::int64_t row = 0; row < rows.count; ++row) move(rows, row, to + row * numel);
    moved = to;
  }
  if (!options_.mixes()) {
    const auto target_bytes = static_cast<std::size_t>(rows.count * target_numel() * 4);
    if (target_bytes > 0) std::memcpy(rows.out_targets, rows.targets, target_bytes);
    return;
  }
  for (std::int64_t row = 0; row < rows.count; ++row) {
    Mixture m = mixture(rows, row);
    if (rows.count < 2) m.partner = row;
    mix_inputs(moved + row * numel, moved + m.partner * numel, m, rows.out_inputs + row * numel);
    mix_targets(rows, row, m);
  }
}

}  // namespace dlt::data
