// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/retention.h"

#include <algorithm>
#include <tuple>

namespace dlt::checkpoint {

std::vector<std::int64_t> steps_to_remove(const std::vector<Candidate>& there,
                                          std::int64_t committed, const RetentionRule& rule) {
  std::vector<std::int64_t> out;
  std::vector<std::tuple<bool, std::int64_t>> older;
  auto room = static_cast<std::size_t>(rule.keep) - 1;
  for (const Candidate& one : there) {
    if (one.step < committed) {
      older.emplace_back(one.valid, one.step);
    } else if (one.step > committed) {
      if (!one.valid) {
        out.push_back(one.step);
      } else if (room > 0) {
        --room;
      }
    }
  }
  std::sort(older.rbegin(), older.rend());
  for (std::size_t i = room; i < older.size(); ++i) {
    const auto [valid, step] = older[i];
    const bool named =
        step == rule.best || (rule.keep_every > 0 && step > 0 && step % rule.keep_every == 0);
    if (!valid || !named) out.push_back(step);
  }
  return out;
}

int saves_that_fit(const ForecastInput& input, const RetentionRule& rule) {
  std::vector<Candidate> there;
  for (const std::int64_t step : input.there) there.push_back({.step = step});
  const std::size_t now = there.size();
  std::int64_t step = there.empty() ? 0 : there.back().step;
  for (int i = 0; i < input.horizon; ++i) {
    step += input.every_steps;
    there.push_back({.step = step});
    const std::size_t more = there.size() > now ? there.size() - now : 0;
    if (static_cast<double>(more) * static_cast<double>(input.checkpoint_bytes) >
        static_cast<double>(input.free_bytes)) {
      return i;
    }
    const std::vector<std::int64_t> gone = steps_to_remove(there, step, rule);
    std::erase_if(there, [&](const Candidate& one) {
      return std::find(gone.begin(), gone.end(), one.step) != gone.end();
    });
  }
  return input.horizon;
}

}  // namespace dlt::checkpoint
