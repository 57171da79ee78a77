// SPDX-License-Identifier: Apache-2.0
// The memory plan against liveness computed anew, in another way, on random graphs.
#include "autodiff/planner.h"

#include <algorithm>

#include <gtest/gtest.h>

#include "autodiff/backward.h"
#include "autodiff/graphs.h"
#include "autodiff/passes.h"
#include "base/error.h"
#include "base/rng.h"
#include "ops/ops.h"

namespace dlt::autodiff {
namespace {

struct Planned {
  Graph graph;
  tensor::FlatLayout layout;
  std::vector<std::int64_t> scratch_bytes;
  MemoryPlan plan;
};

Planned make_plan(const OpTable& ops, std::uint64_t seed) {
  Case c = random_case(ops, seed);
  if (seed % 3 != 0) (void)fuse_bias_activation(c.graph);
  if (seed % 4 != 0) append_backward(c.graph, c.loss, c.weight);
  (void)remove_dead_nodes(c.graph);
  std::vector<std::int64_t> scratch_bytes;
  for (std::size_t i = 0; i < c.graph.nodes().size(); ++i) {
    const auto word = rng::block({seed, 2, 0, 0}, static_cast<std::uint32_t>(i))[0];
    scratch_bytes.push_back(word % 3 == 0 ? word % 300 : 0);
  }
  const std::vector<std::int32_t> order = schedule(c.graph);
  tensor::FlatLayout layout = gradient_layout(c.graph, order);
  MemoryPlan plan = plan_memory(c.graph, order, layout, scratch_bytes);
  return {std::move(c.graph), std::move(layout), std::move(scratch_bytes), std::move(plan)};
}

/// What is in the arena: all values that are one memory by reshape, or the scratch of a node.
struct Piece {
  std::string name;
  std::int64_t offset = 0, size = 0;
  int born = 0, dies = 0;
  ValueId root;  // invalid: scratch
};

/// Follows reshapes back to what they are a shape of.
ValueId root_of(const Graph& graph, ValueId id) {
  const std::int32_t producer = graph.value(id).producer;
  if (producer < 0) return id;
  const Node& node = graph.nodes()[static_cast<std::size_t>(producer)];
  return node.op->alias ? root_of(graph, node.inputs[0]) : id;
}

std::vector<Piece> pieces_of(const Planned& p) {
  std::vector<Piece> pieces;
  const int end = static_cast<int>(p.plan.order.size());
  const auto node_at = [&](int position) -> const Node& {
    return p.graph
        .nodes()[static_cast<std::size_t>(p.plan.order[static_cast<std::size_t>(position)])];
  };
  for (int position = 0; position < end; ++position) {
    for (const ValueId id : node_at(position).outputs) {
      if (root_of(p.graph, id) != id || p.plan.slots[at(id)].place != Place::arena) continue;
      Piece piece{"%" + std::to_string(id.index),
                  p.plan.slots[at(id)].offset_bytes,
                  p.graph.value(id).type.bytes(),
                  position,
                  position,
                  id};
      for (int later = position; later < end; ++later) {
        for (const ValueId used : node_at(later).inputs) {
          if (root_of(p.graph, used) == id) piece.dies = later;
        }
      }
      for (const auto& output : p.graph.outputs()) {
        if (root_of(p.graph, output.second) == id) piece.dies = end;
      }
      pieces.push_back(piece);
    }
    const auto node = static_cast<std::size_t>(p.plan.order[static_cast<std::size_t>(position)]);
    if (p.plan.scratch_offset_bytes[node] >= 0) {
      pieces.push_back({"scratch of node " + std::to_string(node),
                        p.plan.scratch_offset_bytes[node], p.scratch_bytes[node], position,
                        position, ValueId{}});
    }
  }
  return pieces;
}

/// `from` ends where `to` begins, as an input and an output (the first ones, if the op asks for
/// that) of an op that may work in place.
bool handed_over(const Planned& p, const Piece& from, const Piece& to) {
  if (!from.root.valid() || !to.root.valid() || from.dies != to.born) return false;
  const auto producer = static_cast<std::size_t>(p.graph.value(to.root).producer);
  const Node& node = p.graph.nodes()[producer];
  const auto readers = std::count_if(node.inputs.begin(), node.inputs.end(),
                                     [&](ValueId id) { return root_of(p.graph, id) == from.root; });
  const bool first =
      root_of(p.graph, node.inputs[0]) == from.root && readers == 1 && node.outputs[0] == to.root;
  return node.op->in_place && (first || node.op->in_place_all) && readers >= 1 &&
         from.offset == to.offset && from.size == to.size;
}

class PlanMemory : public ::testing::Test {
 protected:
  OpTable ops_ = ops::make_op_table();
};

TEST_F(PlanMemory, NoTwoLiveValuesOverlap) {
  int num_in_place = 0;
  for (std::uint64_t seed = 0; seed < 400; ++seed) {
    const Planned p = make_plan(ops_, seed);
    const std::vector<Piece> pieces = pieces_of(p);
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      const Piece& a = pieces[i];
      EXPECT_EQ(a.offset % 64, 0) << "seed " << seed << " " << a.name;
      EXPECT_GE(a.offset, 0) << "seed " << seed << " " << a.name;
      EXPECT_LE(a.offset + a.size, p.plan.arena_bytes) << "seed " << seed << " " << a.name;
      for (std::size_t j = 0; j < i; ++j) {
        const Piece& b = pieces[j];
        if (a.born > b.dies || b.born > a.dies) continue;
        if (a.offset >= b.offset + b.size || b.offset >= a.offset + a.size) continue;
        const bool allowed = handed_over(p, a, b) || handed_over(p, b, a);
        EXPECT_TRUE(allowed) << "seed " << seed << ": " << a.name << " and " << b.name << " in\n"
                             << p.graph.text();
        num_in_place += allowed ? 1 : 0;
      }
    }
  }
  EXPECT_GT(num_in_place, 100);
}

TEST_F(PlanMemory, AliasesShareTheirRootsSlot) {
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Planned p = make_plan(ops_, seed);
    for (const Node& node : p.graph.nodes()) {
      if (!node.op->alias) continue;
      const Slot& in = p.plan.slots[at(node.inputs[0])];
      const Slot& out = p.plan.slots[at(node.outputs[0])];
      EXPECT_EQ(in.place, out.place) << "seed " << seed;
      EXPECT_EQ(in.offset_bytes, out.offset_bytes) << "seed " << seed;
    }
  }
}

