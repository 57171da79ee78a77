// SPDX-License-Identifier: Apache-2.0
// Chains and trees of element-wise nodes become one node each. Reshapes between them are looked
// through, since an element keeps its place in memory.
#include <algorithm>
#include <cstddef>
#include <map>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "autodiff/passes.h"
#include "base/error.h"
#include "tensor/pointwise_program.h"

namespace dlt::autodiff {
namespace {

using Index = std::int32_t;

constexpr std::size_t kMaxInputs = 8, kMaxOutputs = 4, kMaxSteps = 16;

class Fuser {
 public:
  explicit Fuser(Graph& graph) : graph_(graph) {}

  int run() {
    look();
    compute_again();
    groups_.resize(graph_.nodes().size());
    for (std::size_t i = 0; i < groups_.size(); ++i) groups_[i] = {static_cast<Index>(i)};
    group_of_.resize(groups_.size());
    for (std::size_t i = 0; i < groups_.size(); ++i) group_of_[i] = static_cast<Index>(i);
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (fits(static_cast<Index>(i))) join(static_cast<Index>(i));
    }
    return emit();
  }

 private:
  [[nodiscard]] const Node& node(Index index) const { return graph_.nodes()[at(index)]; }

  /// What a value is the memory of, and who makes that.
  [[nodiscard]] ValueId root(ValueId id) const {
    for (Index p = graph_.value(id).producer; p >= 0 && node(p).op->alias;
         p = graph_.value(id).producer) {
      id = node(p).inputs[0];
    }
    return id;
  }
  [[nodiscard]] Index maker(ValueId id) const { return graph_.value(root(id)).producer; }
  [[nodiscard]] bool fits(Index index) const {
    return node(index).op->pointwise != Pointwise::no && node(index).outputs.size() == 1;
  }
  /// The inputs that are read element by element.
  [[nodiscard]] std::vector<ValueId> operands(Index index) const {
    std::vector<ValueId> ids;
    const std::size_t count =
        node(index).op->pointwise == Pointwise::repeats ? 1 : node(index).inputs.size();
    for (std::size_t i = 0; i < count; ++i) ids.push_back(root(node(index).inputs[i]));
    return ids;
  }

  /// Who reads each value, or an alias of it; wanted: outputs and gradients.
  void look() {
    readers_.assign(graph_.values().size(), {});
    wanted_.assign(graph_.values().size(), false);
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      if (graph_.nodes()[i].op->alias) continue;
      for (const ValueId id : graph_.nodes()[i].inputs) {
        std::vector<Index>& readers = readers_[at(root(id))];
        if (readers.empty() || readers.back() != static_cast<Index>(i)) {
          readers.push_back(static_cast<Index>(i));
        }
      }
    }
    for (const auto& output : graph_.outputs()) wanted_[at(root(output.second))] = true;
    for (const auto& entry : graph_.gradients()) wanted_[at(root(entry.second))] = true;
  }

