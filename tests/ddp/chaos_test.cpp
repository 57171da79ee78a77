// SPDX-License-Identifier: Apache-2.0
// Messages and threads that take any time they like change no bit of a step.
#include "support/chaos.h"

#include <mutex>
#include <optional>
#include <vector>

#include <gtest/gtest.h>

#include "base/text.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

using Layout = std::vector<int>;  // host of each rank

Sums undisturbed(const ReducerCase& c) {
  std::optional<Sums> out;
  run_ranks(1, [&](comm::Communicator& comm) { out = run_steps(comm, c); });
  return *out;
}

void expect_same(const ReducerCase& c, const Layout& layout, std::uint64_t seed,
                 const Sums& expected) {
  std::mutex mutex;
  run_ranks(layout, [&](comm::Communicator& comm) {
    test::ChaosCommunicator chaos(comm, seed);
    const Sums mine = run_steps(chaos, c);
    const std::lock_guard lock(mutex);
    EXPECT_EQ(mine, expected) << "rank " << comm.rank() << " of hosts "
                              << testing::PrintToString(layout) << ", chaos seed " << seed << ", "
                              << c.text();
  });
}

TEST(Chaos, ChangesNoBit) {
  const std::uint64_t seed = test::chaos_seed();
  std::uint64_t run = 0;
  for (const Layout& layout : {Layout{0, 0}, Layout{0, 1}, Layout{0, 0, 0}, Layout{0, 0, 1},
                               Layout{0, 1, 0, 1}, Layout{0, 0, 1, 1, 2, 2}}) {
    for (const bool overlap : {true, false}) {
      for (const bool shared : {true, false}) {
        ReducerCase c{.num_leaves = 7,
                      .num_workers = 2,
                      .num_params = 6,
                      .param_elements = 320,
                      .bucket_elements = 640,
                      .num_steps = 2,
                      .overlap = overlap,
                      .delays = true};
        c.shared_memory = shared;
        expect_same(c, layout, seed + run++, undisturbed(c));
      }
    }
  }
}

TEST(Chaos, ChangesNoBitOfLargeBuckets) {
  const std::uint64_t seed = test::chaos_seed();
  ReducerCase c{.num_leaves = 6,
                .num_params = 4,
                .param_elements = 20000,
                .bucket_elements = 40000,
                .num_steps = 2,
                .delays = true};
  const Sums expected = undisturbed(c);
  for (const Layout& layout : {Layout{0, 1, 2}, Layout{0, 0, 1, 1}, Layout{0, 1, 1, 0}}) {
    expect_same(c, layout, seed, expected);
  }
}

}  // namespace
}  // namespace dlt::ddp
