// SPDX-License-Identifier: Apache-2.0
#include "ddp/tree_reduction.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/kill_point.h"
#include "base/text.h"
#include "ddp/host_memory.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kNot_received = -1;
/// Up to this many bytes of a host's nodes and result stay in the caches from backward to update.
constexpr std::int64_t kCached_bytes = 32 << 20;

comm::Hosts hosts_of(const BucketReductionOptions& options) {
  return options.memory != nullptr ? options.hosts
                                   : comm::lone_hosts(options.division.world_size());
}

}  // namespace

TreeReduction::TreeReduction(BucketReductionOptions options)
    : options_(std::move(options)),
      plan_(options_.division, hosts_of(options_), options_.shards),
      host_(plan_.host_of(options_.rank)),
      lane_(plan_.local_of(options_.rank)) {
  plan_sums();
  received_ = tensor::Storage::allocate(plan_.received_bytes(options_.buckets, options_.rank));
  partial_ = tensor::Storage::allocate(plan_.partial_bytes(options_.buckets, options_.rank));
  const std::size_t num_hosts = plan_.hosts().size();
  received_stamps_.resize(num_hosts);
  sends_.reserve(num_hosts * (1 + host_sum_.num_results()));
  receives_.reserve(num_hosts + plan_.root_sum().sources.size());
}

void TreeReduction::plan_sums() {
  const NodeSum& host = plan_.host_sum(host_);
  const auto num_local = static_cast<int>(host.sources.size());
  std::int64_t num_mine = 0;
  for (const NodeRef& ref : host.sources) num_mine += ref.owner == lane_ ? 1 : 0;
  DLT_CHECK(num_mine == static_cast<std::int64_t>(options_.nodes.size()),
            "this rank's buffers are the nodes that cover its leaves");
  host_sum_ = TreeSum(num_local, host.additions, host.results);

  const NodeSum& root = plan_.root_sum();
  std::vector<int> place;  // among the local nodes, then the received ones
  int num_sources = num_local;
  for (const NodeRef& ref : root.sources) {
    const bool mine = ref.owner == host_;
    place.push_back(mine ? host.results[static_cast<std::size_t>(ref.index)] : num_sources++);
  }
  std::vector<Addition> additions = host.additions;
  for (const Addition& addition : root.additions) {
    additions.push_back({.dst = place[static_cast<std::size_t>(addition.dst)],
                         .src = place[static_cast<std::size_t>(addition.src)]});
  }
  root_sum_ =
      TreeSum(num_sources, additions, {place[static_cast<std::size_t>(root.results.front())]});
  const std::int64_t total = options_.buckets.empty() ? 0 : options_.buckets.back().end;
  if ((num_local + 1) * total * kElement_bytes > kCached_bytes) root_sum_.write_past_caches();
  sources_.resize(static_cast<std::size_t>(num_sources));
  received_nodes_.resize(static_cast<std::size_t>(num_sources - num_local));
  results_.resize(std::max<std::size_t>(1, host_sum_.num_results()));
}

std::int64_t TreeReduction::buffer_bytes() const {
  return received_.size_bytes() + partial_.size_bytes() +
         plan_.peer_bytes(options_.buckets, options_.rank);
}

Stamp TreeReduction::stamp_of(std::size_t bucket) const {
  return {.generation = options_.generation,
          .step = step_,
          .bucket = static_cast<std::int64_t>(bucket),
          .sequence = sequence_};
}

const float* TreeReduction::node(const NodeRef& ref) const {
  const auto index = static_cast<std::size_t>(ref.index);
  if (!shared()) return options_.nodes[index];
  return options_.memory->nodes()[static_cast<std::size_t>(ref.owner)][index];
}

void TreeReduction::begin_step(std::int64_t step) {
  step_ = step;
  ++sequence_;
}

void TreeReduction::bucket_final(std::size_t bucket) {
  if (shared()) options_.memory->board().post_final(stamp_of(bucket));
}

void TreeReduction::reduce(comm::Communicator& comm, std::size_t bucket) {
  DLT_KILL_POINT(bucket_before_reduction);
  sum_part(comm, bucket);
  DLT_KILL_POINT(bucket_within_reduction);
  gather_parts(comm, bucket);
  DLT_KILL_POINT(bucket_after_reduction);
}

Bucket TreeReduction::own_part(std::size_t bucket) const {
  const Bucket& range = options_.buckets[bucket];
  if (!in_lane()) return {range.begin, range.begin};
  return plan_.part(range, lane_, host_);
}

void TreeReduction::sum_part(comm::Communicator& comm, std::size_t bucket) {
  const Stamp stamp = stamp_of(bucket);
  if (shared()) wait_for_nodes(comm, stamp);
  if (!in_lane()) return;
  if (plan_.num_hosts() > 1) exchange_nodes(comm, options_.buckets[bucket], stamp);
  finish(own_part(bucket));
}

void TreeReduction::gather_parts(comm::Communicator& comm, std::size_t bucket) {
  const Bucket& range = options_.buckets[bucket];
  const Stamp stamp = stamp_of(bucket);
  if (in_lane() && plan_.gathers(range)) {
    const Bucket mine = own_part(bucket);
    begin_messages(stamp);
    for (int h = 0; h < plan_.num_hosts(); ++h) {
      if (h == host_) continue;
      add_stamps(h);
      const int peer = sends_.back().peer;
      const Bucket theirs = plan_.part(range, lane_, h);
      sends_.push_back({.peer = peer,
                        .data = options_.reduced + mine.begin,
                        .num_bytes = size(mine) * kElement_bytes});
      receives_.push_back({.peer = peer,
                           .data = options_.reduced + theirs.begin,
                           .num_bytes = size(theirs) * kElement_bytes});
    }
    exchange(comm);
  }
  if (shared() && !options_.own_slices_first) wait_for_parts(comm, stamp);
}

