// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/executor.h"

namespace dlt::autodiff {

struct Program::Impl {
  explicit Impl(Graph program_graph) : graph(std::move(program_graph)) {}
  void make_kernels(const tensor::Backend& backend);
  void find_final_prefixes();
  void find_hash();

  Graph graph;
  MemoryPlan plan;
  tensor::FlatLayout layout;
  std::vector<std::unique_ptr<tensor::Kernel>> kernels;  // one for each node; null: nothing to run
  std::vector<std::int64_t> kept_offset_bytes;           // of each node; -1: keeps nothing
  std::int64_t kept_bytes = 0;
  std::vector<std::string> host_fallbacks;
  /// For each position of the order: elements of the flat gradient buffer that are final behind it.
  std::vector<std::int64_t> final_prefix;
  /// The same before the first node: all, in a program without gradients.
  std::int64_t start_prefix = 0;
  /// (offset, size) in the flat gradient buffer of parameters without a gradient.
  std::vector<std::pair<std::int64_t, std::int64_t>> zero_ranges_bytes;
  std::vector<Program::FinalPoint> final_points;
  std::vector<std::int64_t> sync_numel;  // of each sync node, in the order of execution
  std::int64_t flops = 0;
  std::uint64_t hash = 0;
};

}  // namespace dlt::autodiff
