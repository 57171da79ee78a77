// SPDX-License-Identifier: Apache-2.0
#include "autodiff/passes.h"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <queue>
#include <utility>

#include "base/error.h"

namespace dlt::autodiff {
namespace {

/// Marks the producers of `wanted` and all that they need.
std::vector<bool> needed_nodes(const Graph& graph, std::span<const ValueId> wanted) {
  std::vector<bool> needed(graph.nodes().size(), false);
  const auto need = [&](ValueId id) {
    const std::int32_t producer = graph.value(id).producer;
    if (producer >= 0) needed[at(producer)] = true;
  };
  for (const ValueId id : wanted) need(id);
  for (std::size_t i = needed.size(); i-- > 0;) {
    if (!needed[i]) continue;
    for (const ValueId id : graph.nodes()[i].inputs) need(id);
  }
  return needed;
}

int drop_nodes(Graph& graph, const std::vector<bool>& keep) {
  std::vector<Node>& nodes = graph.mutable_nodes();
  std::vector<Node> kept;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const std::int32_t producer = keep[i] ? static_cast<std::int32_t>(kept.size()) : -1;
    for (const ValueId id : nodes[i].outputs) graph.mutable_values()[at(id)].producer = producer;
    if (keep[i]) kept.push_back(std::move(nodes[i]));
  }
  const auto dropped = static_cast<int>(nodes.size() - kept.size());
  nodes = std::move(kept);
  return dropped;
}

/// A set of nodes as bits.
using Bits = std::vector<std::uint64_t>;
void set_bit(Bits& bits, std::size_t i) { bits[i / 64] |= std::uint64_t{1} << (i % 64); }
bool has_bit(const Bits& bits, std::size_t i) { return (bits[i / 64] >> (i % 64) & 1) != 0; }

/// For each node: itself and all nodes it needs.
std::vector<Bits> ancestors(const Graph& graph) {
  const std::size_t num_nodes = graph.nodes().size();
  std::vector<Bits> sets(num_nodes, Bits((num_nodes + 63) / 64, 0));
  for (std::size_t i = 0; i < num_nodes; ++i) {
    set_bit(sets[i], i);
    for (const ValueId id : graph.nodes()[i].inputs) {
      const std::int32_t producer = graph.value(id).producer;
      if (producer < 0) continue;
      DLT_CHECK(at(producer) < i, "nodes stand behind the producers of their inputs");
      for (std::size_t word = 0; word < sets[i].size(); ++word) {
        sets[i][word] |= sets[at(producer)][word];
      }
    }
  }
  return sets;
}

int count(const Bits& bits) {
  int total = 0;
  for (const std::uint64_t word : bits) total += __builtin_popcountll(word);
  return total;
}

void number_producers(Graph& graph) {
  for (std::size_t i = 0; i < graph.nodes().size(); ++i) {
    for (const ValueId id : graph.nodes()[i].outputs) {
      graph.mutable_values()[at(id)].producer = static_cast<std::int32_t>(i);
    }
  }
}

}  // namespace

void sort_nodes(Graph& graph, const std::vector<std::int32_t>& places) {
  number_producers(graph);
  const std::vector<Node>& nodes = graph.nodes();
  std::vector<std::vector<std::size_t>> readers(nodes.size());
  std::vector<int> missing(nodes.size(), 0);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    for (const ValueId id : nodes[i].inputs) {
      const std::int32_t producer = graph.value(id).producer;
      if (producer < 0) continue;
      readers[at(producer)].push_back(i);
      ++missing[i];
    }
  }
  using Entry = std::pair<std::int32_t, std::size_t>;
  std::priority_queue<Entry, std::vector<Entry>, std::greater<>> ready;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    if (missing[i] == 0) ready.emplace(places[i], i);
  }
  std::vector<Node> sorted;
  while (!ready.empty()) {
    const std::size_t i = ready.top().second;
    ready.pop();
    sorted.push_back(nodes[i]);
    for (const std::size_t reader : readers[i]) {
      if (--missing[reader] == 0) ready.emplace(places[reader], reader);
    }
  }
  DLT_CHECK(sorted.size() == nodes.size(), "nodes wait for each other");
  graph.mutable_nodes() = std::move(sorted);
  number_producers(graph);
}

int remove_dead_nodes(Graph& graph) {
  std::vector<ValueId> wanted;
  for (const auto& output : graph.outputs()) wanted.push_back(output.second);
  for (const auto& entry : graph.gradients()) wanted.push_back(entry.second);
  return drop_nodes(graph, needed_nodes(graph, wanted));
}

int remove_unneeded_nodes(Graph& graph, std::int32_t first_node, std::span<const ValueId> wanted) {
  std::vector<bool> keep = needed_nodes(graph, wanted);
  std::fill(keep.begin(), keep.begin() + first_node, true);
  return drop_nodes(graph, keep);
}

std::vector<std::int32_t> schedule(const Graph& graph) {
  const std::vector<Bits> sets = ancestors(graph);
  std::vector<bool> done(graph.nodes().size(), false);
  std::vector<std::int32_t> order;
  const auto emit = [&](std::size_t wanted) {
    for (std::size_t i = 0; i <= wanted; ++i) {
      if (done[i] || !has_bit(sets[wanted], i)) continue;
      done[i] = true;
      order.push_back(static_cast<std::int32_t>(i));
    }
  };
  for (std::size_t i = 0; i < done.size(); ++i) {
    if (!graph.nodes()[i].backward) emit(i);
  }
  // What needs fewer nodes is final earlier; a gradient whose nodes are all needed by another one
  // always comes before it.
  std::vector<std::pair<int, std::int32_t>> finals;
  for (const auto& entry : graph.gradients()) {
    const std::int32_t producer = graph.value(entry.second).producer;
    if (producer >= 0) finals.emplace_back(count(sets[at(producer)]), producer);
  }
  std::sort(finals.begin(), finals.end());
  for (const auto& final : finals) emit(at(final.second));
  for (std::size_t i = 0; i < done.size(); ++i) emit(i);
  return order;
}

}  // namespace dlt::autodiff
