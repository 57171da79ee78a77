// SPDX-License-Identifier: Apache-2.0
#include "launcher/rank_env.h"

#include <map>
#include <string>

#include <gtest/gtest.h>

#include "base/error.h"

namespace dlt::launcher {
namespace {

RankEnv read(const std::map<std::string, std::string>& env) {
  return read_rank_env([&](const char* name) -> const char* {
    const auto it = env.find(name);
    return it == env.end() ? nullptr : it->second.c_str();
  });
}

TEST(RankEnv, IsRankZeroOfOneWithoutAStarter) {
  const RankEnv got = read({{"PATH", "/bin"}});
  EXPECT_EQ(got.starter, Starter::none);
  EXPECT_EQ(got.rank, 0);
  EXPECT_EQ(got.world_size, 1);
  EXPECT_TRUE(got.root());
}

TEST(RankEnv, ReadsOpenMpi) {
  const RankEnv got = read({{"OMPI_COMM_WORLD_RANK", "3"},
                            {"OMPI_COMM_WORLD_SIZE", "4"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"},
                            {"PMIX_RANK", "3"}});
  EXPECT_EQ(got.starter, Starter::open_mpi);
  EXPECT_EQ(got.rank, 3);
  EXPECT_EQ(got.world_size, 4);
  EXPECT_EQ(got.local_rank, 1);
  EXPECT_EQ(got.local_size, 2);
  EXPECT_FALSE(got.root());
}

TEST(RankEnv, ReadsWhatDlrunTellsItsRanks) {
  const std::string token(64, 'a');
  const RankEnv got = read({{"DLRUN_CONTROL", "127.0.0.1:4711"},
                            {"DLRUN_TOKEN", token.c_str()},
                            {"DLRUN_GENERATION", "3"},
                            {"DLRUN_SKIP_STEPS", "12,845"},
                            {"DLRUN_MEMORY", "/dev/shm/dlrun-0-1"}});
  ASSERT_TRUE(got.supervision.has_value());
  EXPECT_EQ(got.supervision->control, "127.0.0.1:4711");
  EXPECT_EQ(got.supervision->token, token);
  EXPECT_EQ(got.supervision->generation, 3);
  EXPECT_EQ(got.supervision->memory_dir, "/dev/shm/dlrun-0-1");
  EXPECT_EQ(got.supervision->skip_steps, (std::vector<std::int64_t>{12, 845}));
  EXPECT_FALSE(read({{"PATH", "/bin"}}).supervision.has_value());
}

TEST(RankEnv, ReadsWhatBecameOfEarlierGenerations) {
  const std::string token(64, 'a');
  const RunSoFar got = read({{"DLRUN_CONTROL", "127.0.0.1:4711"},
                             {"DLRUN_TOKEN", token.c_str()},
                             {"DLRUN_RESTARTS", "3"},
                             {"DLRUN_STEPS_LOST", "17"},
                             {"DLRUN_FURTHEST_STEP", "812"},
                             {"DLRUN_ELAPSED_MS", "61000"},
                             {"DLRUN_STEPPING_MS", "60500"}})
                           .supervision->so_far;
  EXPECT_EQ(got.restarts, 3);
  EXPECT_EQ(got.steps_lost, 17);
  EXPECT_EQ(got.furthest_step, 812);
  EXPECT_DOUBLE_EQ(got.elapsed_s, 61);
  EXPECT_DOUBLE_EQ(got.stepping_s, 60.5);
}

TEST(RankEnv, RefusesATokenThatIsNone) {
  for (const char* token : {"", "abc", "secret"}) {
    try {
      (void)read({{"DLRUN_CONTROL", "127.0.0.1:4711"}, {"DLRUN_TOKEN", token}});
      FAIL() << token;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::denied);
    }
  }
}

TEST(RankEnv, RefusesStepsToSkipThatAreNone) {
  const std::string token(64, 'a');
  for (const char* steps : {"x", "3,", ",3", "3,,4", "-1", "3 4", "99999999999999999999"}) {
    try {
      (void)read({{"DLRUN_CONTROL", "127.0.0.1:4711"},
                  {"DLRUN_TOKEN", token.c_str()},
                  {"DLRUN_SKIP_STEPS", steps}});
      FAIL() << steps;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::unavailable);
      EXPECT_NE(std::string(error.what()).find(steps), std::string::npos) << error.what();
    }
  }
}

TEST(RankEnv, ReadsASlurmStep) {
  const RankEnv got = read({{"SLURM_PROCID", "2"},
                            {"SLURM_STEP_ID", "0"},
                            {"SLURM_STEP_NUM_TASKS", "8"},
                            {"SLURM_NTASKS", "16"},
                            {"SLURM_LOCALID", "2"},
                            {"PMIX_RANK", "2"}});
  EXPECT_EQ(got.starter, Starter::slurm);
  EXPECT_EQ(got.rank, 2);
  EXPECT_EQ(got.world_size, 8);
}

TEST(RankEnv, DoesNotTakeABatchScriptForARank) {
  const RankEnv got = read({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}});
  EXPECT_EQ(got.starter, Starter::none);
  EXPECT_EQ(got.world_size, 1);
}

TEST(RankEnv, PrefersMpirunInsideASlurmStep) {
  const RankEnv got = read({{"SLURM_PROCID", "0"},
                            {"SLURM_STEP_ID", "0"},
                            {"SLURM_STEP_NUM_TASKS", "1"},
                            {"OMPI_COMM_WORLD_RANK", "1"},
                            {"OMPI_COMM_WORLD_SIZE", "2"}});
  EXPECT_EQ(got.starter, Starter::open_mpi);
  EXPECT_EQ(got.rank, 1);
  EXPECT_EQ(got.world_size, 2);
}

TEST(RankEnv, ReadsPmi) {
  const RankEnv got = read({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MPI_LOCALRANKID", "1"}});
  EXPECT_EQ(got.starter, Starter::pmi);
  EXPECT_EQ(got.rank, 1);
  EXPECT_EQ(got.world_size, 2);
  EXPECT_EQ(got.local_rank, 1);
}

TEST(RankEnv, LeavesTheSizeOpenWherePmixDoesNotTellIt) {
  const RankEnv got = read({{"PMIX_RANK", "5"}});
  EXPECT_EQ(got.starter, Starter::pmix);
  EXPECT_EQ(got.rank, 5);
  EXPECT_EQ(got.world_size, 0);
}

TEST(RankEnv, RefusesWhatIsNoRank) {
  for (const char* bad : {"", "x", "-1", "1x", "4", "99999999999"}) {
    try {
      (void)read({{"OMPI_COMM_WORLD_RANK", bad}, {"OMPI_COMM_WORLD_SIZE", "4"}});
      ADD_FAILURE() << "took '" << bad << "'";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::unavailable);
      EXPECT_NE(std::string(error.what()).find("OMPI_COMM_WORLD_RANK"), std::string::npos);
    }
  }
}

}  // namespace
}  // namespace dlt::launcher
