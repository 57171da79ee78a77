// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <complex>
#include <cstdint>
#include <span>
#include <vector>

namespace dlt::import_ {

/// Discrete Fourier transform of a fixed size, a power of two; forward.
/// source  Cooley & Tukey 1965
class FourierTransform {
 public:
  explicit FourierTransform(std::int64_t size);
  /// In place.
  void apply(std::span<std::complex<double>> values) const;

 private:
  std::vector<std::complex<double>> turns_;  // exp(-2 pi i k / size), the first half of them
};

struct LogMelOptions {
  std::int64_t sample_rate = 16000;
  std::int64_t window = 400;  // samples of a frame, at most num_fft
  std::int64_t hop = 160;
  std::int64_t num_fft = 512;  // a power of two
  std::int64_t num_mels = 40;
  double min_hz = 20.0;
  double max_hz = 8000.0;
};

/// Sound to the logarithm of its power in bands that are even on the mel scale,
/// mel(f) = 2595 log10(1 + f / 700): a periodic Hann window, the power spectrum |FFT|^2, triangles
/// of height 1 from one band's centre to the next but one, ln(max(power, 1e-10)). Frame t begins at
/// sample t * hop; a recording shorter than a window is one frame, zeros behind it. In f64.
/// errors  Error(Exit::usage) options that make no sense, a band that holds no frequency of the FFT
class LogMel {
 public:
  explicit LogMel(const LogMelOptions& options);
  [[nodiscard]] std::int64_t num_frames(std::int64_t num_samples) const;
  /// Frames [0, num_frames) of a recording, [num_frames, num_mels].
  [[nodiscard]] std::vector<float> frames(std::span<const float> samples,
                                          std::int64_t num_frames) const;

 private:
  struct Band {
    std::int64_t first = 0;  // bin of the FFT
    std::vector<double> weights;
  };
  static const LogMelOptions& checked(const LogMelOptions& options);
  void make_bands();
  LogMelOptions options_;
  FourierTransform transform_;
  std::vector<double> window_;
  std::vector<Band> bands_;
};

}  // namespace dlt::import_
