// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>

namespace dlt::data {

struct SamplerOptions {
  std::int64_t num_rows = 0;
  std::int64_t global_batch_size = 1;
  int num_leaves = 1;
  bool shuffle = true;
  bool streams = false;  // not together with shuffle
  std::uint64_t seed = 0;
};

/// Which samples a leaf of a step holds. A pure function; the same on every rank.
/// Step s counts from 0 over the whole run; epoch = s / steps_per_epoch(). The last batch of an
/// epoch may be short. A step's n samples are spread over the leaves by floor(v*n/V) cuts, so
/// leaves differ by one sample at most; leaf_capacity() = ceil(global_batch_size / num_leaves).
/// streams: sample i of the batches of an epoch walks through the rows from i · steps_per_epoch()
/// on, one a step, so that its rows follow each other; what fills no whole batch is left out.
class Sampler {
 public:
  explicit Sampler(const SamplerOptions& options);
  [[nodiscard]] std::int64_t steps_per_epoch() const;
  [[nodiscard]] std::int64_t leaf_capacity() const;
  [[nodiscard]] std::int64_t epoch_of(std::int64_t step) const;
  /// Samples of the whole step, over all leaves.
  [[nodiscard]] std::int64_t step_samples(std::int64_t step) const;
  /// Writes the data-set rows of a leaf to rows (leaf_capacity() long) and returns how many there
  /// are.
  std::int64_t leaf_rows(std::int64_t step, int leaf, std::span<std::int64_t> rows) const;
  /// The first of them, -1 if there is none.
  [[nodiscard]] std::int64_t first_row(std::int64_t step, int leaf) const;

 private:
  /// Places of a leaf's samples within their step.
  struct Range {
    std::int64_t begin = 0, end = 0;
  };
  [[nodiscard]] Range leaf_range(std::int64_t step, int leaf) const;
  void write_rows(std::int64_t step, std::int64_t begin, std::span<std::int64_t> rows) const;

  SamplerOptions options_;
};

}  // namespace dlt::data