  /// A forward node whose result the backward pass reads in element-wise nodes only, and whose
  /// operands it reads anyhow, is copied there: the result then need not be kept.
  void compute_again() {
    std::vector<Index> again;
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      if (worth_computing_again(static_cast<Index>(i))) again.push_back(static_cast<Index>(i));
    }
    if (again.empty()) return;
    std::map<Index, ValueId> copies;  // of each such node, made in front of its first reader
    std::vector<Node> old = std::move(graph_.mutable_nodes()), nodes;
    for (const Node& original : old) {
      Node copy = original;
      for (ValueId& input : copy.inputs) {
        if (copy.backward) input = read_again(input, again, old, copies, nodes);
      }
      nodes.push_back(std::move(copy));
    }
    graph_.mutable_nodes() = std::move(nodes);
    number_producers();
    (void)remove_dead_nodes(graph_);
    look();
  }

  [[nodiscard]] bool worth_computing_again(Index index) const {
    const Node& forward = node(index);
    if (!fits(index) || forward.backward || forward.op->random) return false;
    const ValueId result = forward.outputs[0];
    if (wanted_[at(result)]) return false;
    const std::vector<Index>& readers = readers_[at(result)];
    const bool read_back = std::any_of(readers.begin(), readers.end(),
                                       [&](Index reader) { return node(reader).backward; });
    const bool all_fit =
        std::all_of(readers.begin(), readers.end(), [&](Index reader) { return fits(reader); });
    return read_back && all_fit &&
           std::all_of(forward.inputs.begin(), forward.inputs.end(),
                       [&](ValueId id) { return read_backward(root(id)); });
  }

  /// Whether it is there in the backward pass without us.
  [[nodiscard]] bool read_backward(ValueId id) const {
    if (graph_.value(id).kind != ValueKind::result) return true;
    return std::any_of(readers_[at(id)].begin(), readers_[at(id)].end(),
                       [&](Index reader) { return node(reader).backward; });
  }

  /// `input` of a backward node; where it is (an alias of) a result to be computed again, the copy.
  ValueId read_again(ValueId input, const std::vector<Index>& again, const std::vector<Node>& old,
                     std::map<Index, ValueId>& copies, std::vector<Node>& nodes) {
    const Index producer = graph_.value(input).producer;
    if (producer < 0) return input;
    const Node& source = old[at(producer)];
    const bool wanted = std::find(again.begin(), again.end(), producer) != again.end();
    const bool alias = source.op->alias && !source.backward;
    if (!wanted && !alias) return input;
    const auto known = copies.find(producer);
    if (known != copies.end()) return known->second;
    Node copy = source;
    copy.backward = true;
    for (ValueId& id : copy.inputs) id = read_again(id, again, old, copies, nodes);
    if (!wanted && copy.inputs == source.inputs) return input;  // nothing below is computed again
    const ValueId fresh{static_cast<Index>(graph_.values().size())};
    graph_.mutable_values().push_back(
        {graph_.value(source.outputs[0]).type, ValueKind::result, "", -1});
    copy.outputs[0] = fresh;
    nodes.push_back(std::move(copy));
    copies.emplace(producer, fresh);
    return fresh;
  }

  void number_producers() {
    for (std::size_t i = 0; i < graph_.nodes().size(); ++i) {
      for (const ValueId id : graph_.nodes()[i].outputs) {
        graph_.mutable_values()[at(id)].producer = static_cast<Index>(i);
      }
    }
  }

  /// Puts a node into the groups of what it reads, and of its layer's nodes that read the same.
  void join(Index index) {
    const std::vector<ValueId> ids = operands(index);
    for (const ValueId id : ids) {
      const Index producer = maker(id);
      if (producer >= 0 && fits(producer)) merge(producer, index);
    }
    for (const ValueId id : ids) {
      for (const Index other : readers_[at(id)]) {
        if (other >= index) break;
        const std::vector<ValueId> theirs = fits(other) ? operands(other) : std::vector<ValueId>{};
        const bool sibling = node(other).scope == node(index).scope &&
                             std::find(theirs.begin(), theirs.end(), id) != theirs.end();
        if (sibling) merge(other, index);
      }
    }
  }

  void merge(Index a, Index b) {
    const Index ga = group_of_[at(a)], gb = group_of_[at(b)];
    const tensor::TensorType &ta = graph_.value(node(a).outputs[0]).type,
                             &tb = graph_.value(node(b).outputs[0]).type;
    if (ga == gb || node(a).backward != node(b).backward || ta.dtype != tb.dtype ||
        ta.shape.numel() != tb.shape.numel()) {
      return;
    }
    std::vector<Index> all = groups_[at(ga)];
    all.insert(all.end(), groups_[at(gb)].begin(), groups_[at(gb)].end());
    std::sort(all.begin(), all.end());
    if (all.size() > kMaxSteps || inputs_of(all).size() > kMaxInputs ||
        outputs_of(all).size() > kMaxOutputs || !same_samples(all) || has_way_around(all)) {
      return;
    }
    for (const Index member : groups_[at(gb)]) group_of_[at(member)] = ga;
    groups_[at(gb)].clear();
    groups_[at(ga)] = std::move(all);
  }

  /// Random numbers are drawn by sample: all such members must see the same samples.
  [[nodiscard]] bool same_samples(const std::vector<Index>& members) const {
    std::set<std::int64_t> batches;
    for (const Index member : members) {
      if (node(member).op->random) batches.insert(graph_.shape(node(member).outputs[0])[0]);
    }
    return batches.size() <= 1;
  }

  static bool is_member(const std::vector<Index>& members, Index index) {
    return std::binary_search(members.begin(), members.end(), index);
  }

  /// Whether something outside needs a member and is needed by one: then the members could not run
  /// at one time.
  [[nodiscard]] bool has_way_around(const std::vector<Index>& members) const {
    std::vector<bool> seen(graph_.nodes().size(), false);
    std::vector<Index> open;
    const auto open_producer = [&](Index producer) {
      if (producer < 0 || seen[at(producer)]) return;
      seen[at(producer)] = true;
      open.push_back(producer);
    };
    for (const Index member : members) {
      for (const ValueId id : node(member).inputs) {
        if (!is_member(members, maker(id))) open_producer(maker(id));
      }
    }
    while (!open.empty()) {
      const Index index = open.back();
      open.pop_back();
      for (const Index other : groups_[at(group_of_[at(index)])]) {
        for (const ValueId id : node(other).inputs) {
          if (is_member(members, maker(id))) return true;
          open_producer(maker(id));
        }
      }
    }
    return false;
  }

  [[nodiscard]] std::vector<ValueId> inputs_of(const std::vector<Index>& members) const {
    std::vector<ValueId> inputs;
    for (const Index member : members) {
      for (const ValueId id : node(member).inputs) {
        const ValueId source = root(id);
        if (is_member(members, graph_.value(source).producer)) continue;
        if (std::find(inputs.begin(), inputs.end(), source) == inputs.end()) {
          inputs.push_back(source);
        }
      }
    }
    return inputs;
  }

  [[nodiscard]] std::vector<ValueId> outputs_of(const std::vector<Index>& members) const {
    std::vector<ValueId> outputs;
    for (const Index member : members) {
      const ValueId id = node(member).outputs[0];
      const std::vector<Index>& readers = readers_[at(id)];
      const bool leaves =
          wanted_[at(id)] || std::any_of(readers.begin(), readers.end(),
                                         [&](Index reader) { return !is_member(members, reader); });
      if (leaves) outputs.push_back(id);
    }
    return outputs;
  }

  /// The members as one node.
  [[nodiscard]] Node fused(const std::vector<Index>& members) const {
    Node result = node(members.back());
    result.op = graph_.ops().find("fused_pointwise");
    result.inputs = inputs_of(members);
    result.outputs = outputs_of(members);
    tensor::PointwiseProgram program;
    program.num_inputs = static_cast<int>(result.inputs.size());
    std::map<ValueId, int> registers;
    for (const ValueId id : result.inputs)
      registers.emplace(id, static_cast<int>(registers.size()));
    for (const Index member : members) {
      tensor::PointwiseStep step{std::string(node(member).op->name), {}, node(member).attrs};
      for (const ValueId id : node(member).inputs)
        step.inputs.push_back(read(program, registers, id));
      program.steps.push_back(std::move(step));
      registers.emplace(node(member).outputs[0], program.num_registers() - 1);
    }
    for (const ValueId id : result.outputs) program.outputs.push_back(registers.at(id));
    result.attrs = tensor::Attrs{{"program", program.text()}};
    return result;
  }

  /// The register that holds a value, under its shape.
  int read(tensor::PointwiseProgram& program, std::map<ValueId, int>& registers, ValueId id) const {
    const auto known = registers.find(id);
    if (known != registers.end()) return known->second;
    const std::span<const std::int64_t> dims = graph_.shape(id).dims();
    program.steps.push_back({"reshape",
                             {registers.at(root(id))},
                             {{"shape", std::vector<std::int64_t>(dims.begin(), dims.end())}}});
    registers.emplace(id, program.num_registers() - 1);
    return program.num_registers() - 1;
  }

  int emit() {
    int changed = 0;
    std::vector<Node> nodes;
    std::vector<Index> place;  // in the order of the old nodes
    for (std::size_t i = 0; i < groups_.size(); ++i) {
      if (groups_[i].empty()) continue;
      const bool single = groups_[i].size() == 1;
      place.push_back(groups_[i].front());
      nodes.push_back(single ? graph_.nodes()[at(groups_[i].front())] : fused(groups_[i]));
      changed += single ? 0 : 1;
    }
    if (changed == 0) return 0;
    for (const Node& gone : graph_.nodes()) {
      for (const ValueId id : gone.outputs) graph_.mutable_values()[at(id)].producer = -1;
    }
    graph_.mutable_nodes() = std::move(nodes);
    sort_nodes(graph_, place);
    (void)remove_dead_nodes(graph_);
    return changed;
  }

  Graph& graph_;
  std::vector<std::vector<Index>> readers_;  // of each root, in order
  std::vector<bool> wanted_;                 // by root
  std::vector<std::vector<Index>> groups_;   // sorted; empty: merged into another
  std::vector<Index> group_of_;
};

}  // namespace

int fuse_pointwise(Graph& graph) {
  if (graph.ops().find("fused_pointwise") == nullptr) return 0;
  return Fuser(graph).run();
}

}  // namespace dlt::autodiff
