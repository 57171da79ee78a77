// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/sweep.h"

#include <filesystem>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/text.h"
#include "launcher/supervise/children.h"
#include "launcher/supervise/process.h"
#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Sweep : public testing::Test {
 protected:
  int run(const std::string& script) {
    const CommandResult got = run_command({"sh", "-c", script}, 20);
    out_ = got.out;
    return got.end.signal != 0 ? -1 : got.end.exit_code;
  }
  void make(const std::string& name) {
    std::filesystem::create_directories(memory_ + "/" + name);
    test::write_file(memory_ + "/" + name + "/file", "x");
  }
  test::TempFolder folder_;
  const std::string memory_ = folder_ / "memory";
  std::string out_;
};

TEST_F(Sweep, NamesTheSameFolderForTheSameRun) {
  const std::string link = folder_ / "link";
  std::filesystem::create_directories(folder_ / "run");
  std::filesystem::create_symlink(folder_ / "run", link);
  const std::string name = memory_dir_of(folder_ / "run");
  EXPECT_THAT(name, HasSubstr(cat("/dev/shm/dlrun-", getuid(), "-")));
  EXPECT_EQ(memory_dir_of(folder_ / "./run"), name);
  EXPECT_EQ(memory_dir_of(link), name);
  EXPECT_NE(memory_dir_of(folder_ / "run2"), name);
}

TEST_F(Sweep, MakesAFolderReadyForAGeneration) {
  EXPECT_EQ(run(prepare_script({.memory_dir = memory_, .generation = 3})), 0);
  EXPECT_THAT(list_directory(memory_), ElementsAre("mpi-3"));
  struct stat info {};
  ASSERT_EQ(::stat(memory_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777U, 0700U);
  EXPECT_GE(std::stoi(out_), 1);
}

TEST_F(Sweep, KeepsWhatRanksLeftUnlessToldOtherwise) {
  make("mpi-1");
  make("mpi-2");
  make("snapshots");
  EXPECT_EQ(run(prepare_script({.memory_dir = memory_, .generation = 3})), 0);
  EXPECT_THAT(list_directory(memory_), ElementsAre("mpi-3", "snapshots"));
  EXPECT_EQ(run(sweep_script(memory_, false)), 0);
  EXPECT_THAT(list_directory(memory_), ElementsAre("snapshots"));
  EXPECT_EQ(run(prepare_script({.memory_dir = memory_, .generation = 4, .wipe = true})), 0);
  EXPECT_THAT(list_directory(memory_), ElementsAre("mpi-4"));
  EXPECT_EQ(run(remove_script(memory_)), 0);
  EXPECT_FALSE(exists(memory_));
  EXPECT_EQ(run(remove_script(memory_)), 0) << "nothing to remove is no mistake";
}

TEST_F(Sweep, RefusesAFolderOfSomebodyElse) {
  std::filesystem::create_directories(folder_ / "trap/mpi-1");
  std::filesystem::create_symlink(folder_ / "trap", memory_);
  EXPECT_EQ(run(prepare_script({.memory_dir = memory_, .generation = 1, .wipe = true})), 77);
  EXPECT_EQ(run(remove_script(memory_)), 77);
  EXPECT_TRUE(exists(folder_ / "trap/mpi-1"));
  if (getuid() != 0) return;  // only root can give a folder away
  std::filesystem::remove(memory_);
  std::filesystem::create_directory(memory_);
  ASSERT_EQ(::chown(memory_.c_str(), 65534, 65534), 0);
  EXPECT_EQ(run(prepare_script({.memory_dir = memory_, .generation = 1})), 77);
}

TEST_F(Sweep, EndsTheRunsProcessesAndNoOthers) {
  const auto start = [](const EnvChanges& env, const Words& words) {
    return spawn({.words = words, .env = env});
  };
  const pid_t rank = start({{"DLRUN_MEMORY", memory_}}, {"sleep", "61"});
  const pid_t daemon = start({}, {"sh", "-c", "sleep 62; :", "-mca", memory_ + "/mpi-12"});
  const pid_t other = start({{"DLRUN_MEMORY", memory_ + "2"}}, {"sleep", "63"});
  // What a script on another host does that shares the process table.
  EXPECT_THAT(prepare_script({.memory_dir = memory_, .generation = 12}),
              HasSubstr("mkdir -p " + memory_ + "/mpi-12/ "));
  const pid_t script = start({}, {"sh", "-c", "sleep 64; :", "mkdir", memory_ + "/mpi-12/"});
  EXPECT_EQ(run(sweep_script(memory_, false)), 0);
  EXPECT_NE(process_info(script).state, 'Z');
  EXPECT_EQ(process_info(rank).state, 'Z');
  EXPECT_EQ(process_info(daemon).state, 'Z');
  EXPECT_NE(process_info(other).state, 'Z');
  EXPECT_THAT(kill_descendants({}, 5), IsEmpty());
}

}  // namespace
}  // namespace dlt::supervise
