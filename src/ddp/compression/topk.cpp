// SPDX-License-Identifier: Apache-2.0
// The largest elements of each bucket, as place and value; all else is kept for the next steps.
// source  Stich, Cordonnier & Jaggi 2018, "Sparsified SGD with memory", arXiv:1809.07599
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>
#include <vector>

#include <immintrin.h>

#include "base/error.h"
#include "ddp/compression/node_sums.h"
#include "ddp/compression/reductions.h"
#include "ddp/compression/top_elements.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

struct Entry {
  std::uint32_t place = 0;  // within the bucket
  float value = 0;
};
constexpr auto kEntry_bytes = static_cast<std::int64_t>(sizeof(Entry));

/// Entries that a rank sends of a bucket.
std::int64_t num_entries(const BucketReductionOptions& options, const Bucket& bucket) {
  std::int64_t count = bucket.end - bucket.begin;
  for (const GradientRange& range : options.ranges) {
    if (range.exact && range.begin >= bucket.begin && range.begin < bucket.end) {
      count -= range.end - range.begin;
    }
  }
  const double share = std::ceil(options.compression.share * static_cast<double>(count));
  return std::clamp<std::int64_t>(static_cast<std::int64_t>(share), 1,
                                  std::max<std::int64_t>(1, count));
}

struct Sizes {
  std::int64_t most_entries = 0, longest = 0, total = 0;
  explicit Sizes(const BucketReductionOptions& options) : total(total_of(options)) {
    for (const Bucket& bucket : options.buckets) {
      most_entries = std::max(most_entries, num_entries(options, bucket));
      longest = std::max(longest, bucket.end - bucket.begin);
    }
  }
};

class TopkReduction final : public BucketReduction {
 public:
  explicit TopkReduction(BucketReductionOptions options)
      : options_(std::move(options)), sizes_(options_), top_(sizes_.longest) {
    DLT_CHECK(sizes_.longest <= UINT32_MAX, "a bucket's places fit 32 bits");
    residual_ = tensor::Storage::allocate(sizes_.total * static_cast<std::int64_t>(sizeof(float)));
    entries_ = tensor::Storage::allocate(sizes_.most_entries * kEntry_bytes * world_size());
    sends_.reserve(static_cast<std::size_t>(world_size()));
    receives_.reserve(static_cast<std::size_t>(world_size()));
  }

  void reduce(comm::Communicator& comm, std::size_t bucket) override {
    const Bucket& range = options_.buckets[bucket];
    const std::int64_t count = range.end - range.begin;
    const std::int64_t k = num_entries(options_, range);
    const float* values = nullptr;
    top_.begin();
    for (std::int64_t at = 0; at < count; at += kBlock) {
      const std::int64_t size = std::min(kBlock, count - at);
      const float* block = sum_nodes(options_, residual(), range.begin + at, size);
      if (at == 0) values = block;
      top_.look_at(block, size);
    }
    Entry* mine = entries_of(options_.rank, k);
    std::int64_t n = 0;
    top_.choose(values, count, k,
                [&](std::uint32_t place) { mine[n++] = {.place = place, .value = values[place]}; });
    exchange(comm, k);
    if (all_finite(k)) keep_rest(values, range, k);
    add_entries(range, k);
  }
  [[nodiscard]] std::int64_t buffer_bytes() const override {
    return residual_.size_bytes() + entries_.size_bytes() + top_.buffer_bytes();
  }
  [[nodiscard]] ReductionState state() override {
    return {.residual = {residual(), static_cast<std::size_t>(sizes_.total)}};
  }

 private:
  [[nodiscard]] int world_size() const { return options_.division.world_size(); }
  [[nodiscard]] float* residual() { return reinterpret_cast<float*>(residual_.data()); }
  [[nodiscard]] Entry* entries_of(int rank, std::int64_t k) {
    return reinterpret_cast<Entry*>(entries_.data()) + rank * k;
  }

  void exchange(comm::Communicator& comm, std::int64_t k) {
    sends_.clear();
    receives_.clear();
    const std::int64_t num_bytes = k * kEntry_bytes;
    for (int r = 0; r < world_size(); ++r) {
      if (r == options_.rank) continue;
      sends_.push_back({.peer = r, .data = entries_of(options_.rank, k), .num_bytes = num_bytes});
      receives_.push_back({.peer = r, .data = entries_of(r, k), .num_bytes = num_bytes});
    }
    comm.exchange(sends_, receives_);
  }
  /// False on all ranks if any has sent a NaN or infinity (which are the largest of all): the step
  /// does not count then, and nobody takes its residual for delivered.
  [[nodiscard]] bool all_finite(std::int64_t k) {
    bool finite = true;
    const Entry* entries = entries_of(0, k);
    for (std::int64_t i = 0; i < k * world_size(); ++i) finite &= std::isfinite(entries[i].value);
    return finite;
  }
  void keep_rest(const float* values, const Bucket& range, std::int64_t k) {
    float* rest = residual() + range.begin;
    std::copy_n(values, range.end - range.begin, rest);
    const Entry* mine = entries_of(options_.rank, k);
    for (std::int64_t i = 0; i < k; ++i) rest[mine[i].place] = 0;
  }
  void add_entries(const Bucket& range, std::int64_t k) {
    float* sum = options_.reduced + range.begin;
    std::fill_n(sum, range.end - range.begin, 0.0F);
    for (int r = 0; r < world_size(); ++r) {
      const Entry* entries = entries_of(r, k);
      for (std::int64_t i = 0; i < k; ++i) sum[entries[i].place] += entries[i].value;
    }
  }

  BucketReductionOptions options_;
  Sizes sizes_;
  TopElements top_;
  tensor::Storage residual_;
  tensor::Storage entries_;  // of all ranks
  std::vector<comm::Send> sends_;
  std::vector<comm::Receive> receives_;
};

}  // namespace

std::unique_ptr<BucketReduction> make_topk(const BucketReductionOptions& options) {
  return std::make_unique<TopkReduction>(options);
}

Cost cost_of_topk(const BucketReductionOptions& options) {
  const Sizes sizes(options);
  const std::int64_t world_size = options.division.world_size();
  Cost cost{.buffer_bytes = sizes.total * static_cast<std::int64_t>(sizeof(float)) +
                            sizes.most_entries * kEntry_bytes * world_size +
                            TopElements::buffer_bytes(sizes.longest)};
  for (const Bucket& bucket : options.buckets) {
    cost.sent_bytes += num_entries(options, bucket) * kEntry_bytes * (world_size - 1);
    ++cost.num_rounds;
  }
  return cost;
}

}  // namespace dlt::ddp