TEST_F(PlanMemory, ParametersAndGradientsLieAtTheirLayoutOffset) {
  const Planned p = make_plan(ops_, 5);
  ASSERT_FALSE(p.graph.gradients().empty());
  for (const auto& [param, gradient] : p.graph.gradients()) {
    const auto* entry = p.layout.find(p.graph.value(param).name);
    EXPECT_EQ(p.plan.slots[at(param)].place, Place::param);
    EXPECT_EQ(p.plan.slots[at(gradient)].place, Place::gradient);
    EXPECT_EQ(p.plan.slots[at(param)].offset_bytes, entry->offset * 8);
    EXPECT_EQ(p.plan.slots[at(gradient)].offset_bytes, entry->offset * 8);
  }
}

TEST_F(PlanMemory, ArenaIsCloseToWhatIsAlive) {
  double sum_ratio = 0;
  int count = 0;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    const Planned p = make_plan(ops_, seed);
    EXPECT_GE(p.plan.arena_bytes, p.plan.live_bytes) << "seed " << seed;
    if (p.plan.live_bytes == 0) continue;
    sum_ratio += static_cast<double>(p.plan.arena_bytes) / static_cast<double>(p.plan.live_bytes);
    ++count;
  }
  EXPECT_LT(sum_ratio / count, 1.05);
}

TEST_F(PlanMemory, ElementwiseChainsNeedOneBuffer) {
  Graph graph(ops_);
  ValueId x = graph.input("x", {{16}, DType::f32});
  for (int i = 0; i < 10; ++i) x = graph.add_one("tanh", {x});
  graph.output("y", x);
  const MemoryPlan plan = plan_memory(graph, schedule(graph), {}, std::vector<std::int64_t>(10, 0));
  EXPECT_EQ(plan.arena_bytes, 64);
}

TEST_F(PlanMemory, NeverWritesOverInputsParametersOrOutputs) {
  Graph graph(ops_);
  const ValueId x = graph.input("x", {{16}, DType::f32});
  const ValueId w = graph.param("w", {16});
  const ValueId a = graph.add_one("add", {x, w});
  graph.output("a", a);
  graph.output("b", graph.add_one("neg", {a}));
  graph.output("c", graph.add_one("neg", {w}));
  tensor::FlatLayout layout;
  layout.append("w", {16});
  const MemoryPlan plan = plan_memory(graph, schedule(graph), layout, {0, 0, 0});
  EXPECT_EQ(plan.arena_bytes, 3 * 64);
}

TEST_F(PlanMemory, RefusesALayoutThatDoesNotFit) {
  Graph graph(ops_);
  const ValueId w = graph.param("w", {16});
  graph.output("y", graph.add_one("neg", {w}));
  tensor::FlatLayout other;
  other.append("w", {4, 4});
  EXPECT_THROW((void)plan_memory(graph, {0}, other, {0}), Error);
  EXPECT_THROW((void)plan_memory(graph, {0}, {}, {0}), Error);
}

TEST_F(PlanMemory, IsAFunctionOfTheGraph) {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const Planned a = make_plan(ops_, seed), b = make_plan(ops_, seed);
    EXPECT_EQ(a.plan.order, b.plan.order);
    for (std::size_t i = 0; i < a.plan.slots.size(); ++i) {
      EXPECT_EQ(a.plan.slots[i].offset_bytes, b.plan.slots[i].offset_bytes);
    }
  }
}

}  // namespace
}  // namespace dlt::autodiff
