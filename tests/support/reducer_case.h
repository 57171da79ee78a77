// SPDX-License-Identifier: Apache-2.0
// Steps of a Reducer on made-up gradients that are a function of (step, leaf, element), so that any
// ranks and workers can run the same ones.
#pragma once

#include <chrono>
#include <cmath>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/rng.h"
#include "base/text.h"
#include "ddp/reducer.h"

namespace dlt::ddp {

struct ReducerCase {
  std::uint64_t seed = 7;
  int num_leaves = 1;
  int num_workers = 1;
  int num_params = 5;
  std::int64_t param_elements = 80;  // a multiple of 16
  std::int64_t bucket_elements = 160;
  int num_steps = 2;
  int num_empty = 0;         // the last leaves have no sample
  bool write_zeros = false;  // ... and say so by gradients of zero
  bool overlap = true;
  bool delays = false;  // workers pause here and there
  bool narrow = false;  // gradients in [0, 1) instead of all magnitudes
  Reduction reduction = Reduction::exact;
  bool shared_memory = true;
  CompressionOptions compression = {};
  std::int64_t param_rows = 16;  // of a parameter as a matrix
  int num_exact = 1;             // the last parameters are not compressed

  [[nodiscard]] std::string text() const {
    return cat("seed ", seed, ", ", num_leaves, " leaves, ", num_workers, " workers, buckets of ",
               bucket_elements, ", overlap ", overlap, ", shared memory ", shared_memory,
               ", compression ", compression_names()[static_cast<std::size_t>(compression.kind)]);
  }
  [[nodiscard]] ReducerOptions options() const {
    ReducerOptions options{.total = num_params * param_elements,
                           .num_leaves = num_leaves,
                           .num_workers = num_workers,
                           .reduction = reduction,
                           .overlap = overlap,
                           .shared_memory = shared_memory};
    for (std::int64_t at = 0; at < options.total; at += bucket_elements) {
      options.buckets.push_back({at, std::min(at + bucket_elements, options.total)});
    }
    options.compression = compression;
    for (int p = 0; p < num_params && compression.active(); ++p) {
      options.ranges.push_back({.begin = p * param_elements,
                                .end = (p + 1) * param_elements,
                                .rows = param_rows,
                                .cols = param_elements / param_rows,
                                .exact = p >= num_params - num_exact});
    }
    return options;
  }
  [[nodiscard]] bool empty(int leaf) const { return leaf >= num_leaves - num_empty; }
  /// Of any sign and of magnitudes from 1e-12 to 1e12: any other order of additions shows.
  [[nodiscard]] std::vector<float> gradients(std::int64_t step, int leaf) const {
    std::vector<float> values(static_cast<std::size_t>(num_params * param_elements));
    if (empty(leaf)) return values;
    const rng::Key key{.seed = seed,
                       .op = 1,
                       .epoch = static_cast<std::uint64_t>(step),
                       .sample = static_cast<std::uint64_t>(leaf)};
    for (std::size_t i = 0; i < values.size(); ++i) {
      const auto words = rng::block(key, static_cast<std::uint32_t>(i));
      const float magnitude =
          narrow ? 1.0F : std::pow(10.0F, 24.0F * rng::to_unit(words[1]) - 12.0F);
      values[i] = (narrow ? rng::to_unit(words[0]) : 2 * rng::to_unit(words[0]) - 1) * magnitude;
      if (!narrow && words[2] % 8 == 0) values[i] = -0.0F;
    }
    return values;
  }
  [[nodiscard]] std::vector<double> sums(std::int64_t step, int leaf) const {
    if (empty(leaf)) return {0, 0};
    const rng::Key key{.seed = seed,
                       .op = 2,
                       .epoch = static_cast<std::uint64_t>(step),
                       .sample = static_cast<std::uint64_t>(leaf)};
    return {std::exp(40.0 * rng::uniform(key, 0)), 3.0};
  }
};

/// What a step gave, compared by its bits.
struct Sums {
  std::vector<float> gradients;
  std::vector<double> sums;
  friend bool operator==(const Sums& a, const Sums& b) {
    return a.gradients.size() == b.gradients.size() && a.sums == b.sums &&
           std::memcmp(a.gradients.data(), b.gradients.data(),
                       a.gradients.size() * sizeof(float)) == 0;
  }
};

/// A worker's part of a step; from its leaf `fails_at` on it fails, half-way through.
inline void run_worker(Reducer& reducer, const ReducerCase& c, std::int64_t step, int worker,
                       int fails_at = -1) {
  const LeafRange leaves = reducer.worker_leaves(worker);
  for (int i = 0; i < leaves.size(); ++i) {
    const int leaf = leaves.begin + i;
    if (c.empty(leaf) && !c.write_zeros) {
      reducer.leaf_empty(worker, i);
      continue;
    }
    const std::vector<float> gradients = c.gradients(step, leaf);
    float* to = reducer.leaf_gradients(worker, i);
    reducer.leaf_sums(worker, i, c.sums(step, leaf));
    for (int p = 0; p < c.num_params; ++p) {
      if (i == fails_at && p == c.num_params / 2) return reducer.worker_failed(worker);
      if (c.delays) {
        const auto key = static_cast<std::uint32_t>(leaf * 97 + p * 31 + worker);
        const auto pause = rng::block({.seed = c.seed, .op = 3}, key)[0] % 4;
        std::this_thread::sleep_for(std::chrono::microseconds(pause * 60));
      }
      const auto offset = p * c.param_elements;
      std::memcpy(to + offset, gradients.data() + offset,
                  static_cast<std::size_t>(c.param_elements) * sizeof(float));
      reducer.gradients_final(worker, i, offset + c.param_elements);
    }
  }
}

inline Sums run_step(Reducer& reducer, const ReducerCase& c, std::int64_t step) {
  reducer.begin_step(step);
  {
    std::vector<std::jthread> workers;
    for (int w = 1; w < c.num_workers; ++w) {
      workers.emplace_back([&, w] { run_worker(reducer, c, step, w); });
    }
    run_worker(reducer, c, step, 0);
  }
  const StepResult& result = reducer.finish_step({});
  const auto total = static_cast<std::size_t>(c.num_params * c.param_elements);
  return {{reducer.reduced(), reducer.reduced() + total}, result.sums};
}

/// All steps; what the last one gave.
inline Sums run_steps(comm::Communicator& comm, const ReducerCase& c) {
  Reducer reducer(comm, c.options());
  Sums sums;
  for (int step = 0; step < c.num_steps; ++step) sums = run_step(reducer, c, step);
  return sums;
}

}  // namespace dlt::ddp
