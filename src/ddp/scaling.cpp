// SPDX-License-Identifier: Apache-2.0
#include "ddp/scaling.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {
namespace {

constexpr double kElement_bytes = 4;

double bytes(const Bucket& range) {
  return static_cast<double>(range.end - range.begin) * kElement_bytes;
}

/// Steps of an algorithm that doubles what each rank knows.
int doublings(int count) { return std::bit_width(static_cast<unsigned>(std::max(0, count - 1))); }

/// The time of one bucket, and of the message, from the plan that the ranks will follow.
class Schedule {
 public:
  Schedule(const Fabric& fabric, const ScaledJob& job)
      : fabric_(fabric),
        job_(job),
        plan_(LeafDivision(job.num_leaves, job.num_ranks),
              blocks_of_ranks(job.num_ranks, job.ranks_per_host)) {}

  struct Time {
    double total_s = 0;
    double wire_s = 0;
  };

  [[nodiscard]] Time bucket(const Bucket& range) const {
    if (job_.num_ranks == 1) return {};
    return job_.reduction == Reduction::exact ? exact(range) : fast(range);
  }

  /// Whether a communication thread carries buckets beside backward: ranks of one host do it
  /// behind.
  [[nodiscard]] bool overlaps() const {
    return job_.overlap && (plan_.num_hosts() > 1 || job_.reduction == Reduction::fast);
  }

  /// Each rank's message to all others, in as many rounds as doubling takes.
  [[nodiscard]] double message_s() const {
    const int hosts = plan_.num_hosts();
    if (hosts == 1) return 0;
    const double received = static_cast<double>(job_.message_bytes) * (job_.num_ranks - 1);
    return doublings(hosts) * fabric_.latency_s + received / fabric_.bytes_per_s;
  }

 private:
  /// Ranks of a host read each other's slices; lanes exchange parts of them between hosts and,
  /// unless the bucket is small, then the finished parts.
  [[nodiscard]] Time exact(const Bucket& range) const {
    const int hosts = plan_.num_hosts();
    Time time{.total_s = memory_s(range)};
    if (hosts == 1) return time;
    double first = 0;   // most bytes that a host sends or receives in the first round,
    double second = 0;  // and in the second
    const bool whole = plan_.whole(range);
    const auto all_nodes = static_cast<double>(plan_.root_sum().sources.size());
    for (int h = 0; h < hosts; ++h) {
      const double nodes = static_cast<double>(plan_.host_sum(h).results.size());
      const double part = whole ? bytes(range) : host_part(range, h);
      const double to_others = whole ? bytes(range) * (hosts - 1) : bytes(range) - part;
      first = std::max({first, nodes * to_others, (all_nodes - nodes) * part});
      if (!whole) second = std::max({second, part * (hosts - 1), bytes(range) - part});
    }
    time.wire_s = (first + second) / fabric_.bytes_per_s;
    const double round_s = fabric_.latency_s + (hosts - 2) * fabric_.message_s;
    time.total_s += time.wire_s + (whole ? 1 : 2) * round_s;
    return time;
  }

  /// Of all lanes.
  [[nodiscard]] double host_part(const Bucket& range, int host) const {
    double sum = 0;
    for (int lane = 0; lane < plan_.num_lanes(); ++lane) {
      sum += bytes(plan_.part(range, lane, host));
    }
    return sum;
  }

  /// All ranks of a host read what all of them have and write the sum once.
  [[nodiscard]] double memory_s(const Bucket& range) const {
    const auto ranks = static_cast<double>(plan_.hosts().front().size());
    if (ranks == 1) return 0;
    return bytes(range) * (ranks + 1) / fabric_.memory_bytes_per_s;
  }

  /// The library chooses between a ring, which moves least, and doubling, which has the fewest
  /// rounds.
  [[nodiscard]] Time fast(const Bucket& range) const {
    const int hosts = plan_.num_hosts();
    if (hosts == 1) return {.total_s = memory_s(range)};
    const double ring = 2.0 * (hosts - 1) / hosts * bytes(range) / fabric_.bytes_per_s;
    const double ring_s = ring + 2 * (hosts - 1) * fabric_.latency_s;
    const double doubling = doublings(hosts) * bytes(range) / fabric_.bytes_per_s;
    const double doubling_s = doubling + doublings(hosts) * fabric_.latency_s;
    return {.total_s = memory_s(range) + std::min(ring_s, doubling_s),
            .wire_s = ring_s <= doubling_s ? ring : doubling};
  }

  const Fabric& fabric_;
  const ScaledJob& job_;
  ReductionPlan plan_;
};

/// When [0, prefix) is final within a leaf.
double final_s(const std::vector<ReadyPoint>& ready, std::int64_t prefix) {
  for (const ReadyPoint& point : ready) {
    if (point.prefix >= prefix) return point.time_s;
  }
  throw Error(Exit::internal, cat("predict_step: element ", prefix, " is never final"));
}

}  // namespace

comm::Hosts blocks_of_ranks(int num_ranks, int ranks_per_host) {
  comm::Hosts hosts;
  for (int rank = 0; rank < num_ranks; ++rank) {
    if (rank % ranks_per_host == 0) hosts.emplace_back();
    hosts.back().push_back(rank);
  }
  return hosts;
}

Prediction predict_step(const StepProfile& profile, const Fabric& fabric, const ScaledJob& job) {
  DLT_CHECK(job.num_leaves >= job.num_ranks, "predict_step: a leaf for each rank");
  const Schedule schedule(fabric, job);
  const int most_leaves = (job.num_leaves + job.num_ranks - 1) / job.num_ranks;
  const int rounds = (most_leaves + job.threads - 1) / job.threads;
  Prediction out;
  out.compute_s = rounds * profile.leaf_s;
  const double last_leaf_s = out.compute_s - profile.leaf_s;
  const double total = job.buckets.empty() ? 1.0 : static_cast<double>(job.buckets.back().end);

  double landed_s = 0;            // the communication thread
  double main_s = out.compute_s;  // the step
  const auto wait_until = [&](double time_s) {
    out.exposed_s += std::max(0.0, time_s - main_s);
    main_s = std::max(main_s, time_s);
  };
  for (const Bucket& bucket : job.buckets) {
    const double ready_s =
        schedule.overlaps() ? last_leaf_s + final_s(profile.ready, bucket.end) : out.compute_s;
    const auto [bucket_s, wire_s] = schedule.bucket(bucket);
    landed_s = std::max(landed_s, ready_s) + bucket_s;
    out.wire_s += wire_s;
    if (!job.updates_early) continue;
    wait_until(landed_s);
    main_s += profile.update_s * (static_cast<double>(bucket.end - bucket.begin) / total);
  }
  wait_until(std::max(landed_s, out.compute_s) + schedule.message_s());
  if (!job.updates_early) main_s += profile.update_s;
  out.step_s = main_s + profile.other_s;
  return out;
}

Link supposed_link(const Fabric& fabric, const ScaledJob& job) {
  const Schedule schedule(fabric, job);
  constexpr std::int64_t kSmall = 1 << 8, kLarge = 1 << 22;
  const double small_s = schedule.bucket({0, kSmall}).total_s;
  const double large_s = schedule.bucket({0, kLarge}).total_s;
  const double per_byte =
      (large_s - small_s) / (static_cast<double>(kLarge - kSmall) * kElement_bytes);
  return {.latency_s = small_s, .seconds_per_byte = std::max(per_byte, 1e-12)};
}

}  // namespace dlt::ddp
