// SPDX-License-Identifier: Apache-2.0
#include "ddp/balance.h"

#include <algorithm>
#include <utility>

#include "base/error.h"

namespace dlt::ddp {
namespace {

constexpr int kFirst_window_steps = 8;
constexpr int kLongest_window_steps = 256;
constexpr int kSteps_to_skip = 2;  // cold caches after a start or a move
constexpr double kLeast_gain = 0.05;
constexpr double kLeast_return = 2;

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

std::vector<int> leaf_counts(const LeafDivision& division) {
  std::vector<int> leaves;
  for (int r = 0; r < division.world_size(); ++r) leaves.push_back(division.of(r).size());
  return leaves;
}

double step_s(std::span<const RankSpeed> speeds, const std::vector<int>& leaves) {
  double longest = 0;
  for (std::size_t r = 0; r < speeds.size(); ++r) {
    longest = std::max(longest, speeds[r].time_s(leaves[r]));
  }
  return longest;
}

/// The rank that would be done first with one leaf more.
std::size_t first_with_more(std::span<const RankSpeed> speeds, const std::vector<int>& leaves) {
  std::size_t best = 0;
  for (std::size_t r = 1; r < speeds.size(); ++r) {
    if (speeds[r].time_s(leaves[r] + 1) < speeds[best].time_s(leaves[best] + 1)) best = r;
  }
  return best;
}

/// Half of the way, rounded up: leaves go from ranks that have too many to ranks that have too few.
std::vector<int> half_way(std::vector<int> leaves, const std::vector<int>& best) {
  int surplus = 0;
  for (std::size_t r = 0; r < leaves.size(); ++r) surplus += std::max(0, leaves[r] - best[r]);
  const auto gap = [&](std::size_t r) { return leaves[r] - best[r]; };
  for (int i = 0; i < (surplus + 1) / 2; ++i) {
    std::size_t from = 0, to = 0;
    for (std::size_t r = 1; r < leaves.size(); ++r) {
      if (gap(r) > gap(from)) from = r;
      if (gap(r) < gap(to)) to = r;
    }
    --leaves[from];
    ++leaves[to];
  }
  return leaves;
}

LeafDivision division_of(const std::vector<int>& leaves) {
  std::vector<int> cuts{0};
  for (const int count : leaves) cuts.push_back(cuts.back() + count);
  return LeafDivision(std::move(cuts));
}

}  // namespace

std::vector<int> best_leaves(std::span<const RankSpeed> speeds, int num_leaves) {
  DLT_CHECK(num_leaves >= static_cast<int>(speeds.size()), "a leaf for each rank");
  std::vector<int> leaves(speeds.size(), 1);
  for (int left = num_leaves - static_cast<int>(speeds.size()); left > 0; --left) {
    ++leaves[first_with_more(speeds, leaves)];
  }
  return leaves;
}

Balancer::Balancer(Options options)
    : options_(std::move(options)), window_steps_(kFirst_window_steps) {
  const auto ranks = static_cast<std::size_t>(options_.division.world_size());
  DLT_CHECK(options_.workers.size() == ranks, "workers of each rank");
  samples_.resize(ranks);
  restart();
}

void Balancer::restart() {
  for (auto& samples : samples_) samples.clear();
  steps_to_skip_ = kSteps_to_skip;
}

std::optional<LeafDivision> Balancer::note(std::span<const double> compute_s,
                                           std::int64_t steps_left) {
  if (steps_to_skip_ > 0) {
    --steps_to_skip_;
    return std::nullopt;
  }
  for (std::size_t r = 0; r < samples_.size(); ++r) samples_[r].push_back(compute_s[r]);
  if (static_cast<int>(samples_[0].size()) < window_steps_) return std::nullopt;
  const std::optional<LeafDivision> moved = decide(steps_left);
  for (auto& samples : samples_) samples.clear();
  const bool confirmed = wanted_;
  wanted_ = moved.has_value();
  if (!moved || !confirmed) return std::nullopt;
  wanted_ = false;
  options_.division = *moved;
  window_steps_ = std::min(2 * window_steps_, kLongest_window_steps);
  restart();
  return moved;
}

std::vector<RankSpeed> Balancer::speeds() const {
  std::vector<RankSpeed> speeds;
  for (std::size_t r = 0; r < samples_.size(); ++r) {
    const int workers = options_.workers[r];
    const int leaves = options_.division.of(static_cast<int>(r)).size();
    const int rounds = std::max(1, (leaves + workers - 1) / workers);
    speeds.push_back({.round_s = median(samples_[r]) / rounds, .workers = workers});
  }
  return speeds;
}

std::optional<LeafDivision> Balancer::decide(std::int64_t steps_left) {
  const std::vector<RankSpeed> speed = speeds();
  const std::vector<int> now = leaf_counts(options_.division);
  const std::vector<int> best = best_leaves(speed, options_.division.num_leaves());
  const auto gain_s = [&](const std::vector<int>& leaves) {
    return step_s(speed, now) - step_s(speed, leaves);
  };
  std::vector<int> next = half_way(now, best);
  // Where threads run several leaves at once half of the way may win nothing.
  if (gain_s(next) <= 0) next = best;
  const bool much = gain_s(next) >= kLeast_gain * step_s(speed, now);
  const bool pays = gain_s(next) * static_cast<double>(steps_left) >= kLeast_return * move_cost_s_;
  if (!much || !pays || next == now) return std::nullopt;
  return division_of(next);
}

}  // namespace dlt::ddp
