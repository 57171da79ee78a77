// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "autodiff/graph.h"
#include "tensor/flat_layout.h"

namespace dlt::autodiff {

enum class Place : std::uint8_t { arena, input, param, gradient, constant };

/// Where each value lives. Two values whose lives overlap never share memory, save aliases of one
/// buffer.
struct Slot {
  Place place = Place::arena;
  std::int64_t offset_bytes = -1;  // arena: from its start; param, gradient: in the flat buffer;
                                   // input: index; constant: the value's index
  std::int32_t first = -1;         // positions in the order between which the memory is in use
  std::int32_t last = -1;
};

struct MemoryPlan {
  std::vector<std::int32_t> order;                 // node indices
  std::vector<Slot> slots;                         // one for each value of the graph
  std::vector<std::int64_t> scratch_offset_bytes;  // one for each node: in the arena, -1: none
  std::int64_t arena_bytes = 0;
  std::int64_t live_bytes = 0;  // largest sum of live values: a lower bound of arena_bytes
};

/// The position in the order after which each gradient of Graph::gradients() is final: where its
/// last reader in the graph (or, without one, its producer) has run. From then on the reduction may
/// change its memory.
[[nodiscard]] std::vector<std::int32_t> final_positions(const Graph& graph,
                                                        const std::vector<std::int32_t>& order);

/// Parameters in the order in which their gradients are final when nodes run in this order. Those
/// without a gradient come last, by name.
[[nodiscard]] tensor::FlatLayout gradient_layout(const Graph& graph,
                                                 const std::vector<std::int32_t>& order);

/// Plans one arena by liveness (best fit over the sorted values), re-using an input's memory where
/// the op allows it. scratch_bytes[node] is what a node's kernel needs beside its values. Every
/// arena offset is a multiple of 64. Parameters and gradients lie at their layout offset; all
/// parameters must have one dtype. Values that no node of the order makes get no memory. errors
/// Exit::internal if a parameter is not in the layout with its shape, or a gradient shares
///         its memory with another value (append_backward makes none such)
[[nodiscard]] MemoryPlan plan_memory(const Graph& graph, std::vector<std::int32_t> order,
                                     const tensor::FlatLayout& layout,
                                     const std::vector<std::int64_t>& scratch_bytes);

}  // namespace dlt::autodiff
