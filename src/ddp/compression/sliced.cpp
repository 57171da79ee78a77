// SPDX-License-Identifier: Apache-2.0
#include "ddp/compression/sliced.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <immintrin.h>

#include "ddp/compression/node_sums.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

/// Whose elements are whose, and how many bytes that makes.
class SlicePlan {
 public:
  SlicePlan(int world_size, const BlockCodec& codec) : world_size_(world_size), codec_(&codec) {}

  [[nodiscard]] Bucket slice(const Bucket& bucket, int rank) const {
    const std::int64_t num_blocks = (size(bucket) + codec_->block() - 1) / codec_->block();
    const auto cut = [&](std::int64_t i) {
      return std::min(bucket.end, bucket.begin + num_blocks * i / world_size_ * codec_->block());
    };
    return {cut(rank), cut(rank + 1)};
  }
  [[nodiscard]] std::int64_t slice_bytes(const Bucket& bucket, int rank) const {
    return codec_->encoded_bytes(size(slice(bucket, rank)));
  }
  /// Of all slices.
  [[nodiscard]] std::int64_t bucket_bytes(const Bucket& bucket) const {
    std::int64_t bytes = 0;
    for (int r = 0; r < world_size_; ++r) bytes += slice_bytes(bucket, r);
    return bytes;
  }
  [[nodiscard]] std::int64_t sent_bytes(const Bucket& bucket, int rank) const {
    return bucket_bytes(bucket) + (world_size_ - 2) * slice_bytes(bucket, rank);
  }
  /// Room for what is under way in either direction: all slices, or mine from every rank.
  [[nodiscard]] std::int64_t room_bytes(const std::vector<Bucket>& buckets, int rank) const {
    std::int64_t most = 0;
    for (const Bucket& bucket : buckets) {
      most = std::max({most, bucket_bytes(bucket), world_size_ * slice_bytes(bucket, rank)});
    }
    return most;
  }

 private:
  int world_size_;
  const BlockCodec* codec_;
};

class SlicedReduction final : public BucketReduction {
 public:
  SlicedReduction(BucketReductionOptions options, std::unique_ptr<BlockCodec> codec)
      : options_(std::move(options)),
        codec_(std::move(codec)),
        plan_(options_.division.world_size(), *codec_),
        sum_(kChunk) {
    const std::int64_t room_bytes = plan_.room_bytes(options_.buckets, options_.rank);
    sent_ = tensor::Storage::allocate(room_bytes);
    received_ = tensor::Storage::allocate(room_bytes);
    if (options_.compression.has_error_feedback()) {
      residual_ =
          tensor::Storage::allocate(total_of(options_) * static_cast<std::int64_t>(sizeof(float)));
    }
    const auto world_size = static_cast<std::size_t>(options_.division.world_size());
    sends_.reserve(world_size);
    receives_.reserve(world_size);
  }

  void reduce(comm::Communicator& comm, std::size_t bucket) override {
    const Bucket& range = options_.buckets[bucket];
    send_slices(comm, range);
    finish_slice(range);
    gather_slices(comm, range);
  }
  [[nodiscard]] std::int64_t buffer_bytes() const override {
    return sent_.size_bytes() + received_.size_bytes() + residual_.size_bytes();
  }
  [[nodiscard]] ReductionState state() override {
    ReductionState out;
    if (residual_.size_bytes() > 0) {
      out.residual = {residual(), static_cast<std::size_t>(total_of(options_))};
    }
    return out;
  }

 private:
  [[nodiscard]] int world_size() const { return options_.division.world_size(); }
  [[nodiscard]] float* residual() { return reinterpret_cast<float*>(residual_.data()); }
  [[nodiscard]] float* residual_at(std::int64_t at) {
    return residual_.size_bytes() > 0 ? residual() + at : nullptr;
  }
  /// This rank's own numbers [at, at + count): its nodes' sum and what it owes.
  const float* own_values(std::int64_t at, std::int64_t count) {
    return sum_nodes(options_, residual_at(0), at, count);
  }

  void send_slices(comm::Communicator& comm, const Bucket& bucket) {
    sends_.clear();
    receives_.clear();
    std::byte* out = sent_.data();
    std::byte* in = received_.data();
    const std::int64_t my_bytes = plan_.slice_bytes(bucket, options_.rank);
    for (int r = 0; r < world_size(); ++r) {
      if (r == options_.rank) continue;
      const Bucket slice = plan_.slice(bucket, r);
      const std::byte* const begin = out;
      for (std::int64_t at = slice.begin; at < slice.end; at += kChunk) {
        const std::int64_t count = std::min(kChunk, slice.end - at);
        codec_->encode(own_values(at, count), count, out, residual_at(at));
        out += codec_->encoded_bytes(count);
      }
      sends_.push_back({.peer = r, .data = begin, .num_bytes = out - begin});
      receives_.push_back({.peer = r, .data = in, .num_bytes = my_bytes});
      in += my_bytes;
    }
    comm.exchange(sends_, receives_);
  }

