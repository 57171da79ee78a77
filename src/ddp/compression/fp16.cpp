// SPDX-License-Identifier: Apache-2.0
// Rounded to fp16, ties to even, each block scaled by the power of two that brings its largest
// number just below fp16's largest: half the bytes, 11 bits of precision, nothing overflows, and
// what is up to 2^29 times smaller than the largest of its block is still there.
#include <algorithm>
#include <bit>
#include <cstring>

#include <immintrin.h>

#include "ddp/compression/block_codec.h"
#include "ddp/compression/sliced.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kBlock_elements = 1024;
constexpr std::int64_t kScale_bytes = 4;
constexpr int kTop_exponent = 14;  // the scaled largest is below 2^15: rounded up it stays finite
constexpr std::uint32_t kInfinity_bits = 0x7f800000;

float power_of_two(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

/// What decoding multiplies by, and one over it.
struct Scale {
  float decode = 1;
  float encode = 1;
};

Scale scale_of(std::uint32_t largest_bits) {
  // A NaN or infinity goes through as it is.
  if (largest_bits >= kInfinity_bits) return {};
  const int exponent = static_cast<int>(largest_bits >> 23) - 127;
  const int shift = std::clamp(kTop_exponent - exponent, -126, 126);
  return {.decode = power_of_two(-shift), .encode = power_of_two(shift)};
}

__m256 decoded_halves(const std::byte* in, __m256 scale) {
  const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
  return _mm256_mul_ps(_mm256_cvtph_ps(halves), scale);
}

class Fp16Codec final : public BlockCodec {
 public:
  [[nodiscard]] std::int64_t block() const override { return kBlock_elements; }
  [[nodiscard]] std::int64_t encoded_bytes(std::int64_t count) const override {
    return 2 * count + (count + kBlock_elements - 1) / kBlock_elements * kScale_bytes;
  }
  void encode(const float* values, std::int64_t count, std::byte* out,
              float* residual) const override {
    each_block(count, [&](std::int64_t at, std::int64_t size) {
      const Scale scale = scale_of(largest_magnitude_bits(values + at, size));
      std::memcpy(out, &scale.decode, sizeof scale.decode);
      out += kScale_bytes;
      const __m256 factor = _mm256_set1_ps(scale.encode);
      for (std::int64_t i = 0; i < size; i += 8) {
        const __m256 scaled = _mm256_mul_ps(_mm256_loadu_ps(values + at + i), factor);
        _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 2 * i),
                         _mm256_cvtps_ph(scaled, _MM_FROUND_TO_NEAREST_INT));
      }
      if (residual != nullptr) {
        const __m256 back = _mm256_set1_ps(scale.decode);
        for (std::int64_t i = 0; i < size; i += 8) {
          const __m256 lost =
              _mm256_sub_ps(_mm256_loadu_ps(values + at + i), decoded_halves(out + 2 * i, back));
          _mm256_storeu_ps(residual + at + i, lost);
        }
      }
      out += 2 * size;
    });
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
  template <typename F>
  static void each_block(std::int64_t count, F use) {
    for (std::int64_t at = 0; at < count; at += kBlock_elements) {
      use(at, std::min(kBlock_elements, count - at));
    }
  }
  template <typename F>
  static void read(const std::byte* in, std::int64_t count, F use) {
    each_block(count, [&](std::int64_t at, std::int64_t size) {
      float factor = 0;
      std::memcpy(&factor, in, sizeof factor);
      in += kScale_bytes;
      const __m256 scale = _mm256_set1_ps(factor);
      for (std::int64_t i = 0; i < size; i += 8) use(at + i, decoded_halves(in + 2 * i, scale));
      in += 2 * size;
    });
  }
};

}  // namespace

std::unique_ptr<BlockCodec> make_fp16_codec() { return std::make_unique<Fp16Codec>(); }

std::unique_ptr<BucketReduction> make_fp16(const BucketReductionOptions& options) {
  return make_sliced(options, make_fp16_codec());
}

Cost cost_of_fp16(const BucketReductionOptions& options) {
  return cost_of_sliced(options, *make_fp16_codec());
}

}  // namespace dlt::ddp
