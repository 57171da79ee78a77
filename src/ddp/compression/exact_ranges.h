// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "ddp/bucket_plan.h"
#include "ddp/compression/compression.h"

namespace dlt::ddp {

/// Where the exact ranges of buckets lie in a buffer without the rest. Pure.
class ExactRanges {
 public:
  ExactRanges(const std::vector<Bucket>& buckets, const std::vector<GradientRange>& ranges);

  struct Piece {
    std::int64_t begin = 0, end = 0;  // of the flat buffers, multiples of 16
    std::int64_t packed = 0;          // where it begins in the packed buffer
  };
  [[nodiscard]] const std::vector<Piece>& pieces(std::size_t bucket) const {
    return pieces_[bucket];
  }
  /// Nothing else lies in the bucket.
  [[nodiscard]] bool whole(std::size_t bucket) const { return whole_[bucket]; }
  /// The buckets of the packed buffer, none of them empty, and which of them is a bucket's.
  [[nodiscard]] const std::vector<Bucket>& packed_buckets() const { return packed_buckets_; }
  [[nodiscard]] std::size_t packed_bucket(std::size_t bucket) const { return index_[bucket]; }
  /// Elements of the packed buffer.
  [[nodiscard]] std::int64_t packed_total() const {
    return packed_buckets_.empty() ? 0 : packed_buckets_.back().end;
  }

 private:
  std::vector<std::vector<Piece>> pieces_;
  std::vector<bool> whole_;
  std::vector<Bucket> packed_buckets_;
  std::vector<std::size_t> index_;
};

}  // namespace dlt::ddp
