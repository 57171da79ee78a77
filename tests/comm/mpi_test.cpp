// SPDX-License-Identifier: Apache-2.0
// Runs under mpirun with one to four ranks. Expectations do not depend on the rank count.
#include <cstdio>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/communicator.h"
#include "support/comm_checks.h"
#include "support/reducer_case.h"
#include "support/run_ranks.h"

namespace dlt::comm {
namespace {

Communicator* world = nullptr;  // set by main() for the life of the session

constexpr std::int64_t kLong_bytes = (std::int64_t{65} << 20) + 12;

TEST(MpiCommunicator, DoesAllThatACommunicatorDoes) {
  EXPECT_EQ(world->name(), "mpi");
  check_communicator(*world);
}

TEST(MpiCommunicator, RanksOfThisMachineShareMemory) {
  EXPECT_EQ(world->hosts().size(), 1u);
  check_shared_memory(*world);
}

TEST(MpiCommunicator, DuplicateIsAChannelOfItsOwn) { check_duplicate_from_another_thread(*world); }

TEST(MpiCommunicator, LongAndEmptyMessagesTravelTogether) {
  const int last = world->world_size() - 1;
  check_exchange(*world, [&](int from, int to) {
    return from == 0 && to == last ? kLong_bytes : from == to ? 0 : 100000;
  });
}

TEST(MpiCommunicator, LongCollectivesGoInPieces) {
  std::vector<float> values(static_cast<std::size_t>(kLong_bytes / 4), 1.0F);
  world->allreduce({.data = values.data(), .count = kLong_bytes / 4}, ReduceOp::sum);
  EXPECT_EQ(values.front(), static_cast<float>(world->world_size()));
  EXPECT_EQ(values.back(), static_cast<float>(world->world_size()));

  values.back() = static_cast<float>(world->rank());
  world->broadcast(values.data(), kLong_bytes, world->world_size() - 1);
  EXPECT_EQ(values.back(), static_cast<float>(world->world_size() - 1));

  if (world->world_size() > 2) return;  // memory
  values.back() = static_cast<float>(world->rank());
  std::vector<float> all(values.size() * static_cast<std::size_t>(world->world_size()));
  world->allgather(values.data(), all.data(), kLong_bytes);
  for (int r = 0; r < world->world_size(); ++r) {
    EXPECT_EQ(all[values.size() * static_cast<std::size_t>(r + 1) - 1], static_cast<float>(r));
  }
}

TEST(MpiCommunicator, ShorterMessageThanExpectedIsFound) {
  std::array<char, 8> out{};
  std::array<char, 8> in{};
  const Send send{.peer = world->rank(), .data = out.data(), .num_bytes = 4};
  const Receive receive{.peer = world->rank(), .data = in.data(), .num_bytes = 8};
  const auto channel = world->duplicate();
  EXPECT_THROW(channel->exchange({&send, 1}, {&receive, 1}), Error);
}

TEST(MpiCommunicator, TextsReachEveryRank) {
  const std::string mine(static_cast<std::size_t>(world->rank()) * 1000 + 1, 't');
  const auto texts = allgather_text(*world, mine);
  ASSERT_EQ(texts.size(), static_cast<std::size_t>(world->world_size()));
  for (std::size_t r = 0; r < texts.size(); ++r) {
    EXPECT_EQ(texts[r], std::string(r * 1000 + 1, 't'));
  }
}

ddp::Sums on_thread_ranks(const ddp::ReducerCase& c, int world_size) {
  std::mutex mutex;
  ddp::Sums sums;
  run_ranks(world_size, [&](Communicator& comm) {
    const ddp::Sums mine = ddp::run_steps(comm, c);
    const std::lock_guard lock(mutex);
    sums = mine;
  });
  return sums;
}

TEST(MpiCommunicator, SharesNoMemoryThatLeavesTooLittleRoom) {
  constexpr std::int64_t kMore_than_any_machine_has = std::int64_t{1} << 50;
  EXPECT_EQ(world->share(4096, kMore_than_any_machine_has), nullptr);
  EXPECT_NE(world->share(4096, 4096), nullptr);
}

TEST(MpiReducer, BitsAreThoseOfThreadRanks) {
  for (int leaves : {1, 4, 5, 8}) {
    for (std::int64_t param_elements : {80, 20000}) {
      for (int workers : {1, 2}) {
        ddp::ReducerCase c{.num_leaves = leaves,
                           .num_workers = workers,
                           .param_elements = param_elements,
                           .bucket_elements = 2 * param_elements,
                           .num_empty = leaves / 4,
                           .delays = true};
        const ddp::Sums expected = on_thread_ranks(c, 3);
        EXPECT_EQ(ddp::run_steps(*world, c), expected) << c.text();
        c.shared_memory = false;
        EXPECT_EQ(ddp::run_steps(*world, c), expected) << c.text();
      }
    }
  }
}

TEST(MpiReducer, FastIsCloseToExact) {
  ddp::ReducerCase c{.num_leaves = 6, .narrow = true};
  const ddp::Sums exact = on_thread_ranks(c, 2);
  c.reduction = ddp::Reduction::fast;
  const ddp::Sums fast = ddp::run_steps(*world, c);
  EXPECT_EQ(fast.sums, exact.sums);
  for (std::size_t i = 0; i < exact.gradients.size(); ++i) {
    ASSERT_NEAR(fast.gradients[i], exact.gradients[i], 1e-5);
  }
}

}  // namespace
}  // namespace dlt::comm

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  int failed = 1;
  {
    dlt::comm::MpiSession session;
    const auto world = session.world();
    dlt::comm::world = world.get();
    failed = RUN_ALL_TESTS();
  }
  return failed;
}
