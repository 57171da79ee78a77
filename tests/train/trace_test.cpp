// SPDX-License-Identifier: Apache-2.0
// log.trace_steps: where the time of a run's first steps went.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "train/run_log.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

using Json = nlohmann::json;

class TraceTest : public testing::Test {
 protected:
  [[nodiscard]] Json events(int rank) const {
    std::ifstream file(train::trace_file(files_.run_dir, rank));
    return Json::parse(file).at("traceEvents");
  }
  TempFolder folder_;
  JobFiles files_ = write_small_job(folder_, 47);
};

TEST_F(TraceTest, HasTheStepsBehindTheSecondAndTheirPhases) {
  (void)run_job(files_, {.ranks = 2, .overrides = {"log.trace_steps=3", "train.threads=2"}});
  for (const int rank : {0, 1}) {
    std::vector<std::string> steps;
    std::map<int, std::set<std::string>> phases;  // of each step
    std::set<int> leaves;
    for (const Json& event : events(rank)) {
      if (event.at("ph") != "X") continue;
      const std::string name = event.at("name");
      EXPECT_GE(event.at("dur").get<double>(), 0) << event;
      if (name.starts_with("step ")) {
        steps.push_back(name);
        continue;
      }
      phases[event.at("args").at("step")].insert(name);
      if (name == "backward") leaves.insert(event.at("args").at("leaf").get<int>());
    }
    EXPECT_EQ(steps, (std::vector<std::string>{"step 3", "step 4", "step 5"}));
    EXPECT_EQ(leaves.size(), 3U) << "of six leaves on two ranks";
    for (const int step : {3, 4, 5}) {
      for (const char* phase : {"data", "forward", "backward", "reduce", "update"}) {
        EXPECT_TRUE(phases[step].contains(phase)) << phase << " of step " << step;
      }
    }
  }
}

TEST_F(TraceTest, KeepsTheSpansOfALaneInsideTheirStepAndApart) {
  (void)run_job(files_, {.ranks = 2, .overrides = {"log.trace_steps=4", "train.threads=2"}});
  std::map<int, std::vector<std::pair<double, double>>> lanes;
  for (const Json& event : events(0)) {
    if (event.at("ph") != "X") continue;
    const double start = event.at("ts");
    lanes[event.at("tid")].emplace_back(start, start + event.at("dur").get<double>());
  }
  ASSERT_EQ(lanes.at(0).size(), 4U);
  for (auto& [lane, spans] : lanes) {
    std::sort(spans.begin(), spans.end());
    for (std::size_t i = 0; i + 1 < spans.size(); ++i) {
      EXPECT_LE(spans[i].second, spans[i + 1].first + 0.01) << "lane " << lane;
    }
    EXPECT_GE(spans.front().first, lanes.at(0).front().first - 0.01);
    EXPECT_LE(spans.back().second, lanes.at(0).back().second + 0.01);
  }
}

TEST_F(TraceTest, HasTheKernelsOfEachLeaf) {
  (void)run_job(files_, {.overrides = {"log.trace_steps=2", "train.threads=1"}});
  std::map<std::string, int> times;
  for (const Json& event : events(0)) {
    if (event.at("ph") == "X") ++times[event.at("name")];
  }
  // Two steps of six leaves; the derivative of dropout is dropout.
  EXPECT_EQ(times["dense_2: linear"], 12) << Json(times);
  EXPECT_EQ(times["dropout_1: dropout"], 24) << Json(times);
}

TEST_F(TraceTest, HasTheBuckets) {
  (void)run_job(files_, {.ranks = 2, .overrides = {"log.trace_steps=1"}});
  int begins = 0, ends = 0;
  for (const Json& event : events(1)) {
    begins += event.at("ph") == "b" ? 1 : 0;
    ends += event.at("ph") == "e" ? 1 : 0;
  }
  EXPECT_GT(begins, 0);
  EXPECT_EQ(begins, ends);
}

TEST_F(TraceTest, IsWrittenWhenTheRunIsShorter) {
  (void)run_job(files_, {.overrides = {"log.trace_steps=500"}});
  EXPECT_GT(events(0).size(), 15U);
}

TEST_F(TraceTest, IsNotThereUnlessAskedFor) {
  (void)run_job(files_, {});
  EXPECT_FALSE(std::filesystem::exists(train::trace_file(files_.run_dir, 0)));
}

TEST_F(TraceTest, LeavesTheWeightsAsTheyAre) {
  const std::string plain = run_job(files_, {}).weights_hash;
  EXPECT_EQ(run_job(files_, {.overrides = {"log.trace_steps=5"}, .resume = {.overwrite = true}})
                .weights_hash,
            plain);
}

}  // namespace
}  // namespace dlt::train_test
