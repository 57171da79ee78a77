// SPDX-License-Identifier: Apache-2.0
#include "tensor/gpu_placement.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"

namespace dlt::tensor {
namespace {

using testing::ElementsAre;

/// GPUs "0", "1", ... on these NUMA nodes.
std::vector<SeenGpu> gpus_on(const std::vector<int>& nodes) {
  std::vector<SeenGpu> out;
  for (std::size_t i = 0; i < nodes.size(); ++i) out.push_back({cat(i), nodes[i]});
  return out;
}

std::vector<GpuSeeker> seekers(const std::vector<int>& nodes, const std::vector<SeenGpu>& gpus) {
  std::vector<GpuSeeker> out;
  for (const int node : nodes) out.push_back({node, gpus});
  return out;
}

std::vector<int> indices(const std::vector<GpuChoice>& choices) {
  std::vector<int> out;
  for (const GpuChoice& choice : choices) out.push_back(choice.index);
  return out;
}

TEST(GpuPlacement, CountsOnWithoutNumaNodes) {
  EXPECT_THAT(indices(place_on_gpus(seekers({-1, -1, -1}, gpus_on({0, 0, 1, 1})))),
              ElementsAre(0, 1, 2));
}

TEST(GpuPlacement, TakesTheGpuNearItsCores) {
  const auto choices = place_on_gpus(seekers({1, 0, 1, 0}, gpus_on({0, 0, 1, 1})));
  EXPECT_THAT(indices(choices), ElementsAre(2, 0, 3, 1));
  EXPECT_EQ(choices[0].why, "as its cores");
}

TEST(GpuPlacement, UsesEveryGpuOnceBeforeAnyTwice) {
  const auto choices = place_on_gpus(seekers({0, 0, 0, 0, 0}, gpus_on({0, 0, 1, 1})));
  EXPECT_THAT(indices(choices), ElementsAre(0, 1, 2, 3, 0));
  EXPECT_EQ(choices[2].why, "its cores are on node 0, whose GPUs are taken");
  EXPECT_THAT(choices[0].peers, ElementsAre(4));
  EXPECT_THAT(choices[4].peers, ElementsAre(0));
  EXPECT_THAT(choices[1].peers, ElementsAre());
}

TEST(GpuPlacement, TakesTheOneGpuThatARankSees) {
  std::vector<GpuSeeker> ranks;
  for (const char* uuid : {"b", "a", "b"}) ranks.push_back({0, {{uuid, 1}}});
  const auto choices = place_on_gpus(ranks);
  EXPECT_THAT(indices(choices), ElementsAre(0, 0, 0));
  EXPECT_EQ(choices[1].why, "the only one it sees");
  EXPECT_THAT(choices[0].peers, ElementsAre(2))
      << "the same GPU under one index, not the same index";
}

TEST(GpuPlacement, GivesWayToARankThatSeesFewer) {
  const std::vector<GpuSeeker> ranks{{-1, {{"a"}, {"b"}}}, {-1, {{"a"}}}};
  EXPECT_THAT(indices(place_on_gpus(ranks)), ElementsAre(1, 0));
}

TEST(GpuPlacement, LeavesOutARankThatSeesNone) {
  const std::vector<GpuSeeker> ranks{{-1, {}}, {-1, {{"a"}}}};
  EXPECT_THAT(indices(place_on_gpus(ranks)), ElementsAre(-1, 0));
}

TEST(GpuPlacement, SaysThatANodeHasNoGpus) {
  EXPECT_EQ(place_on_gpus(seekers({3}, gpus_on({0, 1})))[0].why,
            "its cores are on node 3, which has none");
}

TEST(GpuPlacement, SpreadsAnyRanksEvenlyOverGpusThatAllSee) {
  const auto seed = std::random_device{}();
  SCOPED_TRACE(cat("seed ", seed));
  std::mt19937 random(seed);
  for (int round = 0; round < 200; ++round) {
    std::vector<int> gpu_nodes(1 + random() % 8), rank_nodes(1 + random() % 20);
    for (int& node : gpu_nodes) node = static_cast<int>(random() % 4) - 1;
    for (int& node : rank_nodes) node = static_cast<int>(random() % 4) - 1;
    const auto ranks = seekers(rank_nodes, gpus_on(gpu_nodes));
    const std::vector<int> taken = indices(place_on_gpus(ranks));
    ASSERT_EQ(taken, indices(place_on_gpus(ranks)));
    std::vector<int> uses(gpu_nodes.size(), 0);
    for (const int index : taken) ++uses.at(static_cast<std::size_t>(index));
    const auto [least, most] = std::minmax_element(uses.begin(), uses.end());
    ASSERT_LE(*most - *least, 1);
  }
}

}  // namespace
}  // namespace dlt::tensor
