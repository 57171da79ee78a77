// SPDX-License-Identifier: Apache-2.0
#include "train/comm_plan.h"

#include <algorithm>

namespace dlt::train {
namespace {

/// What a core is taken to compute while it runs backward. Only the ratio to the link's speed
/// counts, and buckets change little with it.
constexpr double kFlops_per_s = 50e9;

std::optional<ddp::ShardPlan> make_shards(const RunConfig& config, const tensor::FlatLayout& layout,
                                          const std::vector<ddp::Bucket>& buckets, int world_size) {
  if (config.shard == Sharding::none || world_size == 1) return {};
  return ddp::ShardPlan(layout, buckets, world_size);
}

/// Where reduced buckets are given back, those on their way are what is left of the saving: a tenth
/// of the gradients at most, if parameters are small enough.
std::int64_t most_bucket_bytes(const RunConfig& config, const tensor::FlatLayout& layout) {
  constexpr std::int64_t kLeast_bytes = 64 << 10, kMost_bytes = std::int64_t{64} << 20;
  constexpr std::int64_t kPart = 32;
  const std::int64_t total_bytes = layout.total * static_cast<std::int64_t>(sizeof(float));
  return config.shard == Sharding::gradients
             ? std::clamp(total_bytes / kPart, kLeast_bytes, kMost_bytes)
             : kMost_bytes;
}

std::vector<ddp::ReadyPoint> ready_points(const autodiff::Program& program) {
  std::vector<ddp::ReadyPoint> ready;
  for (const autodiff::Program::FinalPoint& point : program.final_points()) {
    ready.push_back(
        {.prefix = point.prefix, .time_s = static_cast<double>(point.flops) / kFlops_per_s});
  }
  const std::int64_t total = program.layout().total;
  if (ready.empty() || ready.back().prefix < total) ready.push_back({.prefix = total, .time_s = 0});
  return ready;
}

std::vector<ddp::Bucket> buckets_for_link(const RunConfig& config, const autodiff::Program& program,
                                          const ddp::Link& link) {
  return ddp::plan_buckets(program.layout(), ready_points(program), link,
                           most_bucket_bytes(config, program.layout()));
}

}  // namespace

std::optional<optim::Shard> CommPlan::shard_of(int rank) const {
  if (!shards) return {};
  optim::Shard shard;
  for (std::size_t b = 0; b < buckets.size(); ++b) {
    const ddp::Bucket slice = shards->slice(b, rank);
    shard.append(slice.begin, slice.end);
  }
  return shard;
}

void CommPlan::describe(observe::Fields& fields) const {
  std::int64_t most = 0;
  for (const ddp::Bucket& bucket : buckets) most = std::max(most, bucket.end - bucket.begin);
  fields.emplace_back("buckets", static_cast<std::int64_t>(buckets.size()));
  fields.emplace_back("largest_bucket_mb", static_cast<double>(most) * sizeof(float) / 1048576.0);
  if (!link) return;
  fields.emplace_back("link_latency_us", link->latency_s * 1e6);
  fields.emplace_back("link_gb_per_s", 1e-9 / link->seconds_per_byte);
}

/// A compression's bits depend on the buckets, so no measurement may.
bool cuts_for_link(const RunConfig& config, const autodiff::Program& program, int world_size) {
  return !config.compression.active() && config.bucket_bytes == 0 && world_size > 1 &&
         program.layout().total > 0;
}

CommPlan plan_communication(const RunConfig& config, const autodiff::Program& program,
                            comm::Communicator& comm, const Clock& clock) {
  std::optional<ddp::Link> link;
  if (cuts_for_link(config, program, comm.world_size())) link = ddp::probe_link(comm, clock);
  return suppose_communication(config, program, comm.world_size(), link);
}

CommPlan suppose_communication(const RunConfig& config, const autodiff::Program& program,
                               int world_size, const std::optional<ddp::Link>& link) {
  CommPlan plan{.link = link};
  const bool small = config.bucket_bytes == 0 && config.shard == Sharding::gradients;
  plan.buckets =
      link ? buckets_for_link(config, program, *link)
           : ddp::plan_buckets(program.layout(), small ? most_bucket_bytes(config, program.layout())
                                                       : config.bucket_bytes);
  plan.shards = make_shards(config, program.layout(), plan.buckets, world_size);
  return plan;
}

}  // namespace dlt::train
