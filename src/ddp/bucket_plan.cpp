// SPDX-License-Identifier: Apache-2.0
#include "ddp/bucket_plan.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {
namespace {

/// Few enough that a message is worth its start, enough that the first leave early: an eighth of
/// the buffer, within 1 to 16 MiB.
std::int64_t automatic_bytes(std::int64_t total) {
  return std::clamp<std::int64_t>(total * kElement_bytes / 8, std::int64_t{1} << 20,
                                  std::int64_t{16} << 20);
}

}  // namespace

std::vector<Bucket> plan_buckets(const tensor::FlatLayout& layout, std::int64_t bucket_bytes) {
  DLT_CHECK(bucket_bytes >= 0, cat("plan_buckets: buckets of ", bucket_bytes, " bytes"));
  const std::int64_t wanted = std::max<std::int64_t>(
      1, (bucket_bytes == 0 ? automatic_bytes(layout.total) : bucket_bytes) / kElement_bytes);
  std::vector<Bucket> buckets;
  std::int64_t begin = 0;
  const auto cut = [&](std::int64_t end) {
    if (end == begin) return;
    buckets.push_back({begin, end});
    begin = end;
  };
  for (std::size_t i = 0; i < layout.entries.size(); ++i) {
    const std::int64_t offset = i == 0 ? 0 : layout.entries[i].offset;
    const std::int64_t end =
        i + 1 < layout.entries.size() ? layout.entries[i + 1].offset : layout.total;
    const bool overfull = end - begin > wanted + wanted / 2;
    if (overfull && offset - begin >= wanted / 2) cut(offset);
    if (end - begin >= wanted) cut(end);
  }
  if (layout.total - begin < wanted / 4 && !buckets.empty()) {
    buckets.back().end = layout.total;
  } else {
    cut(layout.total);
  }
  return buckets;
}

double finish_time_s(const std::vector<Bucket>& buckets, const std::vector<ReadyPoint>& ready,
                     const Link& link) {
  double now_s = 0;
  for (const Bucket& bucket : buckets) {
    const auto point = std::lower_bound(
        ready.begin(), ready.end(), bucket.end,
        [](const ReadyPoint& candidate, std::int64_t end) { return candidate.prefix < end; });
    DLT_CHECK(point != ready.end(), cat("element ", bucket.end, " is never final"));
    now_s =
        std::max(now_s, point->time_s) + link.seconds((bucket.end - bucket.begin) * kElement_bytes);
  }
  return now_s;
}

std::vector<Bucket> plan_buckets(const tensor::FlatLayout& layout,
                                 const std::vector<ReadyPoint>& ready, const Link& link,
                                 std::int64_t most_bytes) {
  constexpr std::int64_t kLeast_bytes = 32 << 10;
  // What a bucket costs beside its messages (a thread is woken, a cache is left) is not in the
  // model.
  const double tolerance_s =
      static_cast<double>(layout.total * kElement_bytes) * link.seconds_per_byte / 16;
  std::vector<std::vector<Bucket>> candidates;
  for (std::int64_t bytes = kLeast_bytes; bytes <= std::max(most_bytes, kLeast_bytes); bytes *= 2) {
    candidates.push_back(plan_buckets(layout, bytes));
  }
  std::vector<double> finish_s;
  for (const auto& buckets : candidates) finish_s.push_back(finish_time_s(buckets, ready, link));
  const double best_s = *std::min_element(finish_s.begin(), finish_s.end());
  std::size_t chosen = candidates.size() - 1;
  while (finish_s[chosen] > best_s + tolerance_s) --chosen;
  return candidates[chosen];
}

}  // namespace dlt::ddp
