// SPDX-License-Identifier: Apache-2.0
// The fixed binary tree over the leaves of a step, and who sums which part of it. Pure functions:
// the sum's bits depend on the number of leaves alone, never on ranks or threads.
#pragma once

#include <cstdint>
#include <vector>

namespace dlt::ddp {

struct LeafRange {
  int begin = 0;
  int end = 0;
  [[nodiscard]] int size() const { return end - begin; }
  friend bool operator==(const LeafRange&, const LeafRange&) = default;
};

/// Part `index` of `parts` contiguous, balanced parts of [range.begin, range.end): floor(i*n/parts)
/// cuts.
[[nodiscard]] LeafRange split(LeafRange range, int parts, int index);

/// Which leaves each rank runs: contiguous ranges in rank order that make up [0, num_leaves). The
/// sum's bits do not depend on it.
class LeafDivision {
 public:
  /// Balanced: what split() gives.
  LeafDivision(int num_leaves, int world_size);
  /// Rank r runs leaves [cuts[r], cuts[r + 1]). errors  Exit::internal if the cuts fall
  explicit LeafDivision(std::vector<int> cuts);
  [[nodiscard]] int num_leaves() const { return cuts_.back(); }
  [[nodiscard]] int world_size() const { return static_cast<int>(cuts_.size()) - 1; }
  [[nodiscard]] LeafRange of(int rank) const;
  /// Leaves of the rank that has most.
  [[nodiscard]] int most_leaves() const;
  [[nodiscard]] const std::vector<int>& cuts() const { return cuts_; }
  friend bool operator==(const LeafDivision&, const LeafDivision&) = default;

 private:
  std::vector<int> cuts_;
};

/// A node covers the leaves [index << level, min((index + 1) << level, num_leaves)). Its value is
/// the left child plus the right child, or the left child alone where there is no right one.
struct TreeNode {
  int level = 0;
  int index = 0;
  friend bool operator==(const TreeNode&, const TreeNode&) = default;
};

/// The fewest nodes that cover a range exactly, left to right. A range that is all the leaves gives
/// one.
[[nodiscard]] std::vector<TreeNode> cover(LeafRange range, int num_leaves);

/// dst += src, in that operand order: one addition of the tree. Indices name buffers.
struct Addition {
  int dst = 0;
  int src = 0;
};

/// The additions that turn the sums of `nodes` (left to right; element i in buffer i) into those of
/// the fewest nodes of the same leaves, in order; results stay in the buffer of their first part.
/// If the nodes are adjacent, that is `cover` of the range they span.
struct MergePlan {
  std::vector<Addition> additions;
  std::vector<int> results;     // buffers that hold the covering nodes, left to right
  std::vector<TreeNode> nodes;  // what they hold
};
[[nodiscard]] MergePlan merge(const std::vector<TreeNode>& nodes, int num_leaves);

/// How one worker runs its leaves one after the other with the fewest buffers.
struct LeafStep {
  int leaf = 0;
  int buffer = 0;                   // where the leaf's gradients go
  std::vector<Addition> additions;  // once they are there
};
struct WorkerPlan {
  std::vector<LeafStep> steps;
  std::vector<int> results;  // buffers that hold cover(range), left to right
  std::vector<TreeNode> nodes;
  // At most levels + 1 if the range begins at a node that spans it, else about twice the levels.
  int num_buffers = 0;
};
[[nodiscard]] WorkerPlan plan_worker(LeafRange range, int num_leaves);

}  // namespace dlt::ddp
