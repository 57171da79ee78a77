// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "ddp/leaf_tree.h"

namespace dlt::ddp {

/// Additions of the leaf tree over sources that stay as they are: intermediate sums live in a
/// small buffer that fits the cache, results go where they are wanted. Allocates when made only.
class TreeSum {
 public:
  TreeSum() = default;
  /// additions: dst += src over sources 0 to num_sources - 1, in order; results: the sources that
  /// hold a result then.
  TreeSum(int num_sources, const std::vector<Addition>& additions, const std::vector<int>& results);

  [[nodiscard]] std::size_t num_sources() const { return num_sources_; }
  [[nodiscard]] std::size_t num_results() const { return results_.size(); }
  /// The source that is a result as it is, without any addition; -1 if result i is a sum.
  [[nodiscard]] int plain_source(std::size_t i) const { return results_[i].plain_source; }
  /// Results are written past the caches from now on.
  void write_past_caches() { past_caches_ = true; }
  /// Elements [0, count) of all results. A result may lie where one of its sources lies, and
  /// nowhere else among them. A plain source that already lies there is not copied.
  void run(std::span<const float* const> sources, std::span<float* const> results,
           std::int64_t count);

 private:
  struct Result {
    int source = 0;
    int plain_source = -1;
  };
  struct Step {
    std::size_t left = 0;  // source whose place takes the sum
    std::size_t right = 0;
    int result = -1;   // where the sum goes: a result ...
    int scratch = -1;  // ... or a block of scratch
  };
  void run_block(std::span<float* const> results, std::int64_t at, std::int64_t count);

  std::size_t num_sources_ = 0;
  std::vector<Step> steps_;
  std::vector<Result> results_;
  std::vector<float> scratch_;
  std::vector<const float*> values_;  // of the block under way
  bool past_caches_ = false;
};

}  // namespace dlt::ddp
