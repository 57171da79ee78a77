// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/stragglers.h"

#include <algorithm>
#include <array>

namespace dlt::supervise {
namespace {

using observe::Phase;

constexpr std::array kOwnPhases{Phase::data, Phase::forward, Phase::backward, Phase::update};

double spent_s(const launcher::Beat& begin, const launcher::Beat& end, Phase phase) {
  const auto i = static_cast<std::size_t>(phase);
  return std::max(0.0, double{end.phase_s[i]} - double{begin.phase_s[i]});
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

void Stragglers::reset(std::int32_t num_ranks) {
  ranks_.assign(static_cast<std::size_t>(num_ranks), {});
  num_heard_ = 0;
}

std::vector<Straggler> Stragglers::heard(double now_s, std::int32_t rank,
                                         const launcher::Beat& beat) {
  // Before its first step a rank has work that others may not have.
  if (ranks_.size() < 2 || beat.mark.phase == Phase::start) return {};
  Rank& one = ranks_[static_cast<std::size_t>(rank)];
  if (!one.heard) {
    one.heard = true;
    one.begin = beat;
    if (++num_heard_ == static_cast<std::int32_t>(ranks_.size())) begin_s_ = now_s;
  }
  one.last = beat;
  if (!window_full(now_s)) return {};
  return close_window(now_s);
}

bool Stragglers::window_full(double now_s) const {
  if (num_heard_ < static_cast<std::int32_t>(ranks_.size()) || now_s < begin_s_ + kWindow_s) {
    return false;
  }
  return std::all_of(ranks_.begin(), ranks_.end(), [](const Rank& one) {
    return one.last.mark.step - one.begin.mark.step >= kLeastSteps;
  });
}

std::vector<Straggler> Stragglers::close_window(double now_s) {
  std::vector<double> own_s;
  for (const Rank& one : ranks_) {
    double sum = 0;
    for (const Phase phase : kOwnPhases) sum += spent_s(one.begin, one.last, phase);
    own_s.push_back(sum / static_cast<double>(one.last.mark.step - one.begin.mark.step));
  }
  std::vector<Straggler> out;
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    Rank& one = ranks_[rank];
    std::vector<double> others = own_s;
    others.erase(others.begin() + static_cast<std::ptrdiff_t>(rank));
    const double usual_s = median(std::move(others));
    const auto steps = static_cast<double>(one.last.mark.step - one.begin.mark.step);
    const bool works = own_s[rank] * steps >= kLeastShare * (now_s - begin_s_);
    const double ratio = own_s[rank] / std::max(usual_s, 1e-9);
    one.slow_windows = works && ratio >= kSlow ? one.slow_windows + 1 : 0;
    if (ratio < kOrdinary) one.told = false;
    if (one.slow_windows < 2 || one.told) continue;
    one.told = true;
    Straggler straggler{.rank = static_cast<std::int32_t>(rank), .ratio = ratio};
    double most_s = -1;
    for (const Phase phase : kOwnPhases) {
      std::vector<double> theirs;
      for (std::size_t i = 0; i < ranks_.size(); ++i) {
        if (i != rank) theirs.push_back(spent_s(ranks_[i].begin, ranks_[i].last, phase));
      }
      const double more_s = spent_s(one.begin, one.last, phase) - median(std::move(theirs));
      if (more_s <= most_s) continue;
      most_s = more_s;
      straggler.phase = phase;
    }
    out.push_back(straggler);
  }
  for (Rank& one : ranks_) one.begin = one.last;
  begin_s_ = now_s;
  return out;
}

}  // namespace dlt::supervise
