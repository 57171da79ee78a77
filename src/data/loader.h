// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "data/augment.h"
#include "data/bad_samples.h"
#include "data/dataset.h"
#include "data/sampler.h"

namespace dlt::data {

/// One leaf's samples, ready for the executor. Rows past count are padding: weight 0, input and
/// target copies of row 0 of the leaf (never NaN), sample id -1. A bad sample that is passed over
/// is a copy of the leaf's first good one (zeros if there is none), with weight 0 and its own id.
struct LeafBatch {
  std::int64_t step = 0;
  int leaf = 0;
  std::int64_t count = 0;                    // real samples; 0: the leaf is empty in this step
  const void* inputs = nullptr;              // [capacity, input_shape...] f32 values or i32 tokens
  const void* targets = nullptr;             // [capacity, target_shape...] i32 or f32
  const std::int32_t* labels = nullptr;      // where targets are mixed labels: [capacity], the
                                             // label of each mixture's larger share
  const float* weights = nullptr;            // [capacity]: 1, or 0 for padding and bad samples
  std::span<const std::int64_t> sample_ids;  // data-set rows, capacity of them
};

struct LoaderOptions {
  int first_leaf = 0;  // the leaves this loader serves, in every step
  int num_leaves = 1;
  std::int64_t first_step = 0;
  std::int64_t end_step = 0;  // one past the last
  int num_threads =
      -1;            // -1 auto: 0 (read by the caller) where a leaf is small and in memory, else 1
  int prefetch = 4;  // leaves ahead
  const Augment* augment = nullptr;           // null: samples as they are read
  std::vector<std::int64_t> skip_steps = {};  // ascending: left out, nothing is read for them
  BadSamples* bad = nullptr;  // who is told of bad rows, which get weight 0; null: they are errors
};

/// Hands out the leaves [first_leaf, first_leaf + num_leaves) of step first_step, then of the next
/// step, and so on, in that order, whatever the number of loader threads. One loader for each
/// worker thread. Allocates only when made. A failure while reading is thrown by the next() that
/// would have returned the leaf.
class Loader {
 public:
  Loader(const Dataset& dataset, const Sampler& sampler, const LoaderOptions& options);
  ~Loader();
  /// Valid until the next call.
  [[nodiscard]] const LeafBatch& next();
  /// Bytes of its buffers.
  [[nodiscard]] std::int64_t buffer_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::data
