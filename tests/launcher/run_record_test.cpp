// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/run_record.h"

#include <gtest/gtest.h>

#include "support/temp_folder.h"

namespace dlt::supervise {
namespace {

using test::TempFolder;
using test::write_file;

TEST(RunRecord, ReadsWholeLinesOfKnownForm) {
  const TempFolder run;
  write_file(run / "events.jsonl",
             "{\"ev\": \"step\", \"t_mono\": 1.5, \"generation\": 2, \"step\": 7}\n"
             "not json\n"
             "{\"t_mono\": 2.0}\n"
             "{\"ev\": \"restart\", \"t_mono\": 3.0, \"generation\": 3, \"from_step\": 6}\n"
             "{\"ev\": \"step\", \"t_mo");
  const std::vector<RunEvent> events = read_events(run.path());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[0].kind, "step");
  EXPECT_EQ(events[0].step, 7);
  EXPECT_EQ(events[1].generation, 3);
  EXPECT_EQ(events[1].from_step, 6);
  EXPECT_TRUE(read_events(run / "none").empty());
}

TEST(RunRecord, MeasuresAFaultFromItsMomentOn) {
  const std::vector<RunEvent> events{
      {.kind = "step", .mono_s = 1, .generation = 1, .step = 10},
      {.kind = "fault", .mono_s = 2.5, .generation = 1},
      {.kind = "restart", .mono_s = 3, .generation = 2, .from_step = 8},
      {.kind = "step", .mono_s = 4, .generation = 2, .step = 9},
  };
  const auto got = recovery_from(events, 2);
  ASSERT_TRUE(got.has_value());
  EXPECT_DOUBLE_EQ(got->detected_s, 0.5);
  ASSERT_TRUE(got->again_s.has_value());
  EXPECT_DOUBLE_EQ(*got->again_s, 2);
  EXPECT_EQ(got->steps_lost, 2);
  EXPECT_FALSE(recovery_from(events, 3.5).has_value());
}

TEST(RunRecord, HashIsThatOfTheSummary) {
  const TempFolder run;
  EXPECT_EQ(hash_of_run(run.path()), "");
  write_file(run / "summary.json", "{\"weights_hash\": \"abc\"}\n");
  EXPECT_EQ(hash_of_run(run.path()), "abc");
  write_file(run / "summary.json", "{\"weights_ha");
  EXPECT_EQ(hash_of_run(run.path()), "");
}

}  // namespace
}  // namespace dlt::supervise
