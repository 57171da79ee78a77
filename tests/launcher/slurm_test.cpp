// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/slurm.h"

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "launcher/supervise/host_list.h"
#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using testing::HasSubstr;
using testing::Not;

launcher::Lookup lookup_in(std::map<std::string, std::string> env) {
  return [env = std::move(env)](const char* name) -> const char* {
    const auto it = env.find(name);
    return it == env.end() ? nullptr : it->second.c_str();
  };
}

TEST(Slurm, IsNotThereOutsideAnAllocation) {
  EXPECT_FALSE(read_allocation(lookup_in({})));
  EXPECT_FALSE(read_allocation(lookup_in({{"SLURM_CONF", "/etc/slurm.conf"}})));
}

TEST(Slurm, TellsHostsAndTheirRanks) {
  const auto got = read_allocation(lookup_in({{"SLURM_JOB_ID", "17"},
                                              {"SLURM_JOB_NODELIST", "n[1-3]"},
                                              {"SLURM_TASKS_PER_NODE", "4(x2),2"},
                                              {"SLURM_JOB_END_TIME", "1700000000"}}));
  ASSERT_TRUE(got);
  EXPECT_EQ(got->job_id, "17");
  EXPECT_EQ(hosts_text(got->hosts), "n1:4,n2:4,n3:2");
  EXPECT_EQ(got->end_s, 1700000000);
}

TEST(Slurm, TakesTheRanksANodeWasAskedFor) {
  const auto got = read_allocation(lookup_in({{"SLURM_JOB_ID", "17"},
                                              {"SLURM_JOB_NODELIST", "n[1-2]"},
                                              {"SLURM_NTASKS_PER_NODE", "3"},
                                              {"SLURM_TASKS_PER_NODE", "8(x2)"}}));
  EXPECT_EQ(hosts_text(got->hosts), "n1:3,n2:3");
}

TEST(Slurm, RefusesCountsThatDoNotFitTheNodes) {
  EXPECT_THAT(test::error_of([] {
                (void)read_allocation(lookup_in({{"SLURM_JOB_ID", "17"},
                                                 {"SLURM_JOB_NODELIST", "n[1-3]"},
                                                 {"SLURM_TASKS_PER_NODE", "4(x2)"}}));
              }),
              HasSubstr("69: Slurm: expected ranks for each of the 3 nodes"));
}

TEST(Slurm, ReadsTheTimeThatIsLeft) {
  EXPECT_EQ(slurm_duration_s("1-02:03:04\n"), 86400 + 2 * 3600 + 3 * 60 + 4);
  EXPECT_EQ(slurm_duration_s("2:03:04"), 2 * 3600 + 3 * 60 + 4);
  EXPECT_EQ(slurm_duration_s("3:04"), 184);
  EXPECT_EQ(slurm_duration_s("4"), 4);
  for (const char* none : {"", "UNLIMITED", "NOT_SET", "INVALID", "1:", "x-1", "-1"})
    EXPECT_FALSE(slurm_duration_s(none)) << none;
}

TEST(Slurm, QuotesForAShell) {
  EXPECT_EQ(shell_quoted({"a", "b c", "it's", "", "--set", "x=[1,2]"}),
            "a 'b c' 'it'\\''s' '' --set 'x=[1,2]'");
}

TEST(Slurm, WritesABatchScript) {
  EXPECT_EQ(
      batch_script({.nodes = 2,
                    .ntasks_per_node = 4,
                    .cpus_per_task = 0,
                    .time = "4:00:00",
                    .partition = "gpu",
                    .account = {},
                    .qos = {},
                    .name = "digits",
                    .grace_s = 120,
                    .folder = "/home/a b",
                    .dlrun = "/opt/dlrun",
                    .dlrun_words = {"c.yaml", "--set", "train.epochs=5"}}),
      "#!/bin/bash\n"
      "#SBATCH --job-name=digits\n"
      "#SBATCH --partition=gpu\n"
      "#SBATCH --time=4:00:00\n"
      "#SBATCH --nodes=2\n"
      "#SBATCH --ntasks-per-node=4\n"
      "# SIGUSR1 for the shell alone, in time before the end: dlrun takes the shell's place.\n"
      "#SBATCH --signal=B:USR1@120\n"
      "#SBATCH --requeue\n"
      "#SBATCH --open-mode=append\n"
      "\n"
      "cd '/home/a b' || exit 66\n"
      "# Saves, ends with exit code 75 and puts the job back into the queue, where the same\n"
      "# command goes on from the newest checkpoint.\n"
      "exec /opt/dlrun --requeue c.yaml --set train.epochs=5\n");
}

TEST(Slurm, LetsNoOptionBecomeTwo) {
  for (const char* bad : {"a b", "a\n#SBATCH --uid=0", "a\tb", "\"a\""}) {
    EXPECT_THAT(test::error_of([&] { (void)batch_script({.partition = bad}); }),
                HasSubstr("64: --partition: expected no blanks"))
        << bad;
  }
}

}  // namespace
}  // namespace dlt::supervise
