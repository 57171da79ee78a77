// SPDX-License-Identifier: Apache-2.0
// Blocks of numbers as signed bytes of one scale, the largest of the block being 127: a quarter of
// the bytes. What rounding takes away is kept for the next step.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include <immintrin.h>

#include "ddp/compression/block_codec.h"
#include "ddp/compression/sliced.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kBlockScale_bytes = 4;
constexpr std::int64_t kStep = 16;
constexpr float kLargest_code = 127;
constexpr std::uint32_t kLeastInfinite_bits = 0x7f800000;
/// Below this a block counts as zeros: its scale would lose digits as a subnormal number.
constexpr float kSmallest = 1e-35F;

__m128i quantised(const float* values, __m256 factor) {
  const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values), factor));
  const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(values + 8), factor));
  const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0b11011000);
  return _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

__m256 decoded_bytes(const std::byte* in, __m256 scale) {
  const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(in));
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(codes)), scale);
}

class Int8Codec final : public BlockCodec {
 public:
  explicit Int8Codec(std::int64_t block) : block_(block) {}
  [[nodiscard]] std::int64_t block() const override { return block_; }
  [[nodiscard]] std::int64_t encoded_bytes(std::int64_t count) const override {
    return count + (count + block_ - 1) / block_ * kBlockScale_bytes;
  }
  void encode(const float* values, std::int64_t count, std::byte* out,
              float* residual) const override {
    for (std::int64_t at = 0; at < count; at += block_) {
      const std::int64_t size = std::min(block_, count - at);
      encode_block(values + at, size, out, residual == nullptr ? nullptr : residual + at);
      out += kBlockScale_bytes + size;
    }
  }
  void decode(const std::byte* in, std::int64_t count, float* out) const override {
    read(in, count, [out](std::int64_t at, __m256 values) { _mm256_storeu_ps(out + at, values); });
  }
  void decode_add(const std::byte* in, std::int64_t count, float* out) const override {
    read(in, count, [out](std::int64_t at, __m256 values) {
      _mm256_storeu_ps(out + at, _mm256_add_ps(_mm256_loadu_ps(out + at), values));
    });
  }

 private:
  static void encode_block(const float* values, std::int64_t size, std::byte* out,
                           float* residual) {
    const std::uint32_t largest_bits = largest_magnitude_bits(values, size);
    const auto largest = std::bit_cast<float>(largest_bits);
    const bool finite = largest_bits < kLeastInfinite_bits;
    const bool zero = finite && largest < kSmallest;
    float scale = zero ? 0.0F : largest / kLargest_code;
    if (!finite) scale = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(out, &scale, sizeof scale);
    out += kBlockScale_bytes;
    const __m256 factor = _mm256_set1_ps(zero || !finite ? 0.0F : kLargest_code / largest);
    for (std::int64_t i = 0; i < size; i += kStep) {
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + i), quantised(values + i, factor));
    }
    if (residual == nullptr || !finite) return;
    const __m256 back = _mm256_set1_ps(scale);
    for (std::int64_t i = 0; i < size; i += 8) {
      const __m256 lost = _mm256_sub_ps(_mm256_loadu_ps(values + i), decoded_bytes(out + i, back));
      _mm256_storeu_ps(residual + i, lost);
    }
  }
  template <typename F>
  void read(const std::byte* in, std::int64_t count, F use) const {
    for (std::int64_t at = 0; at < count; at += block_) {
      const std::int64_t size = std::min(block_, count - at);
      float factor = 0;
      std::memcpy(&factor, in, sizeof factor);
      in += kBlockScale_bytes;
      const __m256 scale = _mm256_set1_ps(factor);
      for (std::int64_t i = 0; i < size; i += 8) use(at + i, decoded_bytes(in + i, scale));
      in += size;
    }
  }

  std::int64_t block_;
};

}  // namespace

std::unique_ptr<BlockCodec> make_int8_codec(std::int64_t block) {
  return std::make_unique<Int8Codec>(block);
}

std::unique_ptr<BucketReduction> make_int8(const BucketReductionOptions& options) {
  return make_sliced(options, make_int8_codec(options.compression.block));
}

Cost cost_of_int8(const BucketReductionOptions& options) {
  return cost_of_sliced(options, *make_int8_codec(options.compression.block));
}

}  // namespace dlt::ddp
