// SPDX-License-Identifier: Apache-2.0
#include "ddp/scaling_schedule.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "ddp/compression/reductions.h"

namespace dlt::ddp {
namespace {

/// Within a host a message is read and written once.
constexpr double kCopy_passes = 2;

double bytes(const Bucket& range) {
  return static_cast<double>(range.end - range.begin) * kElement_bytes;
}

/// Steps of an algorithm that doubles what each rank knows.
int doublings(int count) { return std::bit_width(static_cast<unsigned>(std::max(0, count - 1))); }

/// Who shares memory with whom. The library's own reduction always uses what a host has.
comm::Hosts plan_hosts(const comm::Hosts& hosts, const ReducerOptions& options) {
  if (options.wants_shared_memory(hosts) || options.reduction == Reduction::fast) return hosts;
  int num_ranks = 0;
  for (const std::vector<int>& ranks : hosts) num_ranks += static_cast<int>(ranks.size());
  return comm::lone_hosts(num_ranks);
}

}  // namespace

ScalingSchedule::ScalingSchedule(const StepProfile& profile, const Fabric& fabric,
                                 const ScaledJob& job)
    : profile_(profile),
      fabric_(fabric),
      job_(job),
      hosts_(blocks_of_ranks(job.num_ranks, job.ranks_per_host)),
      shares_memory_(job.reducer.wants_shared_memory(hosts_)),
      plan_(job.reducer.division(job.num_ranks), plan_hosts(hosts_, job.reducer),
            job.reducer.shards) {
  const bool lone = plan_.num_hosts() == job.num_ranks;
  for (std::size_t h = 0; h < hosts_.size(); ++h) {
    members_.push_back(lone ? hosts_[h] : std::vector<int>{static_cast<int>(h)});
  }
}

ScalingSchedule::Time ScalingSchedule::bucket(std::size_t index) const {
  if (job_.num_ranks == 1 || job_.reducer.reduction == Reduction::none) return {};
  if (job_.reducer.compression.active()) return compressed(index);
  return range(job_.reducer.buckets[index]);
}

ScalingSchedule::Time ScalingSchedule::range(const Bucket& range) const {
  return job_.reducer.reduction == Reduction::fast ? fast(range) : exact(range);
}

bool ScalingSchedule::overlaps() const {
  return job_.reducer.overlap && !(shares_memory_ && hosts_.size() == 1);
}

/// Each rank's message to all others, in as many rounds as doubling takes. What is needed
/// everywhere is a few numbers of some buckets, but a round of each.
double ScalingSchedule::message_s() const {
  const auto num_hosts = static_cast<int>(hosts_.size());
  if (num_hosts == 1) return 0;
  const double received = static_cast<double>(job_.message_bytes) * (job_.num_ranks - 1);
  double seconds = doublings(num_hosts) * fabric_.latency_s + received / fabric_.bytes_per_s;
  if (!job_.reducer.shards) return seconds;
  for (const Bucket& bucket : job_.reducer.buckets) {
    const auto& everywhere = job_.reducer.everywhere;
    const bool any = std::any_of(everywhere.begin(), everywhere.end(), [&](const Bucket& range) {
      return range.begin < bucket.end && range.end > bucket.begin;
    });
    if (any) seconds += round_s(job_.num_ranks - 1);
  }
  return seconds;
}

/// Ranks that share memory read each other's slices; lanes exchange parts of them between hosts
/// and, unless the bucket is small, then the finished parts. Without shared memory every rank is a
/// host of the plan, and what goes to ranks of its own host takes memory instead of the link.
ScalingSchedule::Time ScalingSchedule::exact(const Bucket& range) const {
  const int plan_size = plan_.num_hosts();
  Time time{.total_s = shares_memory_ ? memory_s(range) : 0};
  if (plan_size == 1) return time;
  Round first, second;
  const bool whole = plan_.whole(range), gathers = plan_.gathers(range);
  const auto all_nodes = static_cast<double>(plan_.root_sum().sources.size());
  for (const std::vector<int>& members : members_) {
    const auto size = static_cast<double>(members.size());
    const double others = plan_size - size;
    double nodes = 0, part = 0, own = 0;
    for (const int h : members) {
      const auto num_nodes = static_cast<double>(plan_.host_sum(h).results.size());
      const double bytes_here = whole ? bytes(range) : host_part(range, h);
      nodes += num_nodes;
      part += bytes_here;
      own += num_nodes * bytes_here;
    }
    const double to_others = whole ? bytes(range) * others : bytes(range) - part;
    first.sent = std::max(first.sent, nodes * to_others);
    first.received = std::max(first.received, (all_nodes - nodes) * part);
    first.within = std::max(first.within, nodes * part - own);
    if (!gathers) continue;
    second.sent = std::max(second.sent, part * others);
    second.received = std::max(second.received, size * (bytes(range) - part));
    second.within = std::max(second.within, part * (size - 1));
  }
  time.wire_s = (std::max(first.sent, first.received) + std::max(second.sent, second.received)) /
                fabric_.bytes_per_s;
  time.total_s += time.wire_s + copied_s(first.within + second.within) +
                  (gathers ? 2 : 1) * round_s(plan_size - 1);
  return time;
}

/// Of all lanes.
double ScalingSchedule::host_part(const Bucket& range, int host) const {
  double sum = 0;
  for (int lane = 0; lane < plan_.num_lanes(); ++lane) {
    sum += bytes(plan_.part(range, lane, host));
  }
  return sum;
}

/// All ranks of a host read what all of them have and write the sum once.
double ScalingSchedule::memory_s(const Bucket& range) const {
  const auto ranks = static_cast<double>(hosts_.front().size());
  if (ranks == 1) return 0;
  return bytes(range) * (ranks + 1) / fabric_.memory_bytes_per_s;
}

double ScalingSchedule::copied_s(double num_bytes) const {
  return num_bytes > 0 ? kCopy_passes * num_bytes / fabric_.memory_bytes_per_s : 0;
}

/// What a round takes beside its bytes.
double ScalingSchedule::round_s(int num_peers) const {
  if (hosts_.size() == 1) return 0;
  return fabric_.latency_s + std::max(0, num_peers - 1) * fabric_.message_s;
}

/// The library chooses between a ring, which moves least, and doubling, which has the fewest
/// rounds.
ScalingSchedule::Time ScalingSchedule::fast(const Bucket& range) const {
  const auto hosts = static_cast<int>(hosts_.size());
  if (hosts == 1) return {.total_s = memory_s(range)};
  const double ring = 2.0 * (hosts - 1) / hosts * bytes(range) / fabric_.bytes_per_s;
  const double ring_s = ring + 2 * (hosts - 1) * fabric_.latency_s;
  const double doubling = doublings(hosts) * bytes(range) / fabric_.bytes_per_s;
  const double doubling_s = doubling + doublings(hosts) * fabric_.latency_s;
  return {.total_s = memory_s(range) + std::min(ring_s, doubling_s),
          .wire_s = ring_s <= doubling_s ? ring : doubling};
}

/// The most of the first, middle and last rank: their slices differ by a block, their nodes of what
/// stays exact by more.
ScalingSchedule::Time ScalingSchedule::compressed(std::size_t index) const {
  const ReducerOptions& reducer = job_.reducer;
  BucketReductionOptions options{.division = reducer.division(job_.num_ranks),
                                 .buckets = {reducer.buckets[index]},
                                 .compression = reducer.compression,
                                 .ranges = reducer.ranges};
  Cost most;
  for (const int rank : {0, job_.num_ranks / 2, job_.num_ranks - 1}) {
    options.rank = rank;
    options.nodes.resize(cover(options.division.of(rank), reducer.num_leaves).size());
    const Cost cost = cost_of_compressed_reduction(options);
    most.sent_bytes = std::max(most.sent_bytes, cost.sent_bytes);
    most.num_rounds = std::max(most.num_rounds, cost.num_rounds);
  }
  Time time = spread(most);
  if (index < profile_.coding.size()) time.coding_s = profile_.coding[index].of(job_.num_ranks);
  time.total_s += time.coding_s;
  return time;
}

/// What every rank sends to all others alike, and receives from them.
ScalingSchedule::Time ScalingSchedule::spread(const Cost& cost) const {
  const auto local = static_cast<double>(hosts_.front().size());
  const double others = job_.num_ranks - 1;
  const double host_bytes = local * static_cast<double>(cost.sent_bytes);
  Time time{.wire_s = host_bytes * (job_.num_ranks - local) / others / fabric_.bytes_per_s};
  time.total_s = time.wire_s + copied_s(host_bytes * (local - 1) / others) +
                 static_cast<double>(cost.num_rounds) * round_s(job_.num_ranks - 1);
  return time;
}

/// Every rank sends what it updated to all others, also within a host.
ScalingSchedule::Time ScalingSchedule::gather(std::size_t index) const {
  const ShardPlan& shards = *job_.reducer.shards;
  const double all = bytes(job_.reducer.buckets[index]);
  Round most;
  for (const std::vector<int>& ranks : hosts_) {
    const auto size = static_cast<double>(ranks.size());
    double part = 0;
    for (const int rank : ranks) part += bytes(shards.slice(index, rank));
    most.sent = std::max(most.sent, part * (job_.num_ranks - size));
    most.received = std::max(most.received, size * (all - part));
    most.within = std::max(most.within, part * (size - 1));
  }
  Time time{.wire_s = std::max(most.sent, most.received) / fabric_.bytes_per_s};
  time.total_s = time.wire_s + copied_s(most.within) + round_s(job_.num_ranks - 1);
  return time;
}

double ScalingSchedule::update_share(std::size_t index) const {
  const std::vector<Bucket>& buckets = job_.reducer.buckets;
  double most = bytes(buckets[index]);
  const std::optional<ShardPlan>& slices =
      job_.reducer.shards ? job_.reducer.shards : job_.reducer.host_slices;
  if (slices) {
    most = 0;
    for (int rank = 0; rank < slices->world_size(); ++rank) {
      most = std::max(most, bytes(slices->slice(index, rank)));
    }
  }
  return most / (static_cast<double>(buckets.back().end) * kElement_bytes);
}

ScalingSchedule::Time ScalingSchedule::mean() const {
  const auto local = static_cast<double>(hosts_.front().size());
  Time time = spread(job_.mean.cost);
  time.total_s += local * static_cast<double>(job_.mean.memory_bytes) / fabric_.memory_bytes_per_s;
  return time;
}

}  // namespace dlt::ddp
