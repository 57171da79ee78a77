// SPDX-License-Identifier: Apache-2.0
// The reducer on several hosts, which are simulated: ranks as threads that share memory with those
// of their host only.
#include <functional>
#include <mutex>
#include <optional>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

using Layout = std::vector<int>;  // host of each rank

const std::vector<Layout> kLayouts{
    {0},
    {0, 0},
    {0, 1},
    {0, 0, 0},
    {0, 0, 1},
    {0, 1, 0},
    {0, 0, 1, 1},
    {0, 1, 0, 1},
    {0, 1, 1, 1},
    {0, 0, 0, 0, 1},
    {0, 0, 0, 1, 1, 2},
    {0, 1, 2, 0, 1, 2},
    {0, 0, 0, 0, 0, 0, 0},
    {0, 0, 1, 1, 2, 2, 3, 3},
    {0, 0, 0, 0, 1, 1, 1, 1},
    {0, 0, 0, 0, 0, 0, 0, 0},
};

std::string text(const Layout& layout) {
  return "hosts of ranks " + testing::PrintToString(layout);
}

/// Every rank's sums must agree before they are returned.
Sums run_on_hosts(const ReducerCase& the_case, const Layout& layout) {
  std::mutex mutex;
  std::optional<Sums> first;
  run_ranks(layout, [&](comm::Communicator& comm) {
    const Sums mine = run_steps(comm, the_case);
    const std::lock_guard lock(mutex);
    if (!first) first = mine;
    EXPECT_EQ(*first, mine) << "ranks differ among themselves: " << the_case.text();
  });
  return *first;
}

TEST(HostLayout, BitsDependOnTheLeavesAlone) {
  for (int leaves : {1, 2, 3, 5, 8, 11}) {
    ReducerCase c{.num_leaves = leaves, .num_steps = 3};
    const Sums expected = run_on_hosts(c, {0});
    for (const Layout& layout : kLayouts) {
      for (bool shared_memory : {true, false}) {
        c.num_workers = 1 + leaves % 2;
        c.shared_memory = shared_memory;
        EXPECT_EQ(run_on_hosts(c, layout), expected) << text(layout) << ", " << c.text();
      }
    }
  }
}

TEST(HostLayout, LargeBucketsTakeTwoRoundsWithTheSameBits) {
  for (int leaves : {4, 7, 8}) {
    ReducerCase c{.num_leaves = leaves,
                  .num_params = 9,
                  .param_elements = 5008,
                  .bucket_elements = 20032,
                  .num_steps = 2};
    const Sums expected = run_on_hosts(c, {0});
    for (const Layout& layout : kLayouts) {
      EXPECT_EQ(run_on_hosts(c, layout), expected) << text(layout) << ", " << c.text();
    }
  }
}

TEST(HostLayout, BitsDependOnNeitherBucketsNorOverlapNorDelays) {
  ReducerCase c{.num_leaves = 7, .num_steps = 3};
  const Sums expected = run_on_hosts(c, {0});
  c.num_workers = 2;
  c.delays = true;
  for (std::int64_t bucket_elements : {16, 48, 1000}) {
    for (bool overlap : {true, false}) {
      for (const Layout& layout : {Layout{0, 0}, Layout{0, 0, 1}, Layout{0, 1, 0, 1}}) {
        c.bucket_elements = bucket_elements;
        c.overlap = overlap;
        EXPECT_EQ(run_on_hosts(c, layout), expected) << text(layout) << ", " << c.text();
      }
    }
  }
}

TEST(HostLayout, FailingWorkerKeepsAllRanksInStepAndTheNextStepIsRight) {
  for (const Layout& layout : {Layout{0, 0, 0}, Layout{0, 0, 1}, Layout{0, 1, 0, 1}}) {
    run_ranks(layout, [&](comm::Communicator& comm) {
      ReducerCase c{.num_leaves = 9, .num_workers = 2};
      Reducer reducer(comm, c.options());
      reducer.begin_step(0);
      for (int w = 0; w < 2; ++w) run_worker(reducer, c, 0, w, comm.rank() == 1 && w == 1 ? 0 : -1);
      ControlWord word;
      if (comm.rank() == 1) word.error = 65;
      EXPECT_EQ(reducer.finish_step(word).error_rank, 1);
      const Sums sums = run_step(reducer, c, 1);
      const auto self = comm::make_self();
      Reducer reference(*self, c.options());
      EXPECT_EQ(sums, run_step(reference, c, 1));
    });
  }
}