  /// My slice of all ranks, added in rank order, encoded into sent_ and decoded into reduced.
  void finish_slice(const Bucket& bucket) {
    const Bucket mine = plan_.slice(bucket, options_.rank);
    const std::int64_t my_bytes = plan_.slice_bytes(bucket, options_.rank);
    std::int64_t done_bytes = 0;
    for (std::int64_t at = mine.begin; at < mine.end; at += kChunk) {
      const std::int64_t count = std::min(kChunk, mine.end - at);
      const std::byte* from = received_.data() + done_bytes;
      for (int r = 0; r < world_size(); ++r) {
        if (r == options_.rank) {
          add_own(own_values(at, count), count, r == 0);
          continue;
        }
        if (r == 0) {
          codec_->decode(from, count, sum_.data());
        } else {
          codec_->decode_add(from, count, sum_.data());
        }
        from += my_bytes;
      }
      std::byte* out = sent_.data() + done_bytes;
      codec_->encode(sum_.data(), count, out, residual_at(at));
      codec_->decode(out, count, options_.reduced + at);
      done_bytes += codec_->encoded_bytes(count);
    }
  }
  void add_own(const float* values, std::int64_t count, bool first) {
    if (first) {
      std::copy_n(values, count, sum_.data());
    } else {
      add(sum_.data(), sum_.data(), values, count);
    }
  }

  void gather_slices(comm::Communicator& comm, const Bucket& bucket) {
    sends_.clear();
    receives_.clear();
    std::byte* in = received_.data();
    for (int r = 0; r < world_size(); ++r) {
      if (r == options_.rank) continue;
      const std::int64_t bytes = plan_.slice_bytes(bucket, r);
      sends_.push_back(
          {.peer = r, .data = sent_.data(), .num_bytes = plan_.slice_bytes(bucket, options_.rank)});
      receives_.push_back({.peer = r, .data = in, .num_bytes = bytes});
      in += bytes;
    }
    comm.exchange(sends_, receives_);
    for (const comm::Receive& received : receives_) {
      const Bucket slice = plan_.slice(bucket, received.peer);
      codec_->decode(static_cast<const std::byte*>(received.data), size(slice),
                     options_.reduced + slice.begin);
    }
  }

  BucketReductionOptions options_;
  std::unique_ptr<BlockCodec> codec_;
  SlicePlan plan_;
  tensor::Storage sent_, received_;
  tensor::Storage residual_;  // flat; empty without error feedback
  std::vector<float> sum_;    // of a chunk
  std::vector<comm::Send> sends_;
  std::vector<comm::Receive> receives_;
};

}  // namespace

std::unique_ptr<BucketReduction> make_sliced(const BucketReductionOptions& options,
                                             std::unique_ptr<BlockCodec> codec) {
  return std::make_unique<SlicedReduction>(options, std::move(codec));
}

Cost cost_of_sliced(const BucketReductionOptions& options, const BlockCodec& codec) {
  const SlicePlan plan(options.division.world_size(), codec);
  Cost cost{.buffer_bytes = 2 * plan.room_bytes(options.buckets, options.rank)};
  for (const Bucket& bucket : options.buckets) {
    cost.sent_bytes += plan.sent_bytes(bucket, options.rank);
    cost.num_rounds += 2;
  }
  if (options.compression.has_error_feedback()) {
    cost.buffer_bytes += total_of(options) * static_cast<std::int64_t>(sizeof(float));
  }
  return cost;
}

std::uint32_t largest_magnitude_bits(const float* values, std::int64_t count) {
  const __m256i no_sign = _mm256_set1_epi32(0x7fffffff);
  const auto magnitudes = [&](std::int64_t at) {
    return _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + at)),
                            no_sign);
  };
  // As whole numbers, magnitudes are in the order of the floats, and a NaN is above all of them.
  __m256i a = _mm256_setzero_si256(), b = a;
  for (std::int64_t i = 0; i < count; i += 16) {
    a = _mm256_max_epi32(a, magnitudes(i));
    b = _mm256_max_epi32(b, magnitudes(i + 8));
  }
  a = _mm256_max_epi32(a, b);
  __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0b01001110));
  m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0b10110001));
  return static_cast<std::uint32_t>(_mm_cvtsi128_si32(m));
}

}  // namespace dlt::ddp
