// SPDX-License-Identifier: Apache-2.0
// Gradients that cross ranks in fewer bytes than they have. Every compression is deterministic, but
// its bits depend on the number of ranks and on which leaves each runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tensor/flat_layout.h"

namespace dlt::ddp {

enum class Compression : std::uint8_t {
  none,
#define DLT_COMPRESSION(name) name,
#include "ddp/compression/compressions.def"
#undef DLT_COMPRESSION
};
/// "none", "bf16", ... in the order of the enumeration.
[[nodiscard]] const std::vector<std::string>& compression_names();
/// errors  Exit::internal for any other text
[[nodiscard]] Compression compression_of(std::string_view name);

struct CompressionOptions {
  Compression kind = Compression::none;
  std::int64_t block = 256;  // int8: elements that share a scale; a power of two, 16 to 4096
  std::int64_t rank = 4;     // powersgd
  double share = 0.1;        // topk: of the elements

  [[nodiscard]] bool active() const { return kind != Compression::none; }
  /// Ranks keep what was not sent and add it to the next step's gradient.
  [[nodiscard]] bool has_error_feedback() const;
};

/// A parameter's place in the flat buffers, seen as a matrix of its last axis.
struct GradientRange {
  std::int64_t begin = 0;  // elements
  std::int64_t end = 0;    // of the parameter, without the gap behind it
  std::int64_t rows = 1, cols = 1;
  bool exact = false;  // crosses ranks as it is
};

/// Below this size a parameter is not worth compressing.
inline constexpr std::int64_t kTiny_elements = 1024;

/// Every parameter of the layout. Exact are `statistics` (sums of the batch, not gradients), tiny
/// parameters, and what a compression does not make smaller: for powersgd vectors and matrices
/// whose factors have as many elements. Empty without compression.
[[nodiscard]] std::vector<GradientRange> gradient_ranges(const tensor::FlatLayout& layout,
                                                         const std::vector<std::string>& statistics,
                                                         const CompressionOptions& options);

}  // namespace dlt::ddp