TEST(HostLayout, RankThatIsGoneEndsTheOthersSteps) {
  for (const Layout& layout : {Layout{0, 0, 0}, Layout{0, 0, 1}, Layout{0, 1, 0, 1}}) {
    const int last = static_cast<int>(layout.size()) - 1;
    run_ranks(layout, [&](comm::Communicator& comm) {
      const ReducerCase c{.num_leaves = 8};
      auto reducer = std::make_unique<Reducer>(comm, c.options());
      if (comm.rank() == last) return;
      reducer->begin_step(5);
      run_worker(*reducer, c, 5, 0);
      try {
        reducer->finish_step({});
        ADD_FAILURE() << "no failure on " << text(layout);
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::peer_lost);
        EXPECT_THAT(error.what(), testing::HasSubstr("is gone"));
      }
    });
  }
}

/// What the ranks are told if `run` fails on all of them. Which of them sees the mismatch, and
/// which only that its peer has left over it, is a matter of time.
std::vector<std::string> failures(const Layout& layout,
                                  const std::function<void(comm::Communicator&)>& run) {
  std::mutex mutex;
  std::vector<std::string> messages;
  run_ranks(layout, [&](comm::Communicator& comm) {
    std::string message = "no failure";
    try {
      run(comm);
    } catch (const Error& error) {
      message = error.what();
    }
    const std::lock_guard lock(mutex);
    messages.push_back(message);
  });
  return messages;
}

TEST(HostLayout, RanksAtDifferentStepsAreBothNamed) {
  const auto both = testing::AnyOf("rank 1 sent step 4 bucket 0, rank 0 expected step 3 bucket 0",
                                   "rank 0 sent step 3 bucket 0, rank 1 expected step 4 bucket 0");
  const auto run = [](comm::Communicator& comm) {
    const ReducerCase c{.num_leaves = 2};
    Reducer reducer(comm, c.options());
    reducer.begin_step(comm.rank() + 3);
    run_worker(reducer, c, 0, 0);
    reducer.finish_step({});
  };
  for (const Layout& layout : {Layout{0, 0}, Layout{0, 1}}) {
    const std::vector<std::string> messages = failures(layout, run);
    EXPECT_THAT(messages, testing::Contains(both)) << text(layout);
    EXPECT_THAT(messages, testing::Not(testing::Contains("no failure"))) << text(layout);
  }
}

TEST(HostLayout, OtherBucketsAreFoundByTheirStampsNotTheirSizes) {
  const auto run = [](comm::Communicator& comm) {
    ReducerCase c{.num_leaves = 2, .bucket_elements = comm.rank() == 0 ? 80 : 400};
    ReducerOptions options = c.options();
    options.generation = comm.rank();
    Reducer reducer(comm, options);
    reducer.begin_step(3);
    run_worker(reducer, c, 3, 0);
    reducer.finish_step({});
  };
  const std::vector<std::string> messages = failures({0, 1}, run);
  EXPECT_THAT(messages, testing::Contains(testing::HasSubstr("expected generation")));
  EXPECT_THAT(messages, testing::Not(testing::Contains("no failure")));
}

TEST(HostLayout, ReducedIsOneBufferOfTheHost) {
  std::mutex mutex;
  std::vector<const float*> addresses(3);
  run_ranks({0, 0, 1}, [&](comm::Communicator& comm) {
    const ReducerCase c{.num_leaves = 3};
    const Reducer reducer(comm, c.options());
    {
      const std::lock_guard lock(mutex);
      addresses[static_cast<std::size_t>(comm.rank())] = reducer.reduced();
    }
    comm.barrier();
  });
  EXPECT_EQ(addresses[0], addresses[1]);
  EXPECT_NE(addresses[0], addresses[2]);
}

}  // namespace
}  // namespace dlt::ddp
