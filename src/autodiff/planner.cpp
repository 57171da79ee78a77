// SPDX-License-Identifier: Apache-2.0
#include "autodiff/planner.h"

#include <algorithm>
#include <cstddef>
#include <limits>
#include <tuple>
#include <utility>

#include "base/error.h"
#include "base/text.h"
#include "tensor/storage.h"

namespace dlt::autodiff {
namespace {

/// For each value the one whose memory it is: itself, or what it is a reshape of.
std::vector<ValueId> alias_roots(const Graph& graph) {
  std::vector<ValueId> roots(graph.values().size());
  for (std::size_t i = 0; i < roots.size(); ++i) roots[i] = {static_cast<std::int32_t>(i)};
  for (const Node& node : graph.nodes()) {
    if (node.op->alias) roots[at(node.outputs[0])] = roots[at(node.inputs[0])];
  }
  return roots;
}

struct Life {
  std::int32_t first = std::numeric_limits<std::int32_t>::max();
  std::int32_t last = -1;
  [[nodiscard]] bool used() const { return last >= 0; }
  void add(std::int32_t position) {
    first = std::min(first, position);
    last = std::max(last, position);
  }
  void add(const Life& other) {
    first = std::min(first, other.first);
    last = std::max(last, other.last);
  }
};

/// The positions between which each root is made or read; outputs live to the end.
std::vector<Life> lives_of(const Graph& graph, const std::vector<std::int32_t>& order,
                           const std::vector<ValueId>& roots) {
  std::vector<Life> lives(graph.values().size());
  for (std::size_t position = 0; position < order.size(); ++position) {
    const Node& node = graph.nodes()[at(order[position])];
    const auto now = static_cast<std::int32_t>(position);
    for (const ValueId id : node.inputs) lives[at(roots[at(id)])].add(now);
    for (const ValueId id : node.outputs) lives[at(roots[at(id)])].add(now);
  }
  const auto end = static_cast<std::int32_t>(order.empty() ? 0 : order.size() - 1);
  for (const auto& output : graph.outputs()) lives[at(roots[at(output.second)])].add(end);
  return lives;
}

/// A stretch of the arena: one root or more that hand it over in place, or a kernel's scratch.
struct Block {
  Life life;
  std::int64_t size_bytes = 0;
  std::int64_t offset_bytes = -1;
};

bool overlap(const Life& a, const Life& b) { return a.first <= b.last && b.first <= a.last; }

/// The tightest gap between the already placed blocks of its time, else behind them.
std::int64_t best_fit(const Block& block, const std::vector<Block>& blocks,
                      const std::vector<std::size_t>& placed) {
  std::vector<std::pair<std::int64_t, std::int64_t>> taken;
  for (const std::size_t other : placed) {
    const Block& neighbour = blocks[other];
    if (!overlap(block.life, neighbour.life)) continue;
    taken.emplace_back(neighbour.offset_bytes, neighbour.offset_bytes + neighbour.size_bytes);
  }
  std::sort(taken.begin(), taken.end());
  std::int64_t end = 0, best = -1, best_gap = std::numeric_limits<std::int64_t>::max();
  for (const auto& [from, to] : taken) {
    const std::int64_t gap = from - end;
    if (gap >= block.size_bytes && gap < best_gap) {
      best = end;
      best_gap = gap;
    }
    end = std::max(end, to);
  }
  return best >= 0 ? best : end;
}

/// Large blocks first: they are the hardest to fit.
std::int64_t place(std::vector<Block>& blocks) {
  std::vector<std::size_t> by_size(blocks.size()), placed;
  for (std::size_t i = 0; i < blocks.size(); ++i) by_size[i] = i;
  std::sort(by_size.begin(), by_size.end(), [&](std::size_t a, std::size_t b) {
    return std::make_tuple(-blocks[a].size_bytes, blocks[a].life.first, a) <
           std::make_tuple(-blocks[b].size_bytes, blocks[b].life.first, b);
  });
  std::int64_t arena_bytes = 0;
  for (const std::size_t i : by_size) {
    blocks[i].offset_bytes = best_fit(blocks[i], blocks, placed);
    arena_bytes = std::max(arena_bytes, blocks[i].offset_bytes + blocks[i].size_bytes);
    placed.push_back(i);
  }
  return arena_bytes;
}

std::int64_t largest_sum(const std::vector<Block>& blocks, std::size_t num_positions) {
  std::vector<std::int64_t> change(num_positions + 1, 0);
  for (const Block& block : blocks) {
    change[at(block.life.first)] += block.size_bytes;
    change[at(block.life.last) + 1] -= block.size_bytes;
  }
  std::int64_t sum = 0, largest = 0;
  for (const std::int64_t step : change) largest = std::max(largest, sum += step);
  return largest;
}

class Planner {
 public:
  Planner(const Graph& graph, std::vector<std::int32_t> order, const tensor::FlatLayout& layout)
      : graph_(graph),
        layout_(layout),
        roots_(alias_roots(graph)),
        lives_(lives_of(graph, order, roots_)) {
    plan_.order = std::move(order);
    plan_.slots.resize(graph.values().size());
    block_of_.resize(graph.values().size(), kNone);
  }