void TreeReduction::wait_for_nodes(comm::Communicator& comm, const Stamp& stamp) {
  const HostWait wait(comm, options_.wait);
  const HostBoard& board = options_.memory->board();
  for (std::size_t r = 0; r < board.num_ranks(); ++r) board.wait_final(r, stamp, wait);
}

void TreeReduction::wait_for_parts(comm::Communicator& comm, const Stamp& stamp) {
  const HostWait wait(comm, options_.wait);
  HostBoard& board = options_.memory->board();
  if (in_lane()) board.post_summed(stamp);
  for (int lane = 0; lane < plan_.num_lanes(); ++lane) {
    board.wait_summed(static_cast<std::size_t>(lane), stamp, wait);
  }
}

/// Sends each host's rank of this lane its part of this host's nodes, and receives this rank's part
/// of theirs.
void TreeReduction::exchange_nodes(comm::Communicator& comm, const Bucket& bucket,
                                   const Stamp& stamp) {
  begin_messages(stamp);
  auto* partial = reinterpret_cast<float*>(partial_.data());
  for (int h = 0; h < plan_.num_hosts(); ++h) {
    if (h == host_) continue;
    add_stamps(h);
    const int peer = sends_.back().peer;
    const Bucket part = plan_.part(bucket, lane_, h);
    float* next = sum_host_nodes(part, partial);
    if (!plan_.whole(bucket)) partial = next;
    for (std::size_t i = 0; i < host_sum_.num_results(); ++i) {
      sends_.push_back(
          {.peer = peer, .data = results_[i], .num_bytes = size(part) * kElement_bytes});
    }
  }
  const Bucket mine = plan_.part(bucket, lane_, host_);
  auto* free = reinterpret_cast<float*>(received_.data());
  std::size_t next = 0;
  for (const NodeRef& ref : plan_.root_sum().sources) {
    if (ref.owner == host_) continue;
    const int peer =
        plan_.hosts()[static_cast<std::size_t>(ref.owner)][static_cast<std::size_t>(lane_)];
    receives_.push_back({.peer = peer, .data = free, .num_bytes = size(mine) * kElement_bytes});
    received_nodes_[next++] = free;
    free += whole_lines(mine);
  }
  exchange(comm);
}

/// results_: where this host's nodes are over a part that another host finishes. A node that is a
/// rank's own is sent from there; the first sum lies where the result will be received, more lie in
/// `partial`. Returns the end of what they take of it.
float* TreeReduction::sum_host_nodes(const Bucket& part, float* partial) {
  const NodeSum& sum = plan_.host_sum(host_);
  for (std::size_t i = 0; i < sum.sources.size(); ++i) {
    sources_[i] = node(sum.sources[i]) + part.begin;
  }
  float* place = options_.reduced + part.begin;
  for (std::size_t i = 0; i < host_sum_.num_results(); ++i) {
    const int plain = host_sum_.plain_source(i);
    if (plain >= 0) {
      // Sent, never written.
      results_[i] = const_cast<float*>(sources_[static_cast<std::size_t>(plain)]);
      continue;
    }
    if (place == nullptr) {
      place = partial;
      partial += whole_lines(part);
    }
    results_[i] = std::exchange(place, nullptr);
  }
  host_sum_.run(std::span(sources_).first(sum.sources.size()),
                std::span(results_).first(host_sum_.num_results()), size(part));
  return partial;
}

void TreeReduction::finish(const Bucket& part) {
  const NodeSum& sum = plan_.host_sum(host_);
  const std::size_t num_local = sum.sources.size();
  for (std::size_t i = 0; i < num_local; ++i) sources_[i] = node(sum.sources[i]) + part.begin;
  std::copy(received_nodes_.begin(), received_nodes_.end(),
            sources_.begin() + static_cast<std::ptrdiff_t>(num_local));
  results_[0] = options_.reduced + part.begin;
  root_sum_.run(sources_, std::span(results_).first(1), size(part));
}

void TreeReduction::begin_messages(const Stamp& stamp) {
  sends_.clear();
  receives_.clear();
  sent_stamp_ = stamp;
  for (Stamp& received : received_stamps_) received.sequence = kNot_received;
}

void TreeReduction::add_stamps(int host) {
  const auto h = static_cast<std::size_t>(host);
  const int peer = plan_.hosts()[h][static_cast<std::size_t>(lane_)];
  sends_.push_back({.peer = peer, .data = &sent_stamp_, .num_bytes = sizeof(Stamp)});
  receives_.push_back({.peer = peer, .data = &received_stamps_[h], .num_bytes = sizeof(Stamp)});
}

/// A message of another size than expected is found by the communicator; the stamps, which come
/// first, then tell why.
void TreeReduction::exchange(comm::Communicator& comm) {
  const auto check_stamps = [&] {
    for (std::size_t h = 0; h < received_stamps_.size(); ++h) {
      if (received_stamps_[h].sequence == kNot_received) continue;
      require_expected(received_stamps_[h], plan_.hosts()[h][static_cast<std::size_t>(lane_)],
                       sent_stamp_, options_.rank);
    }
  };
  try {
    comm.exchange(sends_, receives_);
  } catch (const Error&) {
    check_stamps();
    throw;
  }
  check_stamps();
}

}  // namespace dlt::ddp
