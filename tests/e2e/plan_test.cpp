// SPDX-License-Identifier: Apache-2.0
// dltrain plan: what it predicts is tested beside the model (tests/ddp/scaling_test.cpp).
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/fs.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

using testing::HasSubstr;
using testing::Not;

class Plan : public testing::Test {
 protected:
  Plan() { test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", folder_ / "run")); }
  ProgramResult plan(const Words& more) {
    Words words{"plan", config_};
    words.insert(words.end(), more.begin(), more.end());
    return dltrain(words);
  }
  /// Milliseconds that the link of two ranks is busy with 1 MB/s.
  double wire_ms(const std::string& setting) {
    const ProgramResult got = two_ranks(setting, {"--json"});
    EXPECT_EQ(got.exit_code, 0) << got.err;
    return std::stod(json_value(got.out.substr(got.out.find("\"ranks\": 2")), "wire_ms"));
  }
  ProgramResult two_ranks(const std::string& setting, const Words& more) {
    Words words{"--ranks",          "2",     "--step-ms",     "10",
                "--bandwidth-gbps", "0.008", "--memory-gb-s", "10",
                "--scaling",        "weak",  "--set",         setting};
    words.insert(words.end(), more.begin(), more.end());
    return plan(words);
  }
  test::TempFolder folder_;
  std::string config_ = folder_ / "c.yaml";
};

TEST_F(Plan, MeasuresAStepAndPrintsARowForEachRankCount) {
  const ProgramResult got = plan({"--ranks", "2,8,512", "--scaling", "weak"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("measured here"));
  EXPECT_THAT(got.out, HasSubstr("weak scaling: 4 leaves of 16 samples a rank"));
  for (const char* row :
       {"\n       1         64", "\n       2        128", "\n     512      32768"}) {
    EXPECT_THAT(got.out, HasSubstr(row));
  }
}

TEST_F(Plan, TakesAGivenStepAndNetwork) {
  // 4 leaves on one thread: 10 ms. 1 Gbit/s moves the 4.8 KB in 39 us, and a message takes 1 ms;
  // the gradients' are gone before the step's begins.
  const ProgramResult got =
      plan({"--ranks", "2", "--step-ms", "10", "--bandwidth-gbps", "1", "--latency-us", "1000",
            "--memory-gb-s", "10", "--set", "train.threads=1", "--scaling", "weak", "--json"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const std::string two = got.out.substr(got.out.find("\"ranks\": 2"));
  EXPECT_EQ(json_value(two, "compute_ms"), "10.0") << got.out;
  EXPECT_NEAR(std::stod(json_value(two, "exposed_ms")), 2.04, 0.2) << got.out;
}

TEST_F(Plan, SaysWhatALeafAndAnUpdateCostAtLeast) {
  const ProgramResult got = plan({"--ranks", "1", "--step-ms", "10", "--memory-gb-s", "10", "--set",
                                  "train.threads=1", "--json"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  // Gradients and parameters are read, parameters written, both states of adam read and written.
  EXPECT_EQ(std::stol(json_value(got.out, "update_bytes")),
            7 * std::stol(json_value(got.out, "gradient_bytes")));
  EXPECT_GT(std::stol(json_value(got.out, "leaf_flops")), 0) << got.out;
  EXPECT_GT(std::stol(json_value(got.out, "leaf_kernels")), 0) << got.out;
}

TEST_F(Plan, AFixedNumberOfLeavesIsSharedByTheRanks) {
  const ProgramResult got = plan({"--ranks", "2,8", "--step-ms", "10", "--memory-gb-s", "10"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("strong scaling"));
  EXPECT_THAT(got.out, HasSubstr("8   more ranks than leaves: set train.leaves to 8 or more"));
}

// 1,216 numbers with their gaps, of which 192 are of parameters too small to compress.
TEST_F(Plan, SendsWhatACompressionSends) {
  EXPECT_NEAR(wire_ms("comm.compression=none"), 4.864, 1e-3);
  // A byte each and a scale for each of five blocks; the small ones as they are, with a stamp.
  EXPECT_NEAR(wire_ms("comm.compression=int8"), 1.216 + 0.020 + 0.768 + 0.032, 1e-3);
  const ProgramResult got = two_ranks("comm.compression=int8", {});
  EXPECT_THAT(got.out, HasSubstr("\ncomm.compression: int8: every rank computes "));
  EXPECT_THAT(got.out, HasSubstr("(two ranks; by memory's bandwidth)\n"));
}

TEST_F(Plan, MeasuresWhatACompressionComputes) {
  const ProgramResult got = plan({"--ranks", "2", "--set", "comm.compression=int8"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  EXPECT_THAT(got.out, HasSubstr("(two ranks; measured here)\n"));
}

TEST_F(Plan, SpreadsAMeanOfReplicasOverItsSteps) {
  // Weights and both states of adam, with a stamp each, in sixteen steps.
  EXPECT_NEAR(wire_ms("comm.sync_every=16"), 3 * (4.864 + 0.032) / 16, 1e-3);
  const ProgramResult got = two_ranks("comm.sync_every=16", {});
  EXPECT_THAT(got.out,
              HasSubstr("comm.sync_every: wire, exposed and step are means over 16 steps"));
}

TEST_F(Plan, SendsShardsOfGradientsAndOfParameters) {
  // One rank has the matrix of 1,024: its gradients come from the other rank, its parameters go
  // there.
  EXPECT_NEAR(wire_ms("train.shard=optimizer"), 2 * 1.024 * 4, 1e-3);
  EXPECT_THAT(two_ranks("train.shard=optimizer", {}).out, HasSubstr("\ntrain.shard: "));
}

TEST_F(Plan, GathersStatisticsOfShardsInARoundOfTheirOwn) {
  // Gradients, statistics, the step's message and, before the next step, parameters: a second each.
  const ProgramResult got =
      two_ranks("train.shard=optimizer",
                {"--json", "--latency-us", "1000000", "--set",
                 "model.layers=[flatten, {dense: {units: 16}}, batch_norm, {dense: {units: 10}}]"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const std::string two = got.out.substr(got.out.find("\"ranks\": 2"));
  EXPECT_NEAR(std::stod(json_value(two, "exposed_ms")), 4000, 50);
}

TEST_F(Plan, DrawsAPicture) {
  const std::string path = folder_ / "plan.svg";
  const ProgramResult got = plan({"--ranks", "2,64", "--step-ms", "2000", "--memory-gb-s", "10",
                                  "--scaling", "weak", "--svg", path, "--set", "run.name=a<b"});
  ASSERT_EQ(got.exit_code, 0) << got.err;
  const std::string svg = read_file(path);
  EXPECT_THAT(svg, HasSubstr("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, HasSubstr("a&lt;b: weak scaling"));
  EXPECT_THAT(svg, HasSubstr("</svg>"));
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
  EXPECT_THAT(svg, Not(HasSubstr("e+")));
}

TEST_F(Plan, RefusesWhatIsNoNumberOfRanks) {
  for (const char* ranks : {"", "8,", ",8", "8;9", "0", "-1", "x", "100000"}) {
    const ProgramResult got = plan({"--ranks", ranks, "--step-ms", "10"});
    EXPECT_EQ(got.exit_code, 64) << "'" << ranks << "'";
    EXPECT_THAT(got.err, HasSubstr("--ranks")) << "'" << ranks << "'";
  }
  const ProgramResult got = plan({"--ranks", "2", "--bandwidth-gbps", "0"});
  EXPECT_EQ(got.exit_code, 64);
  EXPECT_THAT(got.err, HasSubstr("--bandwidth-gbps: expected a number above 0, got 0"));
}

}  // namespace
}  // namespace dlt::e2e