  MemoryPlan run(const std::vector<std::int64_t>& scratch_bytes) {
    place_flat();
    for (std::size_t i = 0; i < plan_.order.size(); ++i) add_outputs(i);
    const std::vector<std::size_t> scratch_blocks = add_scratch(scratch_bytes);
    plan_.arena_bytes = place(blocks_);
    plan_.live_bytes = largest_sum(blocks_, plan_.order.size());
    plan_.scratch_offset_bytes.assign(graph_.nodes().size(), -1);
    for (std::size_t i = 0; i < scratch_blocks.size(); ++i) {
      if (scratch_blocks[i] == kNone) continue;
      plan_.scratch_offset_bytes[i] = blocks_[scratch_blocks[i]].offset_bytes;
    }
    fill_slots();
    return std::move(plan_);
  }

 private:
  static constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();

  /// Inputs, parameters, constants and gradients do not live in the arena.
  void place_flat() {
    std::int64_t input_index = 0;
    for (std::size_t i = 0; i < plan_.slots.size(); ++i) {
      const Value& value = graph_.values()[i];
      if (value.kind == ValueKind::input) {
        plan_.slots[i].place = Place::input;
        plan_.slots[i].offset_bytes = input_index++;
      } else if (value.kind == ValueKind::param) {
        plan_.slots[i].place = Place::param;
        plan_.slots[i].offset_bytes = flat_offset_bytes(value);
      } else if (value.kind == ValueKind::constant) {
        plan_.slots[i].place = Place::constant;
        plan_.slots[i].offset_bytes = static_cast<std::int64_t>(i);
      }
    }
    for (const auto& [param, gradient] : graph_.gradients()) {
      Slot& slot = plan_.slots[at(gradient)];
      DLT_CHECK(graph_.value(gradient).kind == ValueKind::result &&
                    roots_[at(gradient)] == gradient && slot.place == Place::arena,
                cat("the gradient of ", graph_.value(param).name, " has no memory of its own"));
      slot.place = Place::gradient;
      slot.offset_bytes = flat_offset_bytes(graph_.value(param));
    }
  }

  std::int64_t flat_offset_bytes(const Value& param) {
    const tensor::FlatLayout::Entry* entry = layout_.find(param.name);
    DLT_CHECK(entry != nullptr, cat(param.name, " is not in the layout"));
    DLT_CHECK(entry->shape == param.type.shape,
              cat(param.name, ": the layout has ", entry->shape.text(), ", the graph ",
                  param.type.shape.text()));
    if (!has_params_) dtype_ = param.type.dtype;
    has_params_ = true;
    DLT_CHECK(dtype_ == param.type.dtype, cat(param.name, " has another dtype than the others"));
    return entry->offset * static_cast<std::int64_t>(size_bytes(dtype_));
  }

  void add_outputs(std::size_t position) {
    const Node& node = graph_.nodes()[at(plan_.order[position])];
    std::vector<std::size_t> given;  // blocks that outputs of this node have taken over
    for (std::size_t i = 0; i < node.outputs.size(); ++i) {
      const ValueId id = node.outputs[i];
      if (roots_[at(id)] != id || plan_.slots[at(id)].place != Place::arena) continue;
      const std::size_t block = handed_over(node, i, position, given);
      if (block != kNone) {
        block_of_[at(id)] = block;
        blocks_[block].life.add(lives_[at(id)]);
        given.push_back(block);
        continue;
      }
      block_of_[at(id)] = blocks_.size();
      blocks_.push_back({lives_[at(id)], tensor::aligned(graph_.value(id).type.bytes()), -1});
    }
  }

  /// The block of an input that dies here and that the op may write this output over.
  [[nodiscard]] std::size_t handed_over(const Node& node, std::size_t output, std::size_t position,
                                        const std::vector<std::size_t>& given) const {
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      if (!fits_over(*node.op, output, i)) continue;
      const std::size_t block = block_of_[at(roots_[at(node.inputs[i])])];
      const bool taken = std::find(given.begin(), given.end(), block) != given.end();
      if (block != kNone && !taken &&
          may_take(node, node.inputs[i], node.outputs[output], position))
        return block;
    }
    return kNone;
  }

  static bool fits_over(const OpDef& op, std::size_t output, std::size_t input) {
    const auto is = [](std::size_t index, int wanted) { return static_cast<int>(index) == wanted; };
    return (op.in_place && output == 0 && input == 0) || op.in_place_all ||
           (is(output, op.also_in_place.output) && is(input, op.also_in_place.input));
  }

