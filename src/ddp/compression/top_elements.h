// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstdint>
#include <vector>

#include <immintrin.h>

namespace dlt::ddp {

/// Finds the k elements of largest magnitude of a range: all NaNs and infinities first, and of
/// equal magnitudes those with the lower place. Two passes: a histogram of the magnitudes' upper
/// bits, then a look at what lies at or above the k-th. Allocates when made only.
class TopElements {
 public:
  explicit TopElements(std::int64_t longest);
  [[nodiscard]] static std::int64_t buffer_bytes(std::int64_t longest);
  [[nodiscard]] std::int64_t buffer_bytes() const {
    return buffer_bytes(static_cast<std::int64_t>(candidates_.size()));
  }
  void begin();
  /// The next elements of the range, a multiple of 16.
  void look_at(const float* values, std::int64_t count);
  /// use(place) for each of the k chosen, in no order of note but the same for the same values.
  template <typename F>
  void choose(const float* values, std::int64_t count, std::int64_t k, F use) {
    const std::int64_t num_candidates = sift(values, count, k, use);
    const std::int64_t wanted = k - count_above_;
    pick(values, num_candidates, wanted);
    for (std::int64_t i = 0; i < wanted; ++i) use(candidates_[static_cast<std::size_t>(i)]);
  }

 private:
  static constexpr int kShift = 19;  // sign away: 8 bits of exponent, 4 of mantissa
  static constexpr std::size_t kBins = 4096;
  using Histogram = std::array<std::uint32_t, kBins>;

  /// The lowest bin that holds some of the k largest; sets count_above_.
  std::uint32_t threshold_bin(std::int64_t k);
  /// Places in [begin, begin + 8) whose bin is at least `bin`, as bits.
  static unsigned at_or_above(const float* values, std::uint32_t bin) {
    const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
    const __m256i bins =
        _mm256_srli_epi32(_mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff)), kShift);
    const __m256i below = _mm256_set1_epi32(static_cast<int>(bin) - 1);
    return static_cast<unsigned>(
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(bins, below))));
  }
  static std::uint32_t bin_of(float value) {
    return (std::bit_cast<std::uint32_t>(value) & 0x7fffffffU) >> kShift;
  }
  /// The `wanted` largest candidates to the front.
  void pick(const float* values, std::int64_t num_candidates, std::int64_t wanted);

  template <typename F>
  std::int64_t sift(const float* values, std::int64_t count, std::int64_t k, F use) {
    const std::uint32_t bin = threshold_bin(k);
    std::int64_t n = 0;
    for (std::int64_t i = 0; i < count; i += 8) {
      for (unsigned bits = at_or_above(values + i, bin); bits != 0; bits &= bits - 1) {
        const auto place = static_cast<std::uint32_t>(i + __builtin_ctz(bits));
        if (bin_of(values[place]) > bin) {
          use(place);
        } else {
          candidates_[static_cast<std::size_t>(n++)] = place;
        }
      }
    }
    return n;
  }

  std::array<Histogram, 4> histograms_{};  // neighbours often share a bin: each counts in its own
  std::vector<std::uint32_t> candidates_;
  std::int64_t count_above_ = 0;
};

}  // namespace dlt::ddp
