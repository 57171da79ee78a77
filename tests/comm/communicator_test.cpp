// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.h"

#include <atomic>
#include <latch>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "support/comm_checks.h"
#include "support/run_ranks.h"

namespace dlt::comm {
namespace {

using testing::HasSubstr;

TEST(SelfCommunicator, DoesAllThatACommunicatorDoes) {
  const auto comm = make_self();
  EXPECT_EQ(comm->name(), "self");
  check_communicator(*comm);
}

TEST(SelfCommunicator, MessagesToOneselfMustMatch) {
  const auto comm = make_self();
  char byte = 1;
  const Send send{.peer = 0, .data = &byte, .num_bytes = 1};
  EXPECT_THROW(comm->exchange({&send, 1}, {}), Error);
}

TEST(ThreadCommunicator, DoesAllThatACommunicatorDoes) {
  for (int ranks = 1; ranks <= 6; ++ranks) run_ranks(ranks, check_communicator);
}

TEST(ThreadCommunicator, DuplicateIsAChannelOfItsOwn) {
  run_ranks(3, check_duplicate_from_another_thread);
}

TEST(ThreadCommunicator, SumsAreInRankOrder) {
  run_ranks(3, [](Communicator& comm) {
    float value = comm.rank() == 0 ? 1e8F : comm.rank() == 1 ? 3.0F : -1e8F;
    comm.allreduce({.data = &value, .count = 1}, ReduceOp::sum);
    EXPECT_EQ(value, (1e8F + 3.0F) - 1e8F);
  });
}

TEST(ThreadCommunicator, AbortWakesTheOtherRanksAndTheirDuplicates) {
  std::atomic<int> lost{0};
  const auto wait_for_ever = [&](Communicator& comm) {
    try {
      comm.barrier();
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::peer_lost);
      EXPECT_THAT(error.what(), HasSubstr("rank 1 aborted"));
      ++lost;
    }
  };
  EXPECT_THROW(run_ranks(3,
                         [&](Communicator& comm) {
                           const auto other = comm.duplicate();
                           if (comm.rank() == 1) comm.abort(81);
                           std::jthread thread([&] { wait_for_ever(*other); });
                           wait_for_ever(comm);
                         }),
               Error);
  EXPECT_EQ(lost, 4);
}

TEST(ThreadCommunicator, RankThatLeavesIsReportedToThoseThatWaitForIt) {
  run_ranks(2, [](Communicator& comm) {
    if (comm.rank() == 1) return;
    int number = 0;
    const Receive receive{.peer = 1, .data = &number, .num_bytes = 4};
    try {
      comm.exchange({}, {&receive, 1});
      ADD_FAILURE() << "nothing was sent";
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::peer_lost);
      EXPECT_STREQ(error.what(), "rank 0: rank 1 is gone");
    }
  });
}

TEST(ThreadCommunicator, MessageOfARankThatLeftIsStillReceived) {
  run_ranks(2, [](Communicator& comm) {
    int number = comm.rank();
    const Send send{.peer = 1, .data = &number, .num_bytes = 4};
    const Receive receive{.peer = 0, .data = &number, .num_bytes = 4};
    if (comm.rank() == 0) return comm.exchange({&send, 1}, {});
    comm.exchange({}, {&receive, 1});
    EXPECT_EQ(number, 0);
  });
}

TEST(ThreadCommunicator, MessageOfAnotherSizeIsAnInternalError) {
  std::atomic<bool> found{false};
  EXPECT_THROW(run_ranks(2,
                         [&](Communicator& comm) {
                           std::array<char, 8> bytes{};
                           const Send send{.peer = 1, .data = bytes.data(), .num_bytes = 8};
                           const Receive receive{.peer = 0, .data = bytes.data(), .num_bytes = 4};
                           if (comm.rank() == 0) return comm.exchange({&send, 1}, {});
                           try {
                             comm.exchange({}, {&receive, 1});
                           } catch (const Error& error) {
                             found = std::string(error.what()).find("rank 0 sends 8 bytes") !=
                                     std::string::npos;
                             throw;
                           }
                         }),
               Error);
  EXPECT_TRUE(found);
}

TEST(ThreadCommunicator, HostsAreWhatTheTestSays) {
  run_ranks({0, 1, 0}, [](Communicator& comm) {
    EXPECT_EQ(comm.hosts(), (Hosts{{0, 2}, {1}}));
    EXPECT_EQ(comm.local_rank(), comm.rank() == 2 ? 1 : 0);
    EXPECT_EQ(comm.local_size(), comm.rank() == 1 ? 1 : 2);
    EXPECT_EQ(comm.duplicate()->hosts(), comm.hosts());
    check_shared_memory(comm);
  });
}

TEST(ThreadCommunicator, KnowsWhoIsLost) {
  run_ranks(2, [](Communicator& comm) {
    if (comm.rank() == 1) return;
    while (!comm.knows_lost(1)) std::this_thread::yield();
    EXPECT_FALSE(comm.knows_lost(0));
  });
}

TEST(SelfCommunicator, SharesMemoryWithNobody) {
  const auto comm = make_self();
  EXPECT_EQ(comm->hosts(), (Hosts{{0}}));
  EXPECT_EQ(comm->share(100), nullptr);
}

TEST(RunRanks, RethrowsTheFirstExceptionNotItsConsequences) {
  try {
    run_ranks(4, [](Communicator& comm) {
      if (comm.rank() == 2) throw Error(Exit::data, "the cause");
      comm.barrier();
    });
    ADD_FAILURE() << "no exception";
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "the cause");
  }
}

TEST(AllgatherText, GivesEveryRankAllTexts) {
  run_ranks(4, [](Communicator& comm) {
    const std::string mine(static_cast<std::size_t>(comm.rank() * 100), 'a');
    const auto texts = allgather_text(comm, mine);
    ASSERT_EQ(texts.size(), 4u);
    for (std::size_t r = 0; r < 4; ++r) EXPECT_EQ(texts[r], std::string(r * 100, 'a'));
  });
}

TEST(AllgatherText, TooLongATextIsAnErrorOnEveryRank) {
  std::atomic<int> refused{0};
  run_ranks(3, [&](Communicator& comm) {
    const std::string mine(comm.rank() == 1 ? kMaxText_bytes + 1 : 5, 'x');
    try {
      (void)allgather_text(comm, mine);
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("rank 1: a text of 1048577 bytes"));
      ++refused;
    }
  });
  EXPECT_EQ(refused, 3);
}

TEST(Mpi, LibraryVersionNeedsNoSession) {
  EXPECT_THAT(mpi_library_version(), testing::AnyOf(HasSubstr("MPI"), HasSubstr("MPICH")));
  EXPECT_THAT(mpi_library_version(), testing::Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace dlt::comm
