// SPDX-License-Identifier: Apache-2.0
#include "ddp/reduction_plan.h"

#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "ddp/stamp.h"
#include "ddp/tree_sum.h"

namespace dlt::ddp {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const std::vector<comm::Hosts> kHostLayouts{
    {{0, 1, 2, 3}},   {{0}, {1}, {2}, {3}}, {{0, 1}, {2, 3}},  {{0, 2}, {1, 3}},
    {{0, 1, 2}, {3}}, {{0}, {1, 2, 3}},     {{0, 3}, {1}, {2}}};

TEST(ReductionPlan, LanesAreAsManyAsTheSmallestHostHasRanks) {
  EXPECT_EQ(ReductionPlan(LeafDivision(4, 4), {{0, 1}, {2, 3}}).num_lanes(), 2);
  EXPECT_EQ(ReductionPlan(LeafDivision(4, 4), {{0, 1, 2}, {3}}).num_lanes(), 1);
  EXPECT_EQ(ReductionPlan(LeafDivision(4, 4), {{0, 1, 2, 3}}).num_lanes(), 4);
}

TEST(ReductionPlan, PartsMakeUpTheBucketOnce) {
  for (const comm::Hosts& hosts : kHostLayouts) {
    const ReductionPlan plan(LeafDivision(5, 4), hosts);
    for (const Bucket& bucket :
         std::vector<Bucket>{{0, 100000}, {1600, 1605}, {7, 200008}, {0, 5'000'000'011}}) {
      std::int64_t at = bucket.begin;
      for (int lane = 0; lane < plan.num_lanes(); ++lane) {
        const Bucket slice = plan.slice(bucket, lane);
        EXPECT_EQ(slice.begin, at);
        for (int host = 0; host < plan.num_hosts(); ++host) {
          const Bucket part = plan.part(bucket, lane, host);
          if (plan.whole(bucket)) {
            EXPECT_EQ(part, slice);
          } else {
            EXPECT_EQ(part.begin, at);
            at = part.end;
          }
        }
        at = slice.end;
      }
      EXPECT_EQ(at, bucket.end);
    }
  }
}

TEST(ReductionPlan, NodesThatAHostFillsAreOne) {
  const ReductionPlan plan(LeafDivision(8, 4), {{0, 1}, {2, 3}});
  EXPECT_EQ(plan.host_sum(1).sources, (std::vector<NodeRef>{{0, 0}, {1, 0}}));
  EXPECT_THAT(plan.host_sum(1).results, ElementsAre(0));
  EXPECT_EQ(plan.root_sum().sources, (std::vector<NodeRef>{{0, 0}, {1, 0}}));
}

TEST(ReductionPlan, ScatteredLeavesStayApartOnTheHost) {
  const ReductionPlan plan(LeafDivision(4, 4), {{0, 2}, {1, 3}});
  EXPECT_THAT(plan.host_sum(0).additions, IsEmpty());
  EXPECT_EQ(plan.root_sum().sources, (std::vector<NodeRef>{{0, 0}, {1, 0}, {0, 1}, {1, 1}}));
}

TEST(ReductionPlan, VolumeIsThatOfARingWhereAHostMakesOneNode) {
  const Bucket bucket{0, 1 << 20};
  for (int num_hosts : {2, 4, 8}) {
    comm::Hosts hosts;
    for (int h = 0; h < num_hosts; ++h) hosts.push_back({2 * h, 2 * h + 1});
    const ReductionPlan plan(LeafDivision(2 * num_hosts, 2 * num_hosts), hosts);
    const std::int64_t ring_bytes = 2 * size(bucket) / 2 * 4 * (num_hosts - 1) / num_hosts;
    const std::int64_t stamps = 2 * (num_hosts - 1) * static_cast<std::int64_t>(sizeof(Stamp));
    for (int rank = 0; rank < 2 * num_hosts; ++rank) {
      EXPECT_EQ(plan.sent_bytes(bucket, rank), ring_bytes + stamps);
    }
  }
}

TEST(ReductionPlan, BytesOfMoreThan32BitsOfElementsAreCounted) {
  const Bucket bucket{0, 6'000'000'000};
  const ReductionPlan plan(LeafDivision(2, 2), {{0}, {1}});
  EXPECT_EQ(plan.sent_bytes(bucket, 0), 24'000'000'000 + 2 * std::int64_t{sizeof(Stamp)});
  EXPECT_EQ(plan.received_bytes({bucket}, 1), 12'000'000'000);
}

TEST(ReductionPlan, OneHostSendsNothing) {
  const ReductionPlan plan(LeafDivision(3, 3), {{0, 1, 2}});
  EXPECT_EQ(plan.sent_bytes({0, 1 << 20}, 1), 0);
  EXPECT_EQ(plan.received_bytes({{0, 1 << 20}}, 1), 0);
  EXPECT_EQ(plan.partial_bytes({{0, 1 << 20}}, 1), 0);
}

TEST(ReductionPlan, LayoutWithoutAllRanksIsAnInternalError) {
  EXPECT_THROW(ReductionPlan(LeafDivision(3, 3), {{0, 1}}), Error);
}

/// The value of a node as text, so that any other order or grouping shows.
std::vector<std::string> run_texts(const NodeSum& sum, std::vector<std::string> values) {
  for (const Addition& addition : sum.additions) {
    auto& left = values[static_cast<std::size_t>(addition.dst)];
    left = "(" + left + "+" + values[static_cast<std::size_t>(addition.src)] + ")";
  }
  std::vector<std::string> results;
  for (const int result : sum.results) results.push_back(values[static_cast<std::size_t>(result)]);
  return results;
}

/// One rank's sum of a range of leaves: its covering nodes, written out.
std::vector<std::string> leaf_texts(LeafRange range, int num_leaves) {
  const WorkerPlan plan = plan_worker(range, num_leaves);
  std::vector<std::string> buffers(static_cast<std::size_t>(plan.num_buffers));
  for (const LeafStep& step : plan.steps) {
    buffers[static_cast<std::size_t>(step.buffer)] = std::to_string(step.leaf);
    for (const Addition& addition : step.additions) {
      auto& left = buffers[static_cast<std::size_t>(addition.dst)];
      left = "(" + left + "+" + buffers[static_cast<std::size_t>(addition.src)] + ")";
    }
  }
  std::vector<std::string> results;
  for (const int result : plan.results)
    results.push_back(buffers[static_cast<std::size_t>(result)]);
  return results;
}

TEST(ReductionPlan, AnyLayoutAddsUpTheSameTree) {
  for (int leaves = 1; leaves <= 17; ++leaves) {
    const std::string expected = leaf_texts({0, leaves}, leaves).front();
    for (const comm::Hosts& hosts : kHostLayouts) {
      const LeafDivision division(leaves, 4);
      const ReductionPlan plan(division, hosts);
      std::vector<std::vector<std::string>> host_values;
      for (int h = 0; h < plan.num_hosts(); ++h) {
        std::vector<std::string> values;
        for (const NodeRef& ref : plan.host_sum(h).sources) {
          const int rank = hosts[static_cast<std::size_t>(h)][static_cast<std::size_t>(ref.owner)];
          values.push_back(
              leaf_texts(division.of(rank), leaves)[static_cast<std::size_t>(ref.index)]);
        }
        host_values.push_back(run_texts(plan.host_sum(h), values));
      }
      std::vector<std::string> values;
      for (const NodeRef& ref : plan.root_sum().sources) {
        values.push_back(
            host_values[static_cast<std::size_t>(ref.owner)][static_cast<std::size_t>(ref.index)]);
      }
      EXPECT_THAT(run_texts(plan.root_sum(), values), ElementsAre(expected)) << leaves << " leaves";
    }
  }
}

TEST(TreeSum, LeavesItsSourcesAloneAndMayWriteOverOne) {
  const std::int64_t count = 10000;  // several blocks
  std::vector<std::vector<float>> sources;
  for (int s = 0; s < 4; ++s) sources.emplace_back(count, static_cast<float>(1 << s));
  std::vector<const float*> from;
  for (const auto& source : sources) from.push_back(source.data());
  TreeSum sum(4, {{0, 1}, {2, 3}, {0, 2}}, {0});
  std::vector<float> out(count);
  std::vector<float*> to{out.data()};
  sum.run(from, to, count);
  EXPECT_EQ(out.front(), 15.0F);
  EXPECT_EQ(out.back(), 15.0F);
  EXPECT_EQ(sources[0][5], 1.0F);
  EXPECT_EQ(sources[2][5], 4.0F);
  to[0] = sources[0].data();
  sum.run(from, to, count);
  EXPECT_EQ(sources[0].back(), 15.0F);
}

TEST(TreeSum, PlainSourcesAreCopiedWhereTheyAreWanted) {
  const std::vector<float> a(100, 1.0F);
  const std::vector<float> b(100, 2.0F);
  const std::vector<float> c(100, 4.0F);
  const std::vector<const float*> from{a.data(), b.data(), c.data()};
  TreeSum sum(3, {{0, 1}}, {0, 2});
  EXPECT_EQ(sum.plain_source(0), -1);
  EXPECT_EQ(sum.plain_source(1), 2);
  std::vector<float> first(100);
  std::vector<float> second(100);
  const std::vector<float*> to{first.data(), second.data()};
  sum.run(from, to, 100);
  EXPECT_EQ(first[99], 3.0F);
  EXPECT_EQ(second[99], 4.0F);
}

}  // namespace
}  // namespace dlt::ddp
