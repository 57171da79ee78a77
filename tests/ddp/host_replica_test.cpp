// SPDX-License-Identifier: Apache-2.0
#include "ddp/host_replica.h"

#include <atomic>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

constexpr HostReplica::Sizes kReplicaSizes{.num_elements = 5000, .num_buffers = 3, .num_sums = 7};

float* elements(const HostReplica& replica, int buffer) {
  return reinterpret_cast<float*>(replica.buffer(buffer).data());
}

TEST(HostReplica, BuffersAreOneForTheRanksOfAHost) {
  run_ranks({0, 0, 1, 1, 1}, [](comm::Communicator& comm) {
    const auto replica = HostReplica::share(comm, kReplicaSizes, {});
    ASSERT_NE(replica, nullptr);
    EXPECT_EQ(replica->local_size(), comm.rank() < 2 ? 2 : 3);
    EXPECT_EQ(replica->is_writer(), comm.rank() == 0 || comm.rank() == 2);
    for (int b = 0; b < kReplicaSizes.num_buffers; ++b) {
      ASSERT_EQ(replica->buffer(b).size_bytes(), 20000);
      EXPECT_EQ(elements(*replica, b)[4999], 0.0F);
    }
    replica->meet();
    const auto host = static_cast<float>(comm.rank() < 2 ? 1 : 2);
    for (int b = 0; b < kReplicaSizes.num_buffers; ++b) {
      elements(*replica, b)[replica->local_rank()] = host + static_cast<float>(b);
    }
    replica->meet();
    for (int b = 0; b < kReplicaSizes.num_buffers; ++b) {
      for (int r = 0; r < replica->local_size(); ++r) {
        EXPECT_EQ(elements(*replica, b)[r], host + static_cast<float>(b));
      }
    }
  });
}

TEST(HostReplica, RanksThatAreAloneShareNothing) {
  run_ranks({0, 1, 2}, [](comm::Communicator& comm) {
    EXPECT_EQ(HostReplica::share(comm, kReplicaSizes, {}), nullptr);
  });
}

TEST(HostReplica, WhatTheWriterWritesAllSeeAndNobodySeesHalfOfIt) {
  run_ranks(3, [](comm::Communicator& comm) {
    const auto replica = HostReplica::share(comm, kReplicaSizes, {});
    float* shared = elements(*replica, 0);
    std::atomic<int> writers{0};
    for (int round = 1; round <= 200; ++round) {
      replica->write_once([&] {
        ++writers;
        for (int i = 0; i < 5000; ++i) shared[i] = static_cast<float>(round);
      });
      for (int i = 0; i < 5000; i += 777) ASSERT_EQ(shared[i], static_cast<float>(round));
    }
    EXPECT_EQ(writers, comm.rank() == 0 ? 200 : 0);
  });
}

TEST(HostReplica, AddsUpOverTheRanksOfAHostAlone) {
  run_ranks({0, 0, 1, 1}, [](comm::Communicator& comm) {
    const auto replica = HostReplica::share(comm, kReplicaSizes, {});
    for (int round = 0; round < 200; ++round) {
      std::vector<double> values{0, 0, 0.25 * round};
      values[static_cast<std::size_t>(replica->local_rank())] = 1.0 + comm.rank() + round;
      replica->add_up(values);
      const int first = comm.rank() < 2 ? 0 : 2;
      ASSERT_THAT(values,
                  testing::ElementsAre(1.0 + first + round, 2.0 + first + round, 0.5 * round));
    }
    std::vector<double> too_many(8);
    EXPECT_THROW(replica->add_up(too_many), Error);
  });
}

TEST(HostReplica, ARankThatDoesNotComeIsNamed) {
  run_ranks(2, [](comm::Communicator& comm) {
    const auto replica = HostReplica::share(comm, kReplicaSizes, {.timeout_s = 0.01});
    replica->arrive();
    if (comm.rank() == 0) {
      replica->wait_for_all();
      try {
        replica->meet();
        ADD_FAILURE() << "no error";
      } catch (const Error& error) {
        EXPECT_EQ(error.exit(), Exit::peer_lost);
        EXPECT_STREQ(error.what(),
                     "rank 0: waited 0.01 s for its part of the host's replica from rank 1");
      }
    }
    comm.barrier();
  });
}

/// Whoever still has a buffer may use it when the others are gone.
TEST(HostReplica, MemoryOutlivesTheOthers) {
  tensor::Storage kept;
  run_ranks(2, [&](comm::Communicator& comm) {
    const auto replica = HostReplica::share(comm, kReplicaSizes, {});
    elements(*replica, 1)[comm.rank()] = 5.0F;
    replica->meet();
    if (comm.rank() == 1) kept = replica->buffer(1);
  });
  EXPECT_EQ(reinterpret_cast<const float*>(kept.data())[0], 5.0F);
}

}  // namespace
}  // namespace dlt::ddp
