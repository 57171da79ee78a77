// SPDX-License-Identifier: Apache-2.0
#include "ddp/reduction_plan.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "ddp/stamp.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kStamp_bytes = sizeof(Stamp);
/// Slices begin at whole cache lines of the bucket.
constexpr std::int64_t kGrain = 16;
/// Up to this many bytes to receive, one round of whole slices is faster than two of parts.
constexpr std::int64_t kWhole_bytes = 64 << 10;

std::int64_t first_leaf(const TreeNode& node) { return std::int64_t{node.index} << node.level; }

/// Piece `index` of `num_pieces` of the range.
Bucket piece(const Bucket& range, std::int64_t num_pieces, std::int64_t begin, std::int64_t end) {
  const std::int64_t num_grains = whole_lines(range) / kGrain;
  const auto cut = [&](std::int64_t i) {
    return std::min(range.end, range.begin + num_grains * i / num_pieces * kGrain);
  };
  return {cut(begin), cut(end)};
}

}  // namespace

std::int64_t whole_lines(const Bucket& range) {
  return (size(range) + kGrain - 1) / kGrain * kGrain;
}

ReductionPlan::ReductionPlan(const LeafDivision& division, comm::Hosts hosts,
                             std::optional<ShardPlan> shards)
    : hosts_(std::move(hosts)), shards_(std::move(shards)) {
  std::size_t num_ranks = 0;
  std::size_t smallest = static_cast<std::size_t>(division.world_size());
  for (const std::vector<int>& ranks : hosts_) {
    num_ranks += ranks.size();
    smallest = std::min(smallest, ranks.size());
    sum_host(division, ranks);
  }
  DLT_CHECK(
      num_ranks == static_cast<std::size_t>(division.world_size()) && smallest > 0,
      cat("reduction plan: hosts of ", num_ranks, " ranks, expected all ", division.world_size()));
  num_lanes_ = static_cast<int>(smallest);
  DLT_CHECK(!shards_ || smallest * hosts_.size() == num_ranks,
            "reduction plan: with shards every host has as many ranks");
  sum_root(division);
}

void ReductionPlan::sum_host(const LeafDivision& division, const std::vector<int>& ranks) {
  NodeSum sum;
  std::vector<TreeNode> nodes;
  for (std::size_t local = 0; local < ranks.size(); ++local) {
    const std::vector<TreeNode> mine = cover(division.of(ranks[local]), division.num_leaves());
    for (std::size_t i = 0; i < mine.size(); ++i) {
      sum.sources.push_back({static_cast<int>(local), static_cast<int>(i)});
    }
    nodes.insert(nodes.end(), mine.begin(), mine.end());
  }
  MergePlan merged = merge(nodes, division.num_leaves());
  sum.additions = std::move(merged.additions);
  sum.results = std::move(merged.results);
  sum.nodes = std::move(merged.nodes);
  host_sums_.push_back(std::move(sum));
}

void ReductionPlan::sum_root(const LeafDivision& division) {
  std::vector<std::pair<TreeNode, NodeRef>> all;
  for (int h = 0; h < num_hosts(); ++h) {
    const std::vector<TreeNode>& nodes = host_sum(h).nodes;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      all.push_back({nodes[i], {h, static_cast<int>(i)}});
    }
  }
  std::sort(all.begin(), all.end(),
            [](const auto& a, const auto& b) { return first_leaf(a.first) < first_leaf(b.first); });
  std::vector<TreeNode> nodes;
  for (const auto& [node, ref] : all) {
    nodes.push_back(node);
    root_.sources.push_back(ref);
  }
  MergePlan merged = merge(nodes, division.num_leaves());
  DLT_CHECK(merged.results == std::vector<int>{0}, "the nodes of all hosts make one tree");
  root_.additions = std::move(merged.additions);
  root_.results = std::move(merged.results);
  root_.nodes = std::move(merged.nodes);
}

int ReductionPlan::host_of(int rank) const {
  const auto at = std::find_if(hosts_.begin(), hosts_.end(), [&](const std::vector<int>& ranks) {
    return std::find(ranks.begin(), ranks.end(), rank) != ranks.end();
  });
  DLT_CHECK(at != hosts_.end(), cat("reduction plan: no rank ", rank));
  return static_cast<int>(at - hosts_.begin());
}

int ReductionPlan::local_of(int rank) const {
  const std::vector<int>& ranks = hosts_[static_cast<std::size_t>(host_of(rank))];
  return static_cast<int>(std::find(ranks.begin(), ranks.end(), rank) - ranks.begin());
}

