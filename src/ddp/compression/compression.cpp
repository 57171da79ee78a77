// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/compression.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {

const std::vector<std::string>& compression_names() {
  static const std::vector<std::string> names{
      "none",
#define DLT_COMPRESSION(name) #name,
#include "ddp/compression/compressions.def"
#undef DLT_COMPRESSION
  };
  return names;
}

Compression compression_of(std::string_view name) {
  const auto& names = compression_names();
  const auto found = std::find(names.begin(), names.end(), name);
  DLT_CHECK(found != names.end(), cat("no compression is called ", name));
  return static_cast<Compression>(found - names.begin());
}

bool CompressionOptions::has_error_feedback() const {
  return kind == Compression::int8 || kind == Compression::powersgd || kind == Compression::topk;
}

std::vector<GradientRange> gradient_ranges(const tensor::FlatLayout& layout,
                                           const std::vector<std::string>& statistics,
                                           const CompressionOptions& options) {
  std::vector<GradientRange> ranges;
  if (!options.active()) return ranges;
  for (const tensor::FlatLayout::Entry& entry : layout.entries) {
    GradientRange range{.begin = entry.offset, .end = entry.offset + entry.numel};
    range.cols = entry.shape.rank() > 0 && entry.numel > 0 ? entry.shape.last() : 1;
    range.rows = entry.numel / std::max<std::int64_t>(1, range.cols);
    const bool statistic =
        std::find(statistics.begin(), statistics.end(), entry.name) != statistics.end();
    range.exact = statistic || entry.numel < kTiny_elements;
    if (options.kind == Compression::powersgd) {
      const std::int64_t rank = std::min({options.rank, range.rows, range.cols});
      if (rank * (range.rows + range.cols) >= entry.numel) range.exact = true;
    }
    ranges.push_back(range);
  }
  return ranges;
}

}  // namespace dlt::ddp
