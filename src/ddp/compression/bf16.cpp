// SPDX-License-Identifier: Apache-2.0
// Rounded to bf16, ties to even: half the bytes, 8 bits of precision, the range of f32.
#include <immintrin.h>

#include "ddp/compression/block_codec.h"
#include "ddp/compression/sliced.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kVector_elements = 16;

/// The bf16 of each number, in the lower half of its lane.
__m256i rounded(const float* values) {
  const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values));
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i nearest = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  // A NaN must not be rounded into an infinity: it is made quiet and cut.
  const __m256i magnitude = _mm256_and_si256(bits, _mm256_set1_epi32(0x7fffffff));
  const __m256i is_nan = _mm256_cmpgt_epi32(magnitude, _mm256_set1_epi32(0x7f800000));
  const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
  return _mm256_srli_epi32(_mm256_blendv_epi8(nearest, quiet, is_nan), 16);
}

__m256 widened(const std::byte* in) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(halves), 16));
}

class Bf16Codec final : public BlockCodec {
 public:
  [[nodiscard]] std::int64_t block() const override { return kVector_elements; }
  [[nodiscard]] std::int64_t encoded_bytes(std::int64_t count) const override { return 2 * count; }

  void encode(const float* values, std::int64_t count, std::byte* out,
              float* residual) const override {
    for (std::int64_t i = 0; i < count; i += kVector_elements) {
      const __m256i packed = _mm256_packus_epi32(rounded(values + i), rounded(values + i + 8));
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 2 * i),
                          _mm256_permute4x64_epi64(packed, 0b11011000));
    }
    if (residual == nullptr) return;
    for (std::int64_t i = 0; i < count; i += 8) {
      _mm256_storeu_ps(residual + i,
                       _mm256_sub_ps(_mm256_loadu_ps(values + i), widened(out + 2 * i)));
    }
  }
  void decode(const std::byte* in, std::int64_t count, float* out) const override {
    for (std::int64_t i = 0; i < count; i += 8) _mm256_storeu_ps(out + i, widened(in + 2 * i));
  }
  void decode_add(const std::byte* in, std::int64_t count, float* out) const override {
    for (std::int64_t i = 0; i < count; i += 8) {
      _mm256_storeu_ps(out + i, _mm256_add_ps(_mm256_loadu_ps(out + i), widened(in + 2 * i)));
    }
  }
};

}  // namespace

std::unique_ptr<BlockCodec> make_bf16_codec() { return std::make_unique<Bf16Codec>(); }

std::unique_ptr<BucketReduction> make_bf16(const BucketReductionOptions& options) {
  return make_sliced(options, make_bf16_codec());
}

Cost cost_of_bf16(const BucketReductionOptions& options) {
  return cost_of_sliced(options, *make_bf16_codec());
}

}  // namespace dlt::ddp