const NodeSum& ReductionPlan::host_sum(int host) const {
  return host_sums_[static_cast<std::size_t>(host)];
}

std::int64_t ReductionPlan::num_nodes(int host) const {
  return static_cast<std::int64_t>(host_sum(host).results.size());
}

bool ReductionPlan::whole(const Bucket& bucket) const {
  if (shards_) return false;
  const auto num_received = static_cast<std::int64_t>(root_.sources.size()) - 1;
  return size(bucket) * num_received * kElement_bytes <= kWhole_bytes * num_lanes_;
}

Bucket ReductionPlan::slice(const Bucket& bucket, int lane) const {
  const std::int64_t hosts = num_hosts();
  return piece(bucket, num_lanes_ * hosts, lane * hosts, (lane + 1) * hosts);
}

Bucket ReductionPlan::part(const Bucket& bucket, int lane, int host) const {
  if (shards_) {
    const std::vector<int>& ranks = hosts_[static_cast<std::size_t>(host)];
    return shards_->slice(bucket, ranks[static_cast<std::size_t>(lane)]);
  }
  if (whole(bucket)) return slice(bucket, lane);
  const std::int64_t at = std::int64_t{lane} * num_hosts() + host;
  return piece(bucket, std::int64_t{num_lanes_} * num_hosts(), at, at + 1);
}

int ReductionPlan::num_rounds(const Bucket& bucket, int rank) const {
  if (num_hosts() == 1 || local_of(rank) >= num_lanes_) return 0;
  return gathers(bucket) ? 2 : 1;
}

std::int64_t ReductionPlan::sent_bytes(const Bucket& bucket, int rank) const {
  const int lane = local_of(rank);
  const int host = host_of(rank);
  if (lane >= num_lanes_) return 0;
  std::int64_t bytes = 0;
  for (int h = 0; h < num_hosts(); ++h) {
    if (h == host) continue;
    bytes += num_nodes(host) * size(part(bucket, lane, h)) * kElement_bytes + kStamp_bytes;
    if (gathers(bucket)) bytes += size(part(bucket, lane, host)) * kElement_bytes + kStamp_bytes;
  }
  return bytes;
}

std::int64_t ReductionPlan::longest_part(const std::vector<Bucket>& buckets, int rank) const {
  const int lane = local_of(rank);
  if (lane >= num_lanes_ || num_hosts() == 1) return 0;
  std::int64_t longest = 0;
  for (const Bucket& bucket : buckets) {
    for (int h = 0; h < num_hosts(); ++h) {
      longest = std::max(longest, whole_lines(part(bucket, lane, h)));
    }
  }
  return longest;
}

std::int64_t ReductionPlan::received_bytes(const std::vector<Bucket>& buckets, int rank) const {
  const auto num_received =
      static_cast<std::int64_t>(root_.sources.size()) - num_nodes(host_of(rank));
  return longest_part(buckets, rank) * num_received * kElement_bytes;
}

std::int64_t ReductionPlan::peer_bytes(const std::vector<Bucket>& buckets, int rank) const {
  const int lane = local_of(rank);
  if (lane >= num_lanes_) return 0;
  const std::vector<NodeRef>& sources = host_sum(host_of(rank)).sources;
  const auto num_peers = std::count_if(sources.begin(), sources.end(),
                                       [&](const NodeRef& ref) { return ref.owner != lane; });
  std::int64_t elements = 0;
  for (const Bucket& bucket : buckets) {
    for (int h = 0; h < num_hosts(); ++h) {
      elements += size(part(bucket, lane, h));
      if (whole(bucket)) break;
    }
  }
  return num_peers * elements * kElement_bytes;
}

std::int64_t ReductionPlan::partial_bytes(const std::vector<Bucket>& buckets, int rank) const {
  const NodeSum& sum = host_sum(host_of(rank));
  const auto num_sums = std::count_if(sum.results.begin(), sum.results.end(), [&](int result) {
    return std::any_of(sum.additions.begin(), sum.additions.end(),
                       [&](const Addition& addition) { return addition.dst == result; });
  });
  const std::int64_t num_parts = num_hosts() - 1;
  return longest_part(buckets, rank) * num_parts * std::max<std::int64_t>(0, num_sums - 1) *
         kElement_bytes;
}

}  // namespace dlt::ddp
