// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/process.h"

#include <algorithm>
#include <csignal>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launcher/supervise/children.h"
#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

TEST(Process, SaysWhatCannotBeStarted) {
  EXPECT_THAT(test::error_of([] { (void)spawn({.words = {"/no/such/program"}}); }),
              HasSubstr("69: /no/such/program: cannot be started: No such file"));
}

TEST(Process, GetsChangesOfTheEnvironmentAndNoOtherFile) {
  test::TempFolder folder;
  const int open_file = ::dup(1);  // inherited by a careless start
  const CommandResult got =
      run_command({"sh", "-c", "ls /proc/self/fd | wc -l; readlink /proc/self/fd/0"}, 10);
  ::close(open_file);
  EXPECT_TRUE(got.good());
  EXPECT_EQ(got.out, "4\n/dev/null\n");  // 0, 1, 2 and the folder that ls reads
}

TEST(Process, RunsCommandsSideBySideAndKillsTheSlow) {
  const auto got = run_commands({{"sh", "-c", "echo one; exit 3"},
                                 {"/no/such/program"},
                                 {"sh", "-c", "echo begun; sleep 60 & wait"}},
                                0.3);
  EXPECT_EQ(got[0].out, "one\n");
  EXPECT_EQ(got[0].end.exit_code, 3);
  EXPECT_FALSE(got[0].good());
  EXPECT_FALSE(got[1].started);
  EXPECT_EQ(got[2].out, "begun\n");
  EXPECT_TRUE(got[2].timed_out);
  EXPECT_EQ(got[2].end.signal, SIGKILL);
}

TEST(Process, KillsAllDescendantsButTheSpared) {
  adopt_orphans();
  const pid_t spared = spawn({.words = {"sh", "-c", "sleep 60 & wait"}});
  // A tree: one that ignores what can be ignored, one whose parent is gone, one that is stopped.
  const pid_t tree = spawn({.words = {"sh", "-c",
                                      "trap '' TERM; (setsid sleep 61 &) ; sleep 62 & "
                                      "kill -STOP $!; sleep 63"}});
  while (descendants(getpid()).size() < 6) ::usleep(1000);
  EXPECT_THAT(kill_descendants({.alive = {spared}, .collected = {tree}}, 5), IsEmpty());
  EXPECT_EQ(descendants(getpid()).size(), 2U);
  int status = 0;
  EXPECT_EQ(waitpid(tree, &status, 0), tree);
  EXPECT_EQ(WTERMSIG(status), SIGKILL);
  EXPECT_THAT(kill_descendants({}, 5), IsEmpty());
  EXPECT_EQ(process_info(spared).state, ' ');
}

TEST(Process, TellsAStoppedProcess) {
  const pid_t pid = spawn({.words = {"sleep", "60"}});
  ::kill(pid, SIGSTOP);
  int status = 0;
  EXPECT_EQ(waitpid(pid, &status, WUNTRACED), pid);
  EXPECT_EQ(process_info(pid).state, 'T');
  EXPECT_THAT(kill_descendants({}, 5), IsEmpty());
}

}  // namespace
}  // namespace dlt::supervise
