// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/dlrun_options.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/supervise/job_config.h"
#include "launcher/supervise/setup.h"
#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using Command = std::vector<std::string>;

LaunchOptions launch(const Command& words) { return read_dlrun_command_line(words).launch.value(); }

std::string refusal_of(const Command& words) {
  return test::error_of([&] { (void)read_dlrun_command_line(words); });
}

TEST(DlrunOptions, StandBeforeOrBehindTheConfig) {
  for (const Command& words : std::vector<Command>{
           {"-n", "4", "--set", "a=1", "--hosts", "a:2,b:2", "--max-restarts", "3", "c.yaml"},
           {"c.yaml", "-n", "4", "--set", "a=1", "--hosts=a:2,b:2", "--max-restarts=3"},
           {"--hosts", "a:2,b:2", "c.yaml", "--ranks", "4", "--max-restarts", "3", "--set=a=1"}}) {
    const LaunchOptions got = launch(words);
    EXPECT_EQ(got.config, "c.yaml");
    EXPECT_EQ(got.ranks, 4);
    EXPECT_EQ(got.hosts, "a:2,b:2");
    EXPECT_EQ(got.max_restarts, 3);
    EXPECT_THAT(got.overrides, ElementsAre("a=1"));
    EXPECT_FALSE(got.overwrite || got.quiet || got.requeue);
  }
}

TEST(DlrunOptions, AskForTexts) {
  for (const Command& words : std::vector<Command>{
           {"--help"}, {"c.yaml", "-h"}, {"sbatch", "--help"}, {"--version"}, {"-n", "2", "-h"}}) {
    const DlrunInvocation got = read_dlrun_command_line(words);
    EXPECT_FALSE(got.launch || got.batch);
    EXPECT_FALSE(got.text.empty());
  }
  EXPECT_THAT(read_dlrun_command_line({"--version"}).text, StartsWith("dlrun 0."));
}

TEST(DlrunOptions, RefuseWhatIsNone) {
  EXPECT_EQ(refusal_of({}), "64: expected a configuration file, got nothing");
  EXPECT_EQ(refusal_of({"-n", "2"}), "64: CFG is required");
  EXPECT_EQ(refusal_of({"c.yaml", "--max-restart", "1"}), "64: unknown option '--max-restart'");
  EXPECT_THAT(refusal_of({"-n", "0", "c.yaml"}), HasSubstr("expected an integer from 1"));
  EXPECT_THAT(refusal_of({"--starter", "ssh", "c.yaml"}), HasSubstr("expected one of auto"));
  EXPECT_EQ(refusal_of({"sbatch", "c.yaml", "--overwrite"}), "64: unknown option '--overwrite'")
      << "a job that is put back into the queue would start anew";
}

TEST(DlrunOptions, OfABatchJobAreHandedOn) {
  const auto got = read_dlrun_command_line({"sbatch", "c.yaml", "--nodes", "2", "--ntasks-per-node",
                                            "4", "--time", "4:00:00", "--set", "a=1",
                                            "--max-restarts", "0", "--quiet"});
  ASSERT_TRUE(got.batch);
  EXPECT_EQ(got.batch->nodes, 2);
  EXPECT_EQ(got.batch->ntasks_per_node, 4);
  EXPECT_EQ(got.batch->time, "4:00:00");
  EXPECT_THAT(got.batch->dlrun_words,
              ElementsAre("c.yaml", "--set", "a=1", "--max-restarts", "0", "--quiet"));
}

TEST(JobConfig, ReadsWhatDlrunNeedsAndLeavesTheRest) {
  test::TempFolder folder;
  const std::string path = folder / "c.yaml";
  test::write_file(path,
                   "run: {name: x}\nmodel: {whatever: 1}\ntrain: {threads: 3}\n"
                   "fault: {max_restarts: 7}\n");
  const JobConfig got = read_job_config(path, {"fault.hang_timeout_s=4"});
  EXPECT_EQ(got.run_dir, "runs/x");
  EXPECT_EQ(got.threads, 3);
  EXPECT_EQ(got.fault.max_restarts, 7);
  EXPECT_EQ(got.fault.hang_timeout_s, 4);
  EXPECT_THAT(test::error_of([&] { (void)read_job_config(path, {"fault.min_ranks=0"}); }),
              HasSubstr("78: --set:1:17: error: fault.min_ranks: expected an integer"));
  EXPECT_THAT(test::error_of([] { (void)read_job_config("/no/such.yaml", {}); }),
              StartsWith("66: "));
}

JobSetup setup_of(std::int64_t ranks, const std::string& hosts) {
  JobSetup out;
  out.reach.own_host = "me";
  out.options.ranks = ranks;
  out.options.hosts = hosts;
  return out;
}

TEST(Hosts, AreThisMachineUnlessOthersAreNamed) {
  JobSetup setup = setup_of(3, "");
  choose_hosts({}, setup);
  EXPECT_FALSE(setup.named_hosts);
  EXPECT_EQ(setup.hosts.at(0).name, "me");
  EXPECT_EQ(setup.hosts.at(0).slots, 3);
  setup = setup_of(0, "a:2,b:3");
  choose_hosts({}, setup);
  EXPECT_TRUE(setup.named_hosts);
  EXPECT_EQ(setup.ranks, 5);
}

TEST(Hosts, ComeFromSlurmUnlessNamed) {
  const Allocation allocation{.job_id = "1", .hosts = {{.name = "n1", .slots = 4}}, .end_s = {}};
  JobSetup setup = setup_of(0, "");
  choose_hosts(allocation, setup);
  EXPECT_EQ(setup.hosts.at(0).name, "n1");
  EXPECT_EQ(setup.ranks, 4);
  setup = setup_of(2, "n2:2");
  choose_hosts(allocation, setup);
  EXPECT_EQ(setup.hosts.at(0).name, "n2");
}

TEST(Hosts, MustHaveRoomForTheRanks) {
  JobSetup setup = setup_of(5, "a:2,b:2");
  EXPECT_EQ(test::error_of([&] { choose_hosts({}, setup); }),
            "64: -n: expected at most 4, the ranks that --hosts has room for (a:2,b:2), got '5'");
  setup = setup_of(0, "");
  EXPECT_EQ(test::error_of([&] { choose_hosts({}, setup); }),
            "64: -n: expected the number of ranks, got nothing");
}

}  // namespace
}  // namespace dlt::supervise
