// SPDX-License-Identifier: Apache-2.0
#include "import/log_mel.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <utility>

#include "base/error.h"
#include "base/text.h"

namespace dlt::import_ {
namespace {

constexpr double kFloor = 1e-10;

double mel_of(double hz) { return 2595.0 * std::log10(1.0 + hz / 700.0); }
double hz_of(double mel) { return 700.0 * (std::pow(10.0, mel / 2595.0) - 1.0); }

void expect(bool good, const std::string& what) {
  if (!good) throw Error(Exit::usage, cat("log-mel features: ", what));
}

}  // namespace

FourierTransform::FourierTransform(std::int64_t size) {
  for (std::int64_t k = 0; k < size / 2; ++k) {
    const double angle =
        -2.0 * std::numbers::pi * static_cast<double>(k) / static_cast<double>(size);
    turns_.emplace_back(std::cos(angle), std::sin(angle));
  }
}

void FourierTransform::apply(std::span<std::complex<double>> values) const {
  const std::size_t n = values.size();
  for (std::size_t i = 1, j = 0; i < n; ++i) {  // bit reversal
    std::size_t bit = n >> 1;
    for (; (j & bit) != 0; bit >>= 1) j ^= bit;
    j |= bit;
    if (i < j) std::swap(values[i], values[j]);
  }
  for (std::size_t half = 1; half < n; half *= 2) {
    const std::size_t stride = turns_.size() / half;
    for (std::size_t begin = 0; begin < n; begin += 2 * half) {
      for (std::size_t k = 0; k < half; ++k) {
        const std::complex<double> a = values[begin + k], b = values[begin + k + half];
        const std::complex<double> turn = turns_[k * stride];
        const std::complex<double> odd(b.real() * turn.real() - b.imag() * turn.imag(),
                                       b.real() * turn.imag() + b.imag() * turn.real());
        values[begin + k] = a + odd;
        values[begin + k + half] = a - odd;
      }
    }
  }
}

const LogMelOptions& LogMel::checked(const LogMelOptions& options) {
  const double nyquist = static_cast<double>(options.sample_rate) / 2.0;
  expect(options.num_fft >= 2 && options.num_fft <= (1 << 20) &&
             std::has_single_bit(static_cast<std::uint64_t>(options.num_fft)),
         cat("FFT size: expected a power of two up to 1048576, got ", options.num_fft));
  expect(options.window >= 1 && options.window <= options.num_fft,
         cat("window: expected 1 to the FFT size, ", options.num_fft, ", got ", options.window));
  expect(options.hop >= 1, cat("hop: expected at least 1, got ", options.hop));
  expect(options.num_mels >= 1 && options.num_mels <= options.num_fft,
         cat("mels: expected 1 to the FFT size, ", options.num_fft, ", got ", options.num_mels));
  expect(options.min_hz >= 0.0 && options.min_hz < options.max_hz && options.max_hz <= nyquist,
         cat("frequencies: expected 0 <= lowest < highest <= half the sample rate, ", nyquist,
             ", got ", options.min_hz, " to ", options.max_hz));
  return options;
}

LogMel::LogMel(const LogMelOptions& options)
    : options_(checked(options)), transform_(options.num_fft) {
  for (std::int64_t i = 0; i < options.window; ++i) {
    const double at = static_cast<double>(i) / static_cast<double>(options.window);
    window_.push_back(0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * at));
  }
  make_bands();
}

void LogMel::make_bands() {
  const double low = mel_of(options_.min_hz);
  const double step = (mel_of(options_.max_hz) - low) / static_cast<double>(options_.num_mels + 1);
  const auto corner = [&](std::int64_t i) { return hz_of(low + step * static_cast<double>(i)); };
  const double bin_hz =
      static_cast<double>(options_.sample_rate) / static_cast<double>(options_.num_fft);
  for (std::int64_t band = 0; band < options_.num_mels; ++band) {
    const double left = corner(band), centre = corner(band + 1), right = corner(band + 2);
    Band out;
    for (std::int64_t bin = 0; bin <= options_.num_fft / 2; ++bin) {
      const double hz = static_cast<double>(bin) * bin_hz;
      const double weight =
          std::min((hz - left) / (centre - left), (right - hz) / (right - centre));
      if (weight <= 0.0) continue;
      if (out.weights.empty()) out.first = bin;
      out.weights.push_back(weight);
    }
    expect(!out.weights.empty(), cat("band ", band, ", ", left, " to ", right,
                                     " Hz, holds none of the FFT's frequencies, "
                                     "which are ",
                                     bin_hz, " Hz apart: take fewer mels or a larger FFT"));
    bands_.push_back(std::move(out));
  }
}

std::int64_t LogMel::num_frames(std::int64_t num_samples) const {
  return num_samples < options_.window ? 1 : (num_samples - options_.window) / options_.hop + 1;
}

std::vector<float> LogMel::frames(std::span<const float> samples, std::int64_t num_frames) const {
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(num_frames * options_.num_mels));
  std::vector<std::complex<double>> spectrum(static_cast<std::size_t>(options_.num_fft));
  for (std::int64_t frame = 0; frame < num_frames; ++frame) {
    std::fill(spectrum.begin(), spectrum.end(), 0.0);
    const auto begin = static_cast<std::size_t>(frame * options_.hop);
    for (std::size_t i = 0; i < window_.size() && begin + i < samples.size(); ++i) {
      spectrum[i] = window_[i] * static_cast<double>(samples[begin + i]);
    }
    transform_.apply(spectrum);
    for (const Band& band : bands_) {
      double power = 0.0;
      for (std::size_t i = 0; i < band.weights.size(); ++i) {
        power += band.weights[i] * std::norm(spectrum[static_cast<std::size_t>(band.first) + i]);
      }
      out.push_back(static_cast<float>(std::log(std::max(power, kFloor))));
    }
  }
  return out;
}

}  // namespace dlt::import_
