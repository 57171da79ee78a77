// SPDX-License-Identifier: Apache-2.0
#include "ddp/replica.h"

#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/run_ranks.h"

namespace dlt::ddp {
namespace {

using Facts = std::vector<std::pair<std::string, std::string>>;
using testing::Each;
using testing::SizeIs;

struct ReplicaOutcome {
  std::string message;
  std::string hint;
  Exit exit = Exit::ok;
};

/// What each rank's call threw; an empty message where it returned.
template <typename Call>
std::vector<ReplicaOutcome> outcomes(int world_size, Call call) {
  std::vector<ReplicaOutcome> all(static_cast<std::size_t>(world_size));
  run_ranks(world_size, [&](comm::Communicator& comm) {
    ReplicaOutcome& mine = all[static_cast<std::size_t>(comm.rank())];
    try {
      call(comm);
    } catch (const Error& error) {
      mine = {error.what(), error.hint(), error.exit()};
    }
    comm.barrier();  // all ranks still are in step
  });
  return all;
}

std::string host_of(const comm::Communicator& comm) { return "host" + std::to_string(comm.rank()); }

TEST(Replica, EqualFactsAgree) {
  for (int ranks : {1, 3}) {
    const auto all = outcomes(ranks, [](comm::Communicator& comm) {
      require_agreement(comm, host_of(comm), Facts{{"binary", "aa"}, {"config", "bb"}});
    });
    EXPECT_THAT(all, Each(testing::Field(&ReplicaOutcome::message, "")));
  }
}

TEST(Replica, OddRankIsNamedWithHostFactAndBothValuesOnEveryRank) {
  const auto all = outcomes(4, [](comm::Communicator& comm) {
    const std::string config = comm.rank() == 2 ? "1f3a" : "77c0";
    require_agreement(comm, host_of(comm),
                      {{"binary", "aa"}, {"config", config}, {"plan", config}});
  });
  for (const ReplicaOutcome& outcome : all) {
    EXPECT_EQ(outcome.message,
              "rank 2 (host2): differs from the other ranks in config: 1f3a, expected 77c0");
    EXPECT_THAT(outcome.hint, testing::HasSubstr("config file"));
    EXPECT_EQ(outcome.exit, Exit::config);
  }
}

TEST(Replica, ReplicasThatDifferFromMostAreNamed) {
  const auto all = outcomes(5, [](comm::Communicator& comm) {
    const std::uint64_t hash = comm.rank() == 1 ? 7 : comm.rank() == 4 ? 9 : 5;
    require_equal_replicas(comm, host_of(comm), 300, hash);
  });
  for (const ReplicaOutcome& outcome : all) {
    EXPECT_EQ(outcome.message,
              "ranks 1, 4 (host1, host4): differ from the other ranks in the weights after step "
              "300: rank 1 (host1): 7, rank 4 (host4): 9, expected 5");
    EXPECT_EQ(outcome.exit, Exit::internal);
  }
}

TEST(Replica, WithoutAMajorityAllReplicasAreNamed) {
  const auto all = outcomes(2, [](comm::Communicator& comm) {
    require_equal_replicas(comm, host_of(comm), 4, comm.rank() == 0 ? 1 : 2);
  });
  for (const ReplicaOutcome& outcome : all) {
    EXPECT_EQ(outcome.message,
              "the ranks differ in the weights after step 4: rank 0 (host0): 1, rank 1 (host1): 2");
  }
}

TEST(Replica, RankZeroCanBeTheOddOne) {
  const auto all = outcomes(3, [](comm::Communicator& comm) {
    require_agreement(comm, "h", {{"data", comm.rank() == 0 ? "new" : "old"}});
  });
  EXPECT_EQ(all[1].message, "rank 0 (h): differs from the other ranks in data: new, expected old");
}

TEST(Replica, OfTwoRanksTheSecondIsNamed) {
  const auto all = outcomes(2, [](comm::Communicator& comm) {
    require_agreement(comm, host_of(comm), {{"binary", comm.rank() == 0 ? "a" : "b"}});
  });
  EXPECT_EQ(all[0].message,
            "rank 1 (host1): differs from the other ranks in binary: b, expected a");
}

TEST(Replica, SeveralOddRanksAreListed) {
  const auto all = outcomes(5, [](comm::Communicator& comm) {
    require_agreement(comm, "h", {{"plan", comm.rank() > 2 ? "b" : "a"}});
  });
  EXPECT_EQ(all[0].message, "ranks 3, 4 (h): differ from the other ranks in plan: b, expected a");
}

TEST(Replica, MissingFactIsADifference) {
  const auto all = outcomes(3, [](comm::Communicator& comm) {
    Facts facts{{"binary", "a"}};
    if (comm.rank() != 1) facts.emplace_back("data", "d");
    require_agreement(comm, "h", facts);
  });
  EXPECT_EQ(all[2].message,
            "rank 1 (h): differs from the other ranks in data: (missing), expected d");
}

TEST(Replica, NoFailureReturnsEverywhere) {
  const auto all = outcomes(
      3, [](comm::Communicator& comm) { agree_on_failure(comm, host_of(comm), std::nullopt); });
  EXPECT_THAT(all, Each(testing::Field(&ReplicaOutcome::message, "")));
}

TEST(Replica, LowestFailureIsThrownOnEveryRank) {
  const auto all = outcomes(4, [](comm::Communicator& comm) {
    std::optional<Error> failure;
    if (comm.rank() == 2) failure = Error(Exit::missing, "x.h5: no such file", "copy it");
    if (comm.rank() == 3) failure = Error(Exit::data, "x.h5: truncated");
    agree_on_failure(comm, host_of(comm), failure);
  });
  ASSERT_THAT(all, SizeIs(4));
  for (const ReplicaOutcome& outcome : all) {
    EXPECT_EQ(outcome.message, "rank 2 (host2): x.h5: no such file");
    EXPECT_EQ(outcome.hint, "copy it");
    EXPECT_EQ(outcome.exit, Exit::missing);
  }
}

TEST(Replica, FailureOfAllRanksAlikeHasNoPrefix) {
  for (int ranks : {1, 3}) {
    const auto all = outcomes(ranks, [](comm::Communicator& comm) {
      agree_on_failure(comm, host_of(comm), Error(Exit::config, "c.yaml:1:1: error: x\n"));
    });
    EXPECT_THAT(all, Each(testing::Field(&ReplicaOutcome::message, "c.yaml:1:1: error: x\n")));
  }
}

TEST(Replica, WhatOneRankThrowsIsThrownOnEveryRank) {
  const auto all = outcomes(3, [](comm::Communicator& comm) {
    together(comm, host_of(comm), [&] {
      if (comm.rank() == 1) throw Error(Exit::missing, "x.h5: no such file", "copy it");
      if (comm.rank() == 2) throw std::runtime_error("another library's");
    });
  });
  for (const ReplicaOutcome& outcome : all) {
    EXPECT_EQ(outcome.message, "rank 1 (host1): x.h5: no such file");
    EXPECT_EQ(outcome.exit, Exit::missing);
  }
}

TEST(Replica, AnotherLibrarysExceptionIsOurBug) {
  const auto all = outcomes(2, [](comm::Communicator& comm) {
    together(comm, "h", [&] {
      if (comm.rank() == 1) throw std::runtime_error("bad");
    });
  });
  for (const ReplicaOutcome& outcome : all) {
    EXPECT_EQ(outcome.message, "rank 1 (h): bad");
    EXPECT_EQ(outcome.exit, Exit::internal);
  }
}

TEST(Replica, VeryLongFailureStillReachesAllRanks) {
  const auto all = outcomes(2, [](comm::Communicator& comm) {
    std::optional<Error> failure;
    if (comm.rank() == 1) failure = Error(Exit::data, std::string(3 << 20, 'x'));
    agree_on_failure(comm, "h", failure);
  });
  EXPECT_THAT(all[0].message, testing::StartsWith("rank 1 (h): xxx"));
  EXPECT_EQ(all[0].message, all[1].message);
}

}  // namespace
}  // namespace dlt::ddp
