// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>

#include "ddp/compression/compression.h"

namespace dlt::ddp {

/// Numbers in fewer bytes, block by block, each block by itself. A NaN or infinity comes out as
/// such (or its whole block does). Any thread; allocates nothing. Counts are multiples of 16, and
/// of block() but for the last piece of a range; buffers need no alignment.
class BlockCodec {
 public:
  virtual ~BlockCodec() = default;
  /// Elements that are encoded together; divides kChunk.
  [[nodiscard]] virtual std::int64_t block() const = 0;
  [[nodiscard]] virtual std::int64_t encoded_bytes(std::int64_t count) const = 0;
  /// residual, where given, becomes values minus what decode() will give; that of a block with a
  /// NaN or infinity stays as it is.
  virtual void encode(const float* values, std::int64_t count, std::byte* out,
                      float* residual) const = 0;
  virtual void decode(const std::byte* in, std::int64_t count, float* out) const = 0;
  /// out += the numbers, one rounding an element.
  virtual void decode_add(const std::byte* in, std::int64_t count, float* out) const = 0;
};

/// Elements that pass through the first-level cache together.
inline constexpr std::int64_t kChunk = 4096;

[[nodiscard]] std::unique_ptr<BlockCodec> make_bf16_codec();
[[nodiscard]] std::unique_ptr<BlockCodec> make_fp16_codec();
[[nodiscard]] std::unique_ptr<BlockCodec> make_int8_codec(std::int64_t block);

}  // namespace dlt::ddp
