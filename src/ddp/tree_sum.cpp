// SPDX-License-Identifier: Apache-2.0
#include "ddp/tree_sum.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "ddp/sum.h"

namespace dlt::ddp {

TreeSum::TreeSum(int num_sources, const std::vector<Addition>& additions,
                 const std::vector<int>& results)
    : num_sources_(static_cast<std::size_t>(num_sources)), values_(num_sources_) {
  std::vector<int> place(num_sources_, -1);  // of each source's sum so far: its block of scratch
  std::vector<int> free;
  int num_blocks = 0;
  std::vector<int> last(num_sources_, -1);  // the addition that makes it final
  for (std::size_t i = 0; i < additions.size(); ++i) {
    last[static_cast<std::size_t>(additions[i].dst)] = static_cast<int>(i);
  }
  for (const int source : results) {
    const bool plain = last[static_cast<std::size_t>(source)] < 0;
    results_.push_back({.source = source, .plain_source = plain ? source : -1});
  }
  for (std::size_t i = 0; i < additions.size(); ++i) {
    Step step{.left = static_cast<std::size_t>(additions[i].dst),
              .right = static_cast<std::size_t>(additions[i].src)};
    const auto result = std::find(results.begin(), results.end(), additions[i].dst);
    if (result != results.end() && last[step.left] == static_cast<int>(i)) {
      step.result = static_cast<int>(result - results.begin());
    } else {
      if (place[step.left] < 0) {
        if (free.empty()) free.push_back(num_blocks++);
        place[step.left] = free.back();
        free.pop_back();
      }
      step.scratch = place[step.left];
    }
    if (place[step.right] >= 0) free.push_back(place[step.right]);
    steps_.push_back(step);
  }
  scratch_.resize(static_cast<std::size_t>(num_blocks) * kBlock);
}

void TreeSum::run(std::span<const float* const> sources, std::span<float* const> results,
                  std::int64_t count) {
  DLT_CHECK(sources.size() == num_sources_ && results.size() == results_.size(),
            "tree sum: a pointer for each source and result");
  for (std::int64_t at = 0; at < count; at += kBlock) {
    for (std::size_t i = 0; i < num_sources_; ++i) values_[i] = sources[i] + at;
    run_block(results, at, std::min(kBlock, count - at));
  }
}

void TreeSum::run_block(std::span<float* const> results, std::int64_t at, std::int64_t count) {
  for (std::size_t r = 0; r < results_.size(); ++r) {
    const int plain = results_[r].plain_source;
    if (plain < 0) continue;
    const float* from = values_[static_cast<std::size_t>(plain)];
    if (from == results[r] + at) continue;
    std::memcpy(results[r] + at, from, static_cast<std::size_t>(count) * sizeof(float));
  }
  for (const Step& step : steps_) {
    float* to = step.result >= 0
                    ? results[static_cast<std::size_t>(step.result)] + at
                    : scratch_.data() + static_cast<std::size_t>(step.scratch) * kBlock;
    const bool past_caches = past_caches_ && step.result >= 0;
    (past_caches ? add_past_caches : add)(to, values_[step.left], values_[step.right], count);
    values_[step.left] = to;
  }
}

}  // namespace dlt::ddp
