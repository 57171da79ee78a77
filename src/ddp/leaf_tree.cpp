// SPDX-License-Identifier: Apache-2.0
#include "ddp/leaf_tree.h"

#include <algorithm>
#include <functional>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {
namespace {

int root_level(int num_leaves) {
  int level = 0;
  while ((std::int64_t{1} << level) < num_leaves) ++level;
  return level;
}

LeafRange leaves_of(TreeNode node, int num_leaves) {
  const std::int64_t begin = std::int64_t{node.index} << node.level;
  const std::int64_t end =
      std::min<std::int64_t>(begin + (std::int64_t{1} << node.level), num_leaves);
  return {static_cast<int>(begin), static_cast<int>(end)};
}

/// A node without a right sibling is its parent: goes up to the highest node of the same leaves.
TreeNode promote(TreeNode node, int num_leaves) {
  const int top = root_level(num_leaves);
  while (node.level < top && node.index % 2 == 0 &&
         (std::int64_t{node.index + 1} << node.level) >= num_leaves) {
    node = {node.level + 1, node.index / 2};
  }
  return node;
}

/// Nodes whose sums exist so far, left to right, each in a buffer; siblings merge at once.
class Frontier {
 public:
  explicit Frontier(int num_leaves) : num_leaves_(num_leaves) {}

  /// Appends the node; returns the additions that this makes possible and the buffers they free.
  std::vector<Addition> push(TreeNode node, int buffer) {
    std::vector<Addition> additions;
    nodes_.push_back(promote(node, num_leaves_));
    buffers_.push_back(buffer);
    while (nodes_.size() > 1) {
      const TreeNode right = nodes_.back();
      const TreeNode left = nodes_[nodes_.size() - 2];
      if (left.level != right.level || left.index % 2 != 0 || right.index != left.index + 1) break;
      additions.push_back({.dst = buffers_[buffers_.size() - 2], .src = buffers_.back()});
      nodes_.pop_back();
      buffers_.pop_back();
      nodes_.back() = promote({left.level + 1, left.index / 2}, num_leaves_);
    }
    return additions;
  }
  [[nodiscard]] const std::vector<TreeNode>& nodes() const { return nodes_; }
  [[nodiscard]] const std::vector<int>& buffers() const { return buffers_; }

 private:
  int num_leaves_;
  std::vector<TreeNode> nodes_;
  std::vector<int> buffers_;
};

}  // namespace

LeafRange split(LeafRange range, int parts, int index) {
  DLT_CHECK(parts > 0 && index >= 0 && index < parts,
            cat("split: part ", index, " of ", parts, " parts"));
  const auto cut = [&](int i) {
    return range.begin + static_cast<int>(std::int64_t{i} * range.size() / parts);
  };
  return {cut(index), cut(index + 1)};
}

LeafDivision::LeafDivision(int num_leaves, int world_size) {
  cuts_.push_back(0);
  for (int r = 0; r < world_size; ++r) cuts_.push_back(split({0, num_leaves}, world_size, r).end);
}

LeafDivision::LeafDivision(std::vector<int> cuts) : cuts_(std::move(cuts)) {
  DLT_CHECK(cuts_.size() > 1 && cuts_.front() == 0 && std::is_sorted(cuts_.begin(), cuts_.end()),
            cat("leaf division: ", cuts_.size(), " cuts that do not rise from 0"));
}

LeafRange LeafDivision::of(int rank) const {
  const auto r = static_cast<std::size_t>(rank);
  DLT_CHECK(rank >= 0 && r + 1 < cuts_.size(), cat("leaf division: no rank ", rank));
  return {cuts_[r], cuts_[r + 1]};
}

int LeafDivision::most_leaves() const {
  int most = 0;
  for (int r = 0; r < world_size(); ++r) most = std::max(most, of(r).size());
  return most;
}

std::vector<TreeNode> cover(LeafRange range, int num_leaves) {
  DLT_CHECK(range.begin >= 0 && range.begin <= range.end && range.end <= num_leaves,
            cat("cover: leaves ", range.begin, " to ", range.end, " of ", num_leaves));
  std::vector<TreeNode> nodes;
  const int top = root_level(num_leaves);
  for (int begin = range.begin; begin < range.end;) {
    TreeNode node{0, begin};
    while (node.level < top && node.index % 2 == 0 &&
           leaves_of({node.level + 1, node.index / 2}, num_leaves).end <= range.end) {
      node = {node.level + 1, node.index / 2};
    }
    nodes.push_back(node);
    begin = leaves_of(node, num_leaves).end;
  }
  return nodes;
}

MergePlan merge(const std::vector<TreeNode>& nodes, int num_leaves) {
  Frontier frontier(num_leaves);
  MergePlan plan;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    DLT_CHECK(
        i == 0 || leaves_of(nodes[i - 1], num_leaves).end <= leaves_of(nodes[i], num_leaves).begin,
        cat("merge: node ", i, " is not to the right of the one before it"));
    const std::vector<Addition> additions = frontier.push(nodes[i], static_cast<int>(i));
    plan.additions.insert(plan.additions.end(), additions.begin(), additions.end());
  }
  plan.results = frontier.buffers();
  plan.nodes = frontier.nodes();
  return plan;
}

WorkerPlan plan_worker(LeafRange range, int num_leaves) {
  Frontier frontier(num_leaves);
  WorkerPlan plan;
  std::vector<int> free;  // the lowest number last
  for (int leaf = range.begin; leaf < range.end; ++leaf) {
    if (free.empty()) free.push_back(plan.num_buffers++);
    LeafStep step{.leaf = leaf, .buffer = free.back(), .additions = {}};
    free.pop_back();
    step.additions = frontier.push({0, leaf}, step.buffer);
    for (const Addition& addition : step.additions) free.push_back(addition.src);
    std::sort(free.begin(), free.end(), std::greater<>());
    plan.steps.push_back(std::move(step));
  }
  plan.results = frontier.buffers();
  plan.nodes = frontier.nodes();
  return plan;
}

}  // namespace dlt::ddp
