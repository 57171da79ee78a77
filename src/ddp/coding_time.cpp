// SPDX-License-Identifier: Apache-2.0
#include "ddp/coding_time.h"

#include <algorithm>
#include <cstdint>

#include "base/error.h"
#include "base/rng.h"
#include "ddp/compression/exact_ranges.h"
#include "tensor/storage.h"

namespace dlt::ddp {
namespace {

constexpr int kFew_ranks = 2, kMore_ranks = 8;
constexpr int kRounds = 7;
constexpr std::size_t kRandom = 1 << 16;  // numbers, over and over
constexpr double kLong_enough_s = 0.5;

/// Ranks of whom only one is there: what it receives stays as it was, zeros.
class SilentCommunicator final : public comm::Communicator {
 public:
  explicit SilentCommunicator(int world_size) : world_size_(world_size) {}
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int world_size() const override { return world_size_; }
  [[nodiscard]] int local_rank() const override { return 0; }
  [[nodiscard]] int local_size() const override { return 1; }
  [[nodiscard]] std::string name() const override { return "silent"; }
  void allreduce(comm::Buffer /*buffer*/, comm::ReduceOp /*op*/) override {}
  void broadcast(void* /*data*/, std::int64_t /*num_bytes*/, int /*root*/) override {}
  void allgather(const void* /*send*/, void* /*recv*/, std::int64_t /*num_bytes*/) override {}
  void barrier() override {}
  void exchange(std::span<const comm::Send> /*sends*/,
                std::span<const comm::Receive> /*receives*/) override {}
  [[nodiscard]] std::unique_ptr<comm::Communicator> duplicate() override {
    return std::make_unique<SilentCommunicator>(world_size_);
  }
  [[noreturn]] void abort(int exit_code) override {
    throw Error(static_cast<Exit>(exit_code), "nobody to end");
  }

 private:
  int world_size_;
};

double middle_time(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

/// Seconds of each bucket's reduction.
std::vector<double> measure_reduction(const ReducerOptions& options, int world_size,
                                      const Clock& clock) {
  const auto total = static_cast<std::size_t>(options.total);
  std::vector<float> gradients(total);
  const rng::Key key{.op = rng::op_id("coding_time")};
  for (std::size_t i = 0; i < total; ++i) {
    gradients[i] = i < kRandom ? rng::normal(key, i) : gradients[i - kRandom];
  }
  const tensor::Storage flat = tensor::Storage::allocate(options.flat_bytes());
  auto* node = reinterpret_cast<float*>(flat.data());
  const auto reduction =
      make_bucket_reduction(Reduction::exact, {.rank = 0,
                                               .division = LeafDivision(world_size, world_size),
                                               .buckets = options.buckets,
                                               .nodes = {node},
                                               .reduced = node,
                                               .compression = options.compression,
                                               .ranges = options.ranges});
  SilentCommunicator comm(world_size);
  std::vector<std::vector<double>> times(options.buckets.size());
  const double start_s = clock.monotonic_s();
  for (int round = 0; round <= kRounds; ++round) {  // the first one touches all memory
    if (round > 1 && clock.monotonic_s() - start_s > kLong_enough_s) break;
    std::copy(gradients.begin(), gradients.end(), node);
    reduction->begin_step(round);
    for (std::size_t b = 0; b < options.buckets.size(); ++b) {
      const double before = clock.monotonic_s();
      reduction->reduce(comm, b);
      if (round > 0) times[b].push_back(clock.monotonic_s() - before);
    }
  }
  std::vector<double> medians;
  for (std::vector<double>& of_bucket : times) medians.push_back(middle_time(std::move(of_bucket)));
  return medians;
}

/// Bytes that a rank reads and writes for an element, with any number of ranks; blocks that stay in
/// the first-level cache count once.
double bytes_of_element(Compression kind) {
  switch (kind) {
    case Compression::none:
      break;
    case Compression::bf16:
    case Compression::fp16:
      return 4 + 2 + 2 + 2 + 4;  // read, sent; received, added; received, written
    case Compression::int8:
      return 8 + 4 + 4 + 1 + 1 + 1 + 4;  // gradient, residual; both written back; as above
    case Compression::powersgd:
      return 8 + 4 + 4 + 4 + 4 + 4 + 4;  // summed; two products; the result and what is left
    case Compression::topk:
      return 8 + 4 + 4 + 8 + 4;  // summed; chosen; what is left; zeros
  }
  return 0;
}

/// Each entry is looked at, read, and added.
constexpr double kEntryTraffic_bytes = 8 + 8 + 8;

}  // namespace

std::vector<CodingTime> measure_coding(const ReducerOptions& options, const Clock& clock) {
  std::vector<CodingTime> out;
  if (!options.compression.active()) return out;
  for (const double seconds : measure_reduction(options, kFew_ranks, clock)) {
    out.push_back({.two_ranks_s = seconds});
  }
  // Of the others all that matters is the size of a bucket, however many send a part of it.
  if (options.compression.kind != Compression::topk) return out;
  const std::vector<double> more = measure_reduction(options, kMore_ranks, clock);
  for (std::size_t b = 0; b < out.size(); ++b) {
    out[b].further_rank_s =
        std::max(0.0, more[b] - out[b].two_ranks_s) / (kMore_ranks - kFew_ranks);
  }
  return out;
}

std::vector<CodingTime> suppose_coding(const ReducerOptions& options, double memory_bytes_per_s) {
  std::vector<CodingTime> out;
  if (!options.compression.active()) return out;
  const ExactRanges exact(options.buckets, options.ranges);
  const bool topk = options.compression.kind == Compression::topk;
  for (std::size_t b = 0; b < options.buckets.size(); ++b) {
    std::int64_t count = options.buckets[b].end - options.buckets[b].begin;
    for (const ExactRanges::Piece& piece : exact.pieces(b)) count -= piece.end - piece.begin;
    const auto elements = static_cast<double>(count);
    const double entries_s =
        topk ? elements * options.compression.share * kEntryTraffic_bytes / memory_bytes_per_s : 0;
    const double passes_s =
        elements * bytes_of_element(options.compression.kind) / memory_bytes_per_s;
    out.push_back({.two_ranks_s = passes_s + 2 * entries_s, .further_rank_s = entries_s});
  }
  return out;
}

}  // namespace dlt::ddp
