// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/starter.h"

#include <map>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/text.h"
#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using testing::HasSubstr;
using testing::Not;
using Env = std::map<std::string, std::string>;

launcher::Lookup lookup_of(Env env) {
  return [env = std::move(env)](const char* name) -> const char* {
    const auto it = env.find(name);
    return it == env.end() ? nullptr : it->second.c_str();
  };
}

StartPlan plan_of(StarterKind kind, int major = 4) {
  return {.starter = {.kind = kind, .major = major, .path = "START"},
          .hosts = {{.name = "a", .slots = 4}},
          .scratch_dir = "/dev/shm/d/mpi-1",
          .program = {"dltrain", "c.yaml"}};
}

/// The words, then the variables, all with blanks between.
std::string text_of(const StartPlan& plan, const Env& env = {}) {
  const CommandLine line = command_line(plan, lookup_of(env), {"DLRUN_TOKEN", "DLRUN_MEMORY"});
  std::string out = join(line.words, " ");
  for (const auto& [name, value] : line.env) out += cat(" ", name, "=", value);
  return out;
}

TEST(Starter, RecognisesMpiByWhatItSays) {
  const auto open = recognise_mpi("mpirun (Open MPI) 4.1.4\n", "x");
  EXPECT_EQ(open.kind, StarterKind::open_mpi);
  EXPECT_EQ(open.major, 4);
  EXPECT_EQ(recognise_mpi("mpirun.openmpi (OpenRTE) 4.1.4", "x").major, 4);
  EXPECT_EQ(recognise_mpi("mpi        Open MPI v5.0.3, package: x", "x").major, 5);
  EXPECT_EQ(recognise_mpi("HYDRA build details:\n Version: 4.0.2", "x").kind, StarterKind::hydra);
  EXPECT_EQ(recognise_mpi("mpi        MPICH Version: 4.0.2", "x").kind, StarterKind::hydra);
  EXPECT_THAT(test::error_of([] { (void)recognise_mpi("prun 1", "p --version"); }),
              HasSubstr("69: p --version: expected Open MPI or MPICH, got 'prun 1'"));
}

TEST(Starter, CallsOpenMpiOnThisMachine) {
  EXPECT_EQ(text_of(plan_of(StarterKind::open_mpi)),
            "START --quiet -n 4 --map-by slot --bind-to none dltrain c.yaml "
            "OMPI_MCA_orte_tmpdir_base=/dev/shm/d/mpi-1 "
            "OMPI_MCA_btl_vader_backing_directory=/dev/shm/d/mpi-1 "
            "OMPI_MCA_osc_sm_backing_directory=/dev/shm/d/mpi-1");
}

TEST(Starter, CallsOpenMpi5) {
  EXPECT_EQ(text_of(plan_of(StarterKind::open_mpi, 5)),
            "START --quiet -n 4 --map-by slot --bind-to none dltrain c.yaml "
            "PRTE_MCA_prte_tmpdir_base=/dev/shm/d/mpi-1 "
            "OMPI_MCA_btl_sm_backing_directory=/dev/shm/d/mpi-1 "
            "OMPI_MCA_osc_sm_backing_directory=/dev/shm/d/mpi-1");
}

TEST(Starter, NamesHostsAndVariablesForThem) {
  StartPlan plan = plan_of(StarterKind::open_mpi);
  plan.hosts.push_back({.name = "b", .slots = 2});
  plan.named_hosts = true;
  EXPECT_THAT(text_of(plan), HasSubstr("-n 6 --host a:4,b:2 --map-by slot --bind-to none "
                                       "-x DLRUN_TOKEN -x DLRUN_MEMORY dltrain"));
  EXPECT_THAT(text_of(plan), HasSubstr("OMPI_MCA_odls_base_sigkill_timeout=60"));
}

TEST(Starter, BindsRanksToTheirCores) {
  StartPlan plan = plan_of(StarterKind::open_mpi);
  plan.cores_per_rank = 2;
  EXPECT_THAT(text_of(plan), HasSubstr("--map-by slot:PE=2 --bind-to core dltrain"));
  plan.starter.kind = StarterKind::hydra;
  EXPECT_THAT(text_of(plan), HasSubstr("-bind-to core:2 dltrain"));
  plan.starter.kind = StarterKind::srun;
  EXPECT_THAT(text_of(plan), HasSubstr("--cpus-per-task 2 dltrain"));
}

