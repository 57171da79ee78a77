// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/exact_ranges.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "ddp/compression/reductions.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kParameterGrain = 16;  // parameters begin at multiples of it

std::int64_t round_up(std::int64_t at) {
  return (at + kParameterGrain - 1) / kParameterGrain * kParameterGrain;
}

BucketReductionOptions packed_options(const BucketReductionOptions& options,
                                      const ExactRanges& exact) {
  return {.rank = options.rank,
          .division = options.division,
          .buckets = exact.packed_buckets(),
          .nodes = std::vector<float*>(options.nodes.size(), nullptr)};
}

std::unique_ptr<BucketReduction> make_inner(const BucketReductionOptions& options) {
  switch (options.compression.kind) {
    case Compression::none:
      break;
#define DLT_COMPRESSION(name) \
  case Compression::name:     \
    return make_##name(options);
#include "ddp/compression/compressions.def"
#undef DLT_COMPRESSION
  }
  throw Error(Exit::internal, "no compression to make");
}

Cost cost_of_inner(const BucketReductionOptions& options) {
  switch (options.compression.kind) {
    case Compression::none:
      break;
#define DLT_COMPRESSION(name) \
  case Compression::name:     \
    return cost_of_##name(options);
#include "ddp/compression/compressions.def"
#undef DLT_COMPRESSION
  }
  return {};
}

/// A compression that leaves some ranges of the buckets alone.
class PartlyExact final : public BucketReduction {
 public:
  explicit PartlyExact(const BucketReductionOptions& options)
      : nodes_(options.nodes),
        reduced_(options.reduced),
        exact_(options.buckets, options.ranges),
        compressed_(make_inner(options)) {
    if (exact_.packed_total() == 0) return;
    BucketReductionOptions packed = packed_options(options, exact_);
    const std::int64_t num_bytes = exact_.packed_total() * kElement_bytes;
    for (float*& node : packed.nodes) {
      memory_.push_back(tensor::Storage::allocate(num_bytes));
      node = reinterpret_cast<float*>(memory_.back().data());
    }
    memory_.push_back(tensor::Storage::allocate(num_bytes));
    packed.reduced = reinterpret_cast<float*>(memory_.back().data());
    packed_nodes_ = packed.nodes;
    packed_reduced_ = packed.reduced;
    reduction_ = make_bucket_reduction(Reduction::exact, packed);
  }

  void begin_step(std::int64_t step) override {
    compressed_->begin_step(step);
    if (reduction_) reduction_->begin_step(step);
  }
  void reduce(comm::Communicator& comm, std::size_t bucket) override {
    const auto& pieces = exact_.pieces(bucket);
    if (!pieces.empty()) {
      take(pieces);
      reduction_->reduce(comm, exact_.packed_bucket(bucket));
    }
    if (!exact_.whole(bucket)) compressed_->reduce(comm, bucket);
    for (const ExactRanges::Piece& piece : pieces) {
      std::copy_n(packed_reduced_ + piece.packed, piece.end - piece.begin, reduced_ + piece.begin);
    }
  }
  [[nodiscard]] std::int64_t buffer_bytes() const override {
    std::int64_t bytes = compressed_->buffer_bytes();
    for (const tensor::Storage& memory : memory_) bytes += memory.size_bytes();
    return bytes + (reduction_ ? reduction_->buffer_bytes() : 0);
  }
  [[nodiscard]] ReductionState state() override { return compressed_->state(); }

 private:
  /// Out of the nodes, leaving zeros.
  void take(const std::vector<ExactRanges::Piece>& pieces) {
    for (std::size_t n = 0; n < nodes_.size(); ++n) {
      for (const ExactRanges::Piece& piece : pieces) {
        float* from = nodes_[n] + piece.begin;
        const std::int64_t count = piece.end - piece.begin;
        std::copy_n(from, count, packed_nodes_[n] + piece.packed);
        std::fill_n(from, count, 0.0F);
      }
    }
  }

  std::vector<float*> nodes_, packed_nodes_;
  float* reduced_ = nullptr;
  float* packed_reduced_ = nullptr;
  ExactRanges exact_;
  std::vector<tensor::Storage> memory_;
  std::unique_ptr<BucketReduction> compressed_;
  std::unique_ptr<BucketReduction> reduction_;  // of the exact ranges; null if there are none
};

}  // namespace

ExactRanges::ExactRanges(const std::vector<Bucket>& buckets,
                         const std::vector<GradientRange>& ranges)
    : pieces_(buckets.size()), whole_(buckets.size(), false), index_(buckets.size(), 0) {
  std::int64_t packed = 0;
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const std::int64_t packed_begin = packed;
    bool all_exact = !ranges.empty();
    for (const GradientRange& range : ranges) {
      if (range.end <= buckets[b].begin || range.begin >= buckets[b].end) continue;
      if (!range.exact) {
        all_exact = false;
        continue;
      }
      const std::int64_t begin = range.begin, end = round_up(range.end);
      DLT_CHECK(begin >= buckets[b].begin && end <= buckets[b].end,
                "buckets hold whole parameters");
      auto& pieces = pieces_[b];
      if (!pieces.empty() && pieces.back().end == begin) {
        pieces.back().end = end;
      } else {
        pieces.push_back({.begin = begin, .end = end, .packed = packed});
      }
      packed += end - begin;
    }
    whole_[b] = all_exact;
    if (packed == packed_begin) continue;
    index_[b] = packed_buckets_.size();
    packed_buckets_.push_back({packed_begin, packed});
  }
}

std::unique_ptr<BucketReduction> make_compressed_reduction(const BucketReductionOptions& options) {
  for (const Bucket& bucket : options.buckets) {
    DLT_CHECK(bucket.begin % kParameterGrain == 0 && bucket.end % kParameterGrain == 0,
              "compressed buckets are whole cache lines");
  }
  return std::make_unique<PartlyExact>(options);
}

Cost cost_of_compressed_reduction(const BucketReductionOptions& options) {
  const ExactRanges exact(options.buckets, options.ranges);
  Cost cost = cost_of_inner(options);
  for (std::size_t b = 0; b < options.buckets.size(); ++b) {
    if (!exact.whole(b)) continue;
    BucketReductionOptions one = options;  // what is all exact is not sent compressed
    one.buckets = {options.buckets[b]};
    const Cost unspent = cost_of_inner(one);
    cost.sent_bytes -= unspent.sent_bytes;
    cost.num_rounds -= unspent.num_rounds;
  }
  if (exact.packed_total() == 0) return cost;
  const Cost packed = cost_of_exact_reduction(packed_options(options, exact));
  cost.buffer_bytes +=
      packed.buffer_bytes +
      exact.packed_total() * kElement_bytes * (static_cast<std::int64_t>(options.nodes.size()) + 1);
  cost.sent_bytes += packed.sent_bytes;
  cost.num_rounds += packed.num_rounds;
  return cost;
}

}  // namespace dlt::ddp
