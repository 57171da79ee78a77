// SPDX-License-Identifier: Apache-2.0
#include "train/comm_options.h"

#include <algorithm>
#include <bit>

#include "base/text.h"
#include "train/engine.h"

namespace dlt::train {
namespace {

constexpr std::int64_t kLeast_block = 16, kMost_block = 4096;
constexpr std::int64_t kMost_rank = 256;

void read_block(config::MapReader& reader, ddp::CompressionOptions& out) {
  out.block = reader.integer("block", {.min = kLeast_block, .max = kMost_block}, out.block);
  if (std::has_single_bit(static_cast<std::uint64_t>(out.block))) return;
  reader.error("block", cat("expected a power of two, got '", out.block, "'"));
  out.block = ddp::CompressionOptions{}.block;
}

std::string name_of(const RunConfig& config) {
  return ddp::compression_names()[static_cast<std::size_t>(config.compression.kind)];
}

std::string shard_text(const RunConfig& config) {
  return cat("train.shard: ", config.shard == Sharding::optimizer ? "optimizer" : "gradients");
}

bool has_synchronised_layer(const RunConfig& config) {
  if (config.model == nullptr) return false;
  const auto& statistics = config.model->running_statistics();
  return std::any_of(statistics.begin(), statistics.end(),
                     [](const nn::RunningStatistics& s) { return s.synchronised; });
}

void check_compression(config::MapReader& comm, const RunConfig& config) {
  if (!config.compression.active()) return;
  const auto refuse = [&](const std::string& beside, const std::string& hint) {
    comm.error("compression", cat("expected none beside ", beside, ", got '", name_of(config), "'"),
               hint);
  };
  if (config.reduction == ddp::Reduction::fast) {
    refuse("train.reduction: fast",
           "leave train.reduction out: compressed gradients have a way of "
           "their own");
  }
  if (config.shard != Sharding::none) {
    refuse(shard_text(config),
           "a shard's rank alone would know what is owed for its part; leave "
           "train.shard or comm.compression out");
  }
}

void check_sync_every(config::MapReader& comm, const RunConfig& config) {
  if (config.sync_every == 1) return;
  const auto refuse = [&](bool clash, const std::string& beside, const std::string& hint) {
    if (!clash) return;
    comm.error("sync_every", cat("expected 1 beside ", beside, ", got '", config.sync_every, "'"),
               hint);
  };
  refuse(config.compression.active(), cat("comm.compression: ", name_of(config)),
         "between two means no gradients are sent that could be compressed");
  refuse(config.reduction == ddp::Reduction::fast, "train.reduction: fast",
         "between two means no gradients are reduced");
  refuse(config.shard != Sharding::none, shard_text(config),
         "a rank that updates by itself needs the whole of the optimiser's state");
  refuse(has_synchronised_layer(config), "batch_norm with sync: true",
         "its sums need all ranks in every step: leave sync out, the running statistics are "
         "averaged with the weights");
  if (config.stop_at_step && *config.stop_at_step % config.sync_every != 0) {
    comm.error("sync_every",
               cat("expected a divisor of train.stop_at_step (", *config.stop_at_step, "), got '",
                   config.sync_every, "'"),
               "a run can stop without a trace only where its ranks are equal");
  }
}

void check_balance(config::MapReader& comm, const RunConfig& config) {
  if (!config.balance) return;
  const auto refuse = [&](bool clash, const std::string& beside) {
    if (!clash) return;
    comm.error("balance", cat("expected false beside ", beside, ", got 'true'"),
               "there the bits depend on which rank runs which leaves, and so on the ranks' speed");
  };
  refuse(config.compression.active(), cat("comm.compression: ", name_of(config)));
  refuse(config.reduction == ddp::Reduction::fast, "train.reduction: fast");
  refuse(config.sync_every > 1, cat("comm.sync_every: ", config.sync_every));
}

}  // namespace

ddp::CompressionOptions read_compression(config::MapReader& comm) {
  ddp::CompressionOptions out;
  const config::Node* node = comm.child("compression");
  const auto& names = ddp::compression_names();
  if (node == nullptr || node->kind != config::Kind::map) {
    const std::string name = comm.choice("compression", names, std::string("none"));
    out.kind = ddp::compression_of(name.empty() ? "none" : name);
    return out;
  }
  config::MapReader reader = comm.map("compression");
  const std::size_t mistakes = reader.diagnostics().size();
  const std::string name = reader.choice("name", names);
  if (reader.diagnostics().size() != mistakes) return out;
  out.kind = ddp::compression_of(name);
  if (out.kind == ddp::Compression::int8) read_block(reader, out);
  if (out.kind == ddp::Compression::powersgd) {
    out.rank = reader.integer("rank", {.min = 1, .max = kMost_rank}, out.rank);
  }
  if (out.kind == ddp::Compression::topk) {
    out.share = reader.number("share", {.min = 0, .max = 1, .min_open = true}, out.share);
  }
  reader.finish();
  return out;
}

void check_comm(config::MapReader& comm, const RunConfig& config) {
  check_compression(comm, config);
  check_sync_every(comm, config);
  check_balance(comm, config);
}

std::vector<ddp::Bucket> statistic_ranges(const RunConfig& config,
                                          const tensor::FlatLayout& layout) {
  std::vector<ddp::Bucket> ranges;
  for (const std::string& name : statistic_names(*config.model)) {
    const tensor::FlatLayout::Entry* entry = layout.find(name);
    if (entry != nullptr) ranges.push_back({entry->offset, entry->offset + entry->numel});
  }
  std::sort(ranges.begin(), ranges.end(),
            [](const ddp::Bucket& a, const ddp::Bucket& b) { return a.begin < b.begin; });
  return ranges;
}

ddp::ReducerOptions reducer_options_of(const RunConfig& config, const autodiff::Program& program,
                                       const CommPlan& plan, const RankWork& work) {
  const bool updates_locally = config.sync_every > 1 && work.world_size > 1;
  return {.total = program.layout().total,
          .buckets = plan.buckets,
          .num_leaves = work.num_leaves,
          .num_workers = work.num_workers,
          .reduction = updates_locally ? ddp::Reduction::none : config.reduction,
          .compression = config.compression,
          .ranges = ddp::gradient_ranges(program.layout(), statistic_names(*config.model),
                                         config.compression),
          .overlap = config.overlap,
          .shards = plan.shards,
          .everywhere = statistic_ranges(config, program.layout()),
          .release = plan.shards && config.shard == Sharding::gradients,
          .shared_memory = config.shared_memory};
}

}  // namespace dlt::train