TEST(Starter, LetsRanksYieldWhereTheyShareCores) {
  StartPlan plan = plan_of(StarterKind::open_mpi);
  plan.oversubscribed = true;
  EXPECT_THAT(text_of(plan), HasSubstr("--oversubscribe dltrain"));
  EXPECT_THAT(text_of(plan), HasSubstr("OMPI_MCA_mpi_yield_when_idle=1"));
}

TEST(Starter, LeavesWhatTheUserSetsInTheEnvironment) {
  StartPlan plan = plan_of(StarterKind::open_mpi);
  plan.oversubscribed = true;
  const Env env{{"OMPI_MCA_orte_tmpdir_base", "/scratch"},
                {"OMPI_MCA_odls_base_sigkill_timeout", "7"},
                {"OMPI_MCA_btl_vader_backing_directory", "/scratch"},
                {"OMPI_MCA_osc_sm_backing_directory", ""},
                {"OMPI_MCA_mpi_yield_when_idle", "0"},
                {"OMPI_MCA_rmaps_base_mapping_policy", "node"},
                {"OMPI_MCA_hwloc_base_binding_policy", "socket"}};
  EXPECT_EQ(text_of(plan, env), "START --quiet -n 4 --oversubscribe dltrain c.yaml");
  plan.oversubscribed = false;
  plan.cores_per_rank = 2;
  EXPECT_EQ(text_of(plan, env), "START --quiet -n 4 dltrain c.yaml");
}

TEST(Starter, CallsHydra) {
  StartPlan plan = plan_of(StarterKind::hydra);
  EXPECT_EQ(text_of(plan), "START -n 4 dltrain c.yaml");
  plan.named_hosts = true;
  plan.rsh = "agent";
  EXPECT_EQ(text_of(plan),
            "START -n 4 -hosts a:4 -launcher ssh -launcher-exec agent dltrain c.yaml");
}

TEST(Starter, CallsSrun) {
  StartPlan plan = plan_of(StarterKind::srun);
  plan.hosts = {{.name = "n1", .slots = 2}, {.name = "n2", .slots = 2}};
  EXPECT_EQ(text_of(plan),
            "START --ntasks 4 --nodes 2 --export ALL --kill-on-bad-exit=1 --unbuffered --overlap "
            "--mpi pmix --nodelist n1,n2 --ntasks-per-node 2 --cpu-bind none dltrain c.yaml "
            "OMPI_MCA_btl_vader_backing_directory=/dev/shm/d/mpi-1 "
            "OMPI_MCA_osc_sm_backing_directory=/dev/shm/d/mpi-1");
  plan.hosts[1].slots = 1;
  EXPECT_THAT(text_of(plan), HasSubstr("--nodelist n1,n1,n2 --distribution arbitrary"));
  EXPECT_THAT(text_of(plan, {{"SLURM_MPI_TYPE", "pmix_v4"}}), Not(HasSubstr("--mpi ")));
}

TEST(Starter, BindsOnlyWhereEveryThreadGetsACore) {
  EXPECT_EQ(cores_to_bind({{.ranks = 2, .cores = 8}}, 0), 4);
  EXPECT_EQ(cores_to_bind({{.ranks = 2, .cores = 8}}, 3), 3);
  EXPECT_EQ(cores_to_bind({{.ranks = 2, .cores = 8}, {.ranks = 2, .cores = 4}}, 0), 2);
  EXPECT_EQ(cores_to_bind({{.ranks = 2, .cores = 8}, {.ranks = 0, .cores = 1}}, 0), 4);
  EXPECT_EQ(cores_to_bind({{.ranks = 2, .cores = 4}}, 3), 0);
  EXPECT_EQ(cores_to_bind({{.ranks = 4, .cores = 2}}, 0), 0);
}

TEST(Starter, PrintsTheMap) {
  StartPlan plan = plan_of(StarterKind::open_mpi);
  plan.hosts.push_back({.name = "node12", .slots = 1});
  plan.cores_per_rank = 2;
  EXPECT_EQ(map_text(plan),
            "  a       ranks 0-3, 2 cores each\n"
            "  node12  rank 4, 2 cores\n");
  plan.cores_per_rank = 0;
  EXPECT_THAT(map_text(plan), HasSubstr("ranks 0-3, not bound to cores\n"));
}

}  // namespace
}  // namespace dlt::supervise
