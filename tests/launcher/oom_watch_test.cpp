// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/oom_watch.h"

#include <filesystem>
#include <string>

#include <gtest/gtest.h>

#include "launcher/supervise/findings.h"
#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

TEST(OomWatch, ReadsTheCounterOfBothVersions) {
  EXPECT_EQ(oom_kills("low 0\nhigh 0\nmax 7\noom 2\noom_kill 3\noom_group_kill 0\n"), 3);
  EXPECT_EQ(oom_kills("oom_kill_disable 0\nunder_oom 0\noom_kill 12\n"), 12);
  EXPECT_FALSE(oom_kills("low 0\nmax 1\n"));
  EXPECT_FALSE(oom_kills(""));
}

TEST(OomWatch, FindsTheFileOfAProcesssGroup) {
  test::TempFolder root;
  const auto make = [&](const std::string& name) {
    std::filesystem::create_directories(std::filesystem::path(root / name).parent_path());
    test::write_file(root / name, "oom_kill 0\n");
  };
  EXPECT_EQ(oom_file_of("0::/job/step\n", root.path()), "");
  make("memory.events");
  EXPECT_EQ(oom_file_of("0::/job/step\n", root.path()), root / "memory.events")
      << "in a container the path may be the host's";
  make("job/step/memory.events");
  EXPECT_EQ(oom_file_of("0::/job/step\n", root.path()), root / "job/step/memory.events");
  make("memory/slurm/memory.oom_control");
  EXPECT_EQ(oom_file_of("9:cpu:/x\n4:blkio,memory:/slurm\n", root.path()),
            root / "memory/slurm/memory.oom_control");
}

TEST(Findings, OfAnotherHostAreReadFromText) {
  const auto got = parse_findings("rank 3 T 123.5 5\nxyz\n\nrank 4 gone 123.6 0\nrubbish");
  ASSERT_EQ(got.size(), 2U);
  EXPECT_EQ(got[0].rank, 3);
  EXPECT_EQ(got[0].process_state, 'T');
  EXPECT_DOUBLE_EQ(got[0].read_mono_s, 123.5);
  EXPECT_FALSE(got[0].ring) << "five bytes are no ring";
  EXPECT_EQ(got[1].process_state, 'X');
  EXPECT_TRUE(parse_findings("rank 3 R 1 99999999999\nxyz").empty());
  EXPECT_TRUE(parse_findings("rank 3 R 1 -1\n").empty());
}

}  // namespace
}  // namespace dlt::supervise
