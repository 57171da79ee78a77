// SPDX-License-Identifier: Apache-2.0
#include "data/sampler.h"

#include <algorithm>
#include <string>

#include "base/error.h"
#include "data/permutation.h"

namespace dlt::data {

Sampler::Sampler(const SamplerOptions& options) : options_(options) {
  DLT_CHECK(options.num_rows >= 1, "a sampler needs rows");
  DLT_CHECK(options.global_batch_size >= 1 && options.global_batch_size <= (std::int64_t{1} << 40),
            "global_batch_size is out of range");
  DLT_CHECK(options.num_leaves >= 1 && options.num_leaves <= (1 << 20),
            "num_leaves is out of range");
  DLT_CHECK(!options.streams || (!options.shuffle && options.num_rows >= options.global_batch_size),
            "streams want rows in their order, one for each sample of a batch");
}

std::int64_t Sampler::steps_per_epoch() const {
  if (options_.streams) return options_.num_rows / options_.global_batch_size;
  return (options_.num_rows - 1) / options_.global_batch_size + 1;
}

std::int64_t Sampler::leaf_capacity() const {
  return (options_.global_batch_size - 1) / options_.num_leaves + 1;
}

std::int64_t Sampler::epoch_of(std::int64_t step) const { return step / steps_per_epoch(); }

std::int64_t Sampler::step_samples(std::int64_t step) const {
  const std::int64_t first = step % steps_per_epoch() * options_.global_batch_size;
  return std::min(options_.global_batch_size, options_.num_rows - first);
}

Sampler::Range Sampler::leaf_range(std::int64_t step, int leaf) const {
  DLT_CHECK(step >= 0 && leaf >= 0 && leaf < options_.num_leaves, "no such step or leaf");
  const std::int64_t samples = step_samples(step);
  return {leaf * samples / options_.num_leaves,
          (leaf + std::int64_t{1}) * samples / options_.num_leaves};
}

std::int64_t Sampler::leaf_rows(std::int64_t step, int leaf, std::span<std::int64_t> rows) const {
  const Range range = leaf_range(step, leaf);
  const std::int64_t count = range.end - range.begin;
  DLT_CHECK(count <= static_cast<std::int64_t>(rows.size()), "rows is shorter than the leaf");
  write_rows(step, range.begin, rows.first(static_cast<std::size_t>(count)));
  return count;
}

std::int64_t Sampler::first_row(std::int64_t step, int leaf) const {
  const Range range = leaf_range(step, leaf);
  std::int64_t row = -1;
  if (range.begin < range.end) write_rows(step, range.begin, {&row, 1});
  return row;
}

/// The rows of the step's samples from begin on, as many as there is room for.
void Sampler::write_rows(std::int64_t step, std::int64_t begin,
                         std::span<std::int64_t> rows) const {
  const std::int64_t per_epoch = steps_per_epoch();
  if (options_.streams) {
    for (std::int64_t& row : rows) row = begin++ * per_epoch + step % per_epoch;
    return;
  }
  std::int64_t place = step % per_epoch * options_.global_batch_size + begin;
  if (!options_.shuffle) {
    for (std::int64_t& row : rows) row = place++;
    return;
  }
  const Permutation permutation(options_.num_rows, options_.seed,
                                static_cast<std::uint64_t>(step / per_epoch));
  for (std::int64_t& row : rows) row = permutation(place++);
}

}  // namespace dlt::data
