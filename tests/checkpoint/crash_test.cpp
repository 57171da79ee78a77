// SPDX-License-Identifier: Apache-2.0
// Every commit breaks at every call it makes, in every way; then the run goes on.
#include <functional>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "checkpoint/samples.h"
#include "checkpoint/store.h"
#include "support/faulty_fs.h"
#include "support/temp_folder.h"

namespace dlt::checkpoint::test {
namespace {

using dlt::test::FaultyFs;
using dlt::test::Stopped;
using dlt::test::TempFolder;

struct Scenario {
  const char* name;
  int keep;
  std::function<void(Store&, const std::string&)> before;
  Checkpoint checkpoint;             // whose commit breaks
  std::vector<Checkpoint> expected;  // what load_newest() may give then
};

void break_file(const std::string& path) { dlt::test::write_file(path, "broken"); }

std::vector<Scenario> scenarios() {
  const auto one = sample_checkpoint(1), two = sample_checkpoint(2),
             other = sample_checkpoint(2, 1);
  const auto first = [](Store& store, const std::string&) { store.commit(sample_checkpoint(1)); };
  const auto both = [](Store& store, const std::string&) {
    store.commit(sample_checkpoint(1));
    store.commit(sample_checkpoint(2));
  };
  return {
      {"a new step, one kept", 1, first, two, {one, two}},
      {"a new step, three kept", 3, first, two, {one, two}},
      {"the same step again, identical", 1, both, two, {two}},
      {"the only step again, different", 1, both, other, {two, other}},
      {"a step again, different", 2, both, other, {two, other}},
      {"a damaged step again",
       2,
       [](Store& store, const std::string& directory) {
         store.commit(sample_checkpoint(1));
         store.commit(sample_checkpoint(2));
         break_file(directory + "/step-000000002/model.safetensors");
       },
       two,
       {one, two}},
      {"behind a damaged newer step",
       1,
       [](Store& store, const std::string& directory) {
         store.commit(sample_checkpoint(1));
         std::filesystem::copy(directory + "/step-000000001", directory + "/step-000000009");
       },
       two,
       {one, two}},
      {"beside leftovers",
       2,
       [](Store& store, const std::string& directory) {
         store.commit(sample_checkpoint(1));
         std::filesystem::copy(directory + "/step-000000001", directory + "/.old-step-000000001");
         std::filesystem::copy(directory + "/step-000000001", directory + "/.tmp-step-000000002");
         std::filesystem::copy(directory + "/step-000000001", directory + "/.trash-step-000000000");
       },
       two,
       {one, two}},
      {"after an interrupted replacement",
       2,
       [](Store& store, const std::string& directory) {
         store.commit(sample_checkpoint(1));
         std::filesystem::rename(directory + "/step-000000001", directory + "/.old-step-000000001");
       },
       two,
       {one, two}},
  };
}

/// What a new process finds must be one of the expected checkpoints, and it must be able to go on.
void check_after(const Scenario& scenario, const std::string& directory) {
  FaultyFs fs;
  Store store(fs, directory, scenario.keep);
  std::vector<std::string> problems;
  const std::optional<Checkpoint> found = store.load_newest(problems);
  ASSERT_TRUE(found.has_value());
  bool is_expected = false;
  for (const Checkpoint& one : scenario.expected) is_expected |= difference(*found, one).empty();
  EXPECT_TRUE(is_expected) << "found step " << found->step;

  const CommitResult next = store.commit(sample_checkpoint(10));
  EXPECT_THAT(next.warnings, testing::IsEmpty());
  EXPECT_EQ(difference(*store.load_newest(problems), sample_checkpoint(10)), "");
  const std::vector<std::string> names = list_directory(directory);
  EXPECT_LE(names.size(), static_cast<std::size_t>(scenario.keep));
  for (const std::string& name : names) {
    EXPECT_TRUE(name.starts_with("step-")) << name;
  }
}

class Crash : public testing::TestWithParam<FaultyFs::Mode> {};

TEST_P(Crash, LeavesTheOldOrTheNewCheckpointAtEveryCall) {
  for (const Scenario& scenario : scenarios()) {
    bool broke = true;
    int num_calls = 0;
    for (std::int64_t k = 0; broke; ++k) {
      SCOPED_TRACE(std::string(scenario.name) + ", broken at call " + std::to_string(k));
      const TempFolder folder;
      const std::string directory = folder / "checkpoints";
      FaultyFs fs;
      Store before(fs, directory, 9);
      scenario.before(before, directory);
      FaultyFs faulty(GetParam(), k);
      std::string outcome = "committed";
      try {
        Store(faulty, directory, scenario.keep).commit(scenario.checkpoint);
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::io) << error.what();
        outcome = error.what();
      } catch (const Stopped&) {
        outcome = "stopped";
      }
      broke = faulty.broke();
      num_calls += broke ? 1 : 0;
      if (GetParam() == FaultyFs::Mode::fail_once && outcome != "committed") {
        EXPECT_FALSE(exists(directory + "/.tmp-step-000000002")) << outcome;
      }
      if (!broke) {
        EXPECT_EQ(outcome, "committed");
      } else {
        SCOPED_TRACE(faulty.calls().back() + ": " + outcome);
      }
      check_after(scenario, directory);
      if (HasFatalFailure()) return;
    }
    EXPECT_GE(num_calls, 2) << scenario.name;
  }
}

INSTANTIATE_TEST_SUITE_P(Modes, Crash,
                         testing::Values(FaultyFs::Mode::fail_once, FaultyFs::Mode::fail_always,
                                         FaultyFs::Mode::stop),
                         [](const auto& mode) -> std::string {
                           if (mode.param == FaultyFs::Mode::fail_once) return "FailOnce";
                           return mode.param == FaultyFs::Mode::stop ? "Stop" : "FailAlways";
                         });

TEST(CrashOfClear, LeavesOnlyWholeCheckpoints) {
  bool broke = true;
  for (std::int64_t k = 0; broke; ++k) {
    const TempFolder folder;
    FaultyFs fs;
    Store store(fs, folder.path(), 9);
    for (const std::int64_t step : {1, 2}) store.commit(sample_checkpoint(step));
    FaultyFs faulty(FaultyFs::Mode::stop, k);
    try {
      Store(faulty, folder.path(), 9).clear();
    } catch (const Stopped&) {
    }
    broke = faulty.broke();
    for (const std::int64_t step : store.steps()) {
      EXPECT_EQ(difference(load(store.path_of(step)), sample_checkpoint(step)), "") << k;
    }
    store.clear();
    EXPECT_THAT(list_directory(folder.path()), testing::IsEmpty()) << k;
  }
}

}  // namespace
}  // namespace dlt::checkpoint::test
