// SPDX-License-Identifier: Apache-2.0
// Runs over a network: hosts made of namespaces (bench/netlab/hosts.sh), Open MPI between them.
#include <string>

#include <gtest/gtest.h>

#include "base/fs.h"
#include "base/text.h"
#include "e2e/e2e.h"

namespace dlt::e2e {
namespace {

constexpr int kNotAllowed = 77;  // what hosts.sh says where there are no namespaces

class TwoHosts : public testing::Test {
 protected:
  TwoHosts() { test::write_file(config_, replaced(digits_yaml(), "RUN_DIR", run_)); }

  /// The program under mpirun, on two hosts with this many ranks each.
  ProgramResult train(int ranks_a_host, const Words& more = {}) {
    const std::string ranks = std::to_string(ranks_a_host);
    Words words{DLTRAIN_SOURCE "/bench/netlab/hosts.sh",
                "--hosts",
                "2",
                "--slots",
                ranks,
                "--rate",
                "1gbit",
                "--",
                "sh",
                "-c",
                "exec \"$NETLAB/mpirun\" \"$@\"",
                "-",
                "-n",
                std::to_string(2 * ranks_a_host),
                DLTRAIN_PROGRAM,
                config_,
                "--quiet",
                "--overwrite"};
    words.insert(words.end(), more.begin(), more.end());
    return run_program(words);
  }
  std::string hash_of_one_rank(const Words& more = {}) {
    Words words{config_, "--quiet", "--overwrite"};
    words.insert(words.end(), more.begin(), more.end());
    const ProgramResult got = dltrain(words);
    EXPECT_EQ(got.exit_code, 0) << got.err;
    return summary_hash(run_);
  }

  test::TempFolder folder_{std::vector{testing::TempDir()}};  // each host has a /dev/shm of its own
  std::string run_ = folder_ / "run", config_ = folder_ / "c.yaml";
};

#define SKIP_IF_NOT_ALLOWED(got) \
  if ((got).exit_code == kNotAllowed) GTEST_SKIP() << "two hosts: " << (got).err

TEST_F(TwoHosts, TrainToTheBitsOfOneRank) {
  const std::string expected = hash_of_one_rank();
  ASSERT_EQ(expected.size(), 64U);
  for (const int ranks_a_host : {1, 2}) {
    const ProgramResult got = train(ranks_a_host);
    SKIP_IF_NOT_ALLOWED(got);
    ASSERT_EQ(got.exit_code, 0) << got.err;
    EXPECT_EQ(json_value(read_file(run_ + "/summary.json"), "world_size"),
              std::to_string(2 * ranks_a_host));
    EXPECT_EQ(summary_hash(run_), expected) << ranks_a_host << " ranks a host";
  }
}

TEST_F(TwoHosts, SendLargeBucketsInPartsWithTheSameBits) {
  const std::string wide =
      "model.layers=[flatten, {dense: {units: 700, activation: relu}}, {dense: {units: 10}}]";
  const Words words{"--set", wide};
  const std::string expected = hash_of_one_rank(words);
  const ProgramResult got = train(2, words);
  SKIP_IF_NOT_ALLOWED(got);
  ASSERT_EQ(got.exit_code, 0) << got.err;
  EXPECT_EQ(summary_hash(run_), expected);
}

}  // namespace
}  // namespace dlt::e2e