  [[nodiscard]] bool may_take(const Node& node, ValueId input, ValueId output,
                              std::size_t position) const {
    const ValueId root = roots_[at(input)];
    const bool dies = lives_[at(root)].last == static_cast<std::int32_t>(position);
    // Outputs live to the last position, where a node must not take them over.
    const bool is_output =
        std::any_of(graph_.outputs().begin(), graph_.outputs().end(),
                    [&](const auto& entry) { return roots_[at(entry.second)] == root; });
    const bool read_twice = std::count_if(node.inputs.begin(), node.inputs.end(),
                                          [&](ValueId id) { return roots_[at(id)] == root; }) > 1;
    const bool same_size = graph_.value(input).type.bytes() == graph_.value(output).type.bytes();
    return dies && !is_output && (!read_twice || node.op->in_place_all) && same_size;
  }

  std::vector<std::size_t> add_scratch(const std::vector<std::int64_t>& scratch_bytes) {
    std::vector<std::size_t> blocks(graph_.nodes().size(), kNone);
    for (std::size_t i = 0; i < plan_.order.size(); ++i) {
      const std::int64_t size_bytes = scratch_bytes[at(plan_.order[i])];
      if (size_bytes <= 0) continue;
      blocks[at(plan_.order[i])] = blocks_.size();
      const auto now = static_cast<std::int32_t>(i);
      blocks_.push_back({{now, now}, tensor::aligned(size_bytes), -1});
    }
    return blocks;
  }

  void fill_slots() {
    for (std::size_t i = 0; i < plan_.slots.size(); ++i) {
      const std::size_t root = at(roots_[i]);
      Slot& slot = plan_.slots[i];
      slot.place = plan_.slots[root].place;
      slot.offset_bytes = block_of_[root] == kNone ? plan_.slots[root].offset_bytes
                                                   : blocks_[block_of_[root]].offset_bytes;
      if (!lives_[root].used()) continue;
      slot.first = lives_[root].first;
      slot.last = lives_[root].last;
    }
  }

  const Graph& graph_;
  const tensor::FlatLayout& layout_;
  const std::vector<ValueId> roots_;
  const std::vector<Life> lives_;      // by root
  std::vector<std::size_t> block_of_;  // by root
  std::vector<Block> blocks_;
  MemoryPlan plan_;
  DType dtype_ = DType::f32;
  bool has_params_ = false;
};

}  // namespace

std::vector<std::int32_t> final_positions(const Graph& graph,
                                          const std::vector<std::int32_t>& order) {
  const std::vector<ValueId> roots = alias_roots(graph);
  std::vector<std::int32_t> last(graph.values().size(), -1);
  for (std::size_t position = 0; position < order.size(); ++position) {
    const Node& node = graph.nodes()[at(order[position])];
    const auto now = static_cast<std::int32_t>(position);
    for (const ValueId id : node.inputs) last[at(roots[at(id)])] = now;
    for (const ValueId id : node.outputs) last[at(roots[at(id)])] = now;
  }
  std::vector<std::int32_t> positions;
  for (const auto& entry : graph.gradients())
    positions.push_back(last[at(roots[at(entry.second)])]);
  return positions;
}

tensor::FlatLayout gradient_layout(const Graph& graph, const std::vector<std::int32_t>& order) {
  const std::vector<std::int32_t> positions = final_positions(graph, order);
  std::vector<std::pair<std::int32_t, std::size_t>> by_time;
  for (std::size_t i = 0; i < positions.size(); ++i) by_time.emplace_back(positions[i], i);
  std::sort(by_time.begin(), by_time.end());
  tensor::FlatLayout layout;
  std::vector<bool> done(graph.values().size(), false);
  for (const auto& entry : by_time) {
    const ValueId param = graph.gradients()[entry.second].first;
    layout.append(graph.value(param).name, graph.shape(param));
    done[at(param)] = true;
  }
  std::vector<std::pair<std::string, ValueId>> others;
  for (const ValueId param : graph.params()) {
    if (!done[at(param)]) others.emplace_back(graph.value(param).name, param);
  }
  std::sort(others.begin(), others.end());
  for (const auto& [name, param] : others) layout.append(name, graph.shape(param));
  return layout;
}

MemoryPlan plan_memory(const Graph& graph, std::vector<std::int32_t> order,
                       const tensor::FlatLayout& layout,
                       const std::vector<std::int64_t>& scratch_bytes) {
  DLT_CHECK(order.size() == graph.nodes().size() && scratch_bytes.size() == order.size(),
            cat(order.size(), " of ", graph.nodes().size(), " nodes"));
  return Planner(graph, std::move(order), layout).run(scratch_bytes);
}

}  // namespace dlt::autodiff
