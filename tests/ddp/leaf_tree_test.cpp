// SPDX-License-Identifier: Apache-2.0
#include "ddp/leaf_tree.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace dlt::ddp {
namespace {

constexpr int kMost_leaves = 40;

LeafRange leaves_of(TreeNode node, int num_leaves) {
  return {node.index << node.level, std::min((node.index + 1) << node.level, num_leaves)};
}

/// A sum written out, "((0+1)+2)": equal texts mean equal additions in equal order.
std::string expression(TreeNode node, int num_leaves) {
  if (node.level == 0) return std::to_string(node.index);
  const std::string left = expression({node.level - 1, 2 * node.index}, num_leaves);
  const TreeNode right{node.level - 1, 2 * node.index + 1};
  if ((right.index << right.level) >= num_leaves) return left;
  return "(" + left + "+" + expression(right, num_leaves) + ")";
}

void run_additions(const std::vector<Addition>& additions, std::vector<std::string>& buffers) {
  for (const Addition& a : additions) {
    std::string& dst = buffers.at(static_cast<std::size_t>(a.dst));
    dst = "(" + dst + "+" + buffers.at(static_cast<std::size_t>(a.src)) + ")";
  }
}

TEST(LeafTree, SplitCutsContiguousBalancedParts) {
  for (int begin : {0, 3}) {
    for (int n = 0; n <= kMost_leaves; ++n) {
      for (int parts = 1; parts <= 9; ++parts) {
        int at = begin;
        for (int i = 0; i < parts; ++i) {
          const LeafRange part = split({begin, begin + n}, parts, i);
          EXPECT_EQ(part.begin, at);
          EXPECT_GE(part.size(), n / parts);
          EXPECT_LE(part.size(), (n + parts - 1) / parts);
          at = part.end;
        }
        EXPECT_EQ(at, begin + n);
      }
    }
  }
}

TEST(LeafTree, CoverIsExactLeftToRightAndShort) {
  for (int n = 1; n <= kMost_leaves; ++n) {
    for (int begin = 0; begin <= n; ++begin) {
      for (int end = begin; end <= n; ++end) {
        const std::vector<TreeNode> nodes = cover({begin, end}, n);
        int at = begin;
        for (const TreeNode& node : nodes) {
          EXPECT_EQ(leaves_of(node, n).begin, at);
          at = leaves_of(node, n).end;
        }
        EXPECT_EQ(at, end);
        for (std::size_t i = 0; i + 1 < nodes.size(); ++i) {
          const bool siblings = nodes[i].level == nodes[i + 1].level && nodes[i].index % 2 == 0;
          EXPECT_FALSE(siblings) << "leaves " << begin << " to " << end << " of " << n;
        }
      }
    }
  }
}

TEST(LeafTree, AllLeavesAreOneNode) {
  for (int n = 1; n <= kMost_leaves; ++n) EXPECT_EQ(cover({0, n}, n).size(), 1u) << n;
}

TEST(LeafTree, WorkerSumsItsLeavesIntoTheNodesThatCoverThem) {
  for (int n = 1; n <= kMost_leaves; ++n) {
    for (int begin = 0; begin <= n; ++begin) {
      for (int end = begin; end <= n; ++end) {
        const WorkerPlan plan = plan_worker({begin, end}, n);
        std::vector<std::string> buffers(static_cast<std::size_t>(plan.num_buffers));
        ASSERT_EQ(plan.steps.size(), static_cast<std::size_t>(end - begin));
        for (int leaf = begin; leaf < end; ++leaf) {
          const LeafStep& step = plan.steps[static_cast<std::size_t>(leaf - begin)];
          EXPECT_EQ(step.leaf, leaf);
          buffers.at(static_cast<std::size_t>(step.buffer)) = std::to_string(leaf);
          run_additions(step.additions, buffers);
        }
        ASSERT_EQ(plan.nodes, cover({begin, end}, n));
        ASSERT_EQ(plan.results.size(), plan.nodes.size());
        for (std::size_t i = 0; i < plan.nodes.size(); ++i) {
          EXPECT_EQ(buffers.at(static_cast<std::size_t>(plan.results[i])),
                    expression(plan.nodes[i], n));
        }
      }
    }
  }
}

TEST(LeafTree, WorkerWithAllLeavesNeedsOneBufferALevel) {
  int levels = 0;
  for (int n = 1; n <= kMost_leaves; ++n) {
    while ((1 << levels) < n) ++levels;
    EXPECT_LE(plan_worker({0, n}, n).num_buffers, levels + 1) << n;
  }
  EXPECT_EQ(plan_worker({0, 1}, 1).num_buffers, 1);
}

TEST(LeafTree, AnySplitOverRanksAndWorkersMakesTheSameTree) {
  for (int n = 1; n <= kMost_leaves; ++n) {
    for (int ranks = 1; ranks <= 9; ++ranks) {
      for (int workers = 1; workers <= 4; ++workers) {
        std::vector<TreeNode> rank_nodes;
        for (int r = 0; r < ranks; ++r) {
          const LeafRange range = split({0, n}, ranks, r);
          std::vector<TreeNode> nodes;
          for (int w = 0; w < workers; ++w) {
            const WorkerPlan plan = plan_worker(split(range, workers, w), n);
            nodes.insert(nodes.end(), plan.nodes.begin(), plan.nodes.end());
          }
          const MergePlan plan = merge(nodes, n);
          EXPECT_EQ(plan.nodes, cover(range, n));
          rank_nodes.insert(rank_nodes.end(), plan.nodes.begin(), plan.nodes.end());
        }
        std::vector<std::string> buffers;
        for (const TreeNode& node : rank_nodes) buffers.push_back(expression(node, n));
        const MergePlan plan = merge(rank_nodes, n);
        run_additions(plan.additions, buffers);
        ASSERT_EQ(plan.nodes, cover({0, n}, n));
        ASSERT_EQ(plan.results, std::vector<int>{0});
        EXPECT_EQ(buffers[0], expression(plan.nodes[0], n));
      }
    }
  }
}

}  // namespace
}  // namespace dlt::ddp
