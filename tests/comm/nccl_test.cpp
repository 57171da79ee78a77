// SPDX-License-Identifier: Apache-2.0
#include <functional>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "comm/fake_nccl.h"
#include "comm/nccl_communicator.h"
#include "support/run_ranks.h"

namespace dlt::comm {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::Not;

/// A rank of a test: its host communicator, its NCCL and what start_nccl() gave.
struct Rank {
  Communicator& host;
  FakeNccl& nccl;
  NcclStart start;
};

struct Case {
  std::vector<FakeNccl::Script> scripts;
  std::vector<std::string> gpus = {};
  int without_library = -1;  // this rank
  double abort_timeout_s = 5;
  double call_timeout_s = 0;
};

void on_ranks(const Case& c, const std::function<void(Rank&)>& body) {
  run_ranks(static_cast<int>(c.scripts.size()), [&](Communicator& host) {
    const auto r = static_cast<std::size_t>(host.rank());
    const auto nccl = std::make_shared<FakeNccl>(c.scripts[r]);
    SleepingClock clock;
    const NcclOptions options{.gpu = c.gpus.empty() ? "" : c.gpus[r],
                              .call_timeout_s = c.call_timeout_s,
                              .abort_timeout_s = c.abort_timeout_s,
                              .clock = &clock};
    NcclFound found{.library = nccl, .why_not = ""};
    if (host.rank() == c.without_library) found = {.library = nullptr, .why_not = "no such file"};
    Rank rank{host, *nccl, start_nccl(host, found, options)};
    body(rank);
    rank.start.comm.reset();
    nccl->let_abort_go();
  });
}

/// Why the ranks of a case have no communicator, which must be the same on all.
std::string why_not(
    const Case& c, const std::function<void(Rank&)>& body = [](Rank&) {}) {
  std::mutex mutex;
  std::vector<std::string> texts;
  on_ranks(c, [&](Rank& rank) {
    EXPECT_EQ(rank.start.comm, nullptr);
    body(rank);
    const std::lock_guard lock(mutex);
    texts.push_back(rank.start.why_not);
  });
  for (const std::string& text : texts) EXPECT_EQ(text, texts.front());
  return texts.front();
}

std::string lost(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::peer_lost);
    return error.what();
  }
  return "nothing was thrown";
}

TEST(Nccl, OneIdMakesOneCommunicatorOfAllRanks) {
  on_ranks({.scripts = {{}, {}, {}}}, [](Rank& rank) {
    ASSERT_NE(rank.start.comm, nullptr) << rank.start.why_not;
    EXPECT_EQ(rank.start.comm->rank(), rank.host.rank());
    EXPECT_EQ(rank.start.comm->world_size(), 3);
    EXPECT_EQ(rank.start.comm->version(), "NCCL 2.28.9");
    if (rank.host.rank() == 0) {
      EXPECT_THAT(rank.nccl.calls(), ElementsAre("get_unique_id", "init_rank 7"));
    } else {
      EXPECT_THAT(rank.nccl.calls(), ElementsAre("init_rank 7"));
    }
  });
}

TEST(Nccl, RankWithoutLibraryIsNamedOnAllRanksAndNobodyBegins) {
  const auto begins_nothing = [](Rank& rank) { EXPECT_THAT(rank.nccl.calls(), ElementsAre()); };
  EXPECT_EQ(why_not({.scripts = {{}, {}}, .without_library = 1}, begins_nothing),
            "rank 1: no such file");
}

TEST(Nccl, OldVersionIsNamed) {
  EXPECT_EQ(why_not({.scripts = {{}, {.version = 21803}}}),
            "rank 1: NCCL 2.18.3, expected 2.19 or newer");
}

TEST(Nccl, DifferentVersionsAreNamed) {
  EXPECT_EQ(why_not({.scripts = {{}, {}, {.version = 22703}}}),
            "rank 0 has NCCL 2.28.9, rank 2 2.27.3: expected one version on all ranks");
}

TEST(Nccl, FailureToMakeTheIdIsAgreedOn) {
  EXPECT_EQ(why_not({.scripts = {{.id_status = NcclStatus{2}}, {}}}),
            "rank 0: ncclGetUniqueId = 2 (its words)");
}

TEST(Nccl, FailureOfOneRanksInitIsAgreedOnAndAllAbort) {
  const auto has_aborted = [](Rank& rank) { EXPECT_THAT(rank.nccl.calls(), Contains("abort")); };
  EXPECT_EQ(why_not({.scripts = {{.polls = -1}, {.ready = NcclStatus{3}}, {}}}, has_aborted),
            "rank 1: ncclCommInitRankConfig = 3 (its words)");
}

TEST(Nccl, InitEndsAtItsDeadline) {
  EXPECT_EQ(why_not({.scripts = {{.polls = -1}, {.polls = -1}}}),
            "rank 0: waited 60 s for the GPUs of all ranks");
}

TEST(Nccl, TwoRanksOnOneGpuAreNamedIfNcclRefusesThem) {
  const FakeNccl::Script refuses{.ready = NcclStatus::invalid_usage};
  EXPECT_EQ(why_not({.scripts = {refuses, refuses, refuses}, .gpus = {"GPU-a", "GPU-b", "GPU-a"}}),
            "rank 0: ncclCommInitRankConfig = 5 (its words); ranks 0 and 2 have one GPU, GPU-a");
}

TEST(Nccl, CallIsTakenBeforeTheNextIsMade) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    DeviceCommunicator& comm = *rank.start.comm;
    float data = 0;
    comm.allreduce(&data, 1, nullptr);
    EXPECT_EQ(rank.nccl.state(nullptr), NcclStatus::success);
    const Send send{.peer = 0, .data = &data, .num_bytes = 4};
    comm.exchange({&send, 1}, {}, nullptr);
    EXPECT_EQ(rank.nccl.state(nullptr), NcclStatus::success);
  });
}

TEST(Nccl, CallThatIsNotTakenEndsAtItsDeadline) {
  on_ranks({.scripts = {{}}, .call_timeout_s = 20}, [](Rank& rank) {
    rank.nccl.script.polls = -1;
    float data = 0;
    EXPECT_THAT(lost([&] { rank.start.comm->allreduce(&data, 1, nullptr); }),
                testing::StartsWith("rank 0: waited 20 s for ncclAllReduce to begin: "));
    EXPECT_THAT(rank.nccl.calls(), Contains("abort"));
  });
}

TEST(Nccl, AsynchronousErrorIsALostPeerAndAborts) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    DeviceCommunicator& comm = *rank.start.comm;
    comm.check();
    rank.nccl.async_error = NcclStatus{6};
    EXPECT_THAT(lost([&] { comm.check(); }),
                testing::StartsWith("rank 0: ncclCommGetAsyncError = 6 (its words)"));
    EXPECT_THAT(rank.nccl.calls(), Contains("abort").Times(1));
    EXPECT_EQ(lost([&] { comm.check(); }), "rank 0: the GPUs' communicator has been aborted");
  });
}

TEST(Nccl, AsynchronousErrorEndsAWait) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    int num_looks = 0;
    const auto never = [&] {
      if (++num_looks == 10) rank.nccl.async_error = NcclStatus{6};
      return false;
    };
    EXPECT_THAT(lost([&] {
                  rank.start.comm->wait_until(
                      never, [] { return "it"; }, 0);
                }),
                testing::StartsWith("rank 0: ncclCommGetAsyncError = 6"));
  });
}

TEST(Nccl, WaitThatEndsAtItsDeadlineNamesWhoDidNotArrive) {
  on_ranks({.scripts = {{}, {}, {}}}, [](Rank& rank) {
    if (rank.host.rank() < 2) rank.start.comm->post_step(rank.host.rank() == 0 ? 812 : 811);
    rank.host.barrier();
    if (rank.host.rank() == 0) {
      const auto what = [] { return "bucket 3 of step 812"; };
      EXPECT_EQ(lost([&] { rank.start.comm->wait_until([] { return false; }, what, 30); }),
                "rank 0: waited 30 s for bucket 3 of step 812: rank 1 is at step 811, rank 2 has "
                "begun no step");
    }
    rank.host.barrier();
  });
}

TEST(Nccl, WaitEndsOnceItIsDone) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    int num_looks = 0;
    rank.start.comm->wait_until([&] { return ++num_looks == 5000; }, [] { return ""; }, 0);
    EXPECT_EQ(num_looks, 5000);
  });
}

TEST(Nccl, HungAbortIsLeftBehind) {
  on_ranks({.scripts = {{.abort_hangs = true}}, .abort_timeout_s = 0.01}, [](Rank& rank) {
    rank.start.comm->abort();
    EXPECT_THAT(rank.nccl.calls(), Contains("abort"));
  });
}

TEST(Nccl, EndsByFinalizeAndDestroy) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    rank.start.comm.reset();
    EXPECT_THAT(rank.nccl.calls(),
                ElementsAre("get_unique_id", "init_rank 7", "finalize", "destroy"));
  });
}

TEST(Nccl, EndThatHangsIsAborted) {
  on_ranks({.scripts = {{}}, .abort_timeout_s = 0.05}, [](Rank& rank) {
    rank.nccl.script.polls = -1;
    rank.start.comm.reset();
    EXPECT_THAT(rank.nccl.calls(), Contains("abort"));
    EXPECT_THAT(rank.nccl.calls(), Not(Contains("destroy")));
  });
}

TEST(Nccl, ExceptionThatUnwindsAborts) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    try {
      const std::unique_ptr<DeviceCommunicator> comm = std::move(rank.start.comm);
      throw std::runtime_error("of the rank");
    } catch (const std::runtime_error&) {
    }
    EXPECT_THAT(rank.nccl.calls(), Contains("abort"));
    EXPECT_THAT(rank.nccl.calls(), Not(Contains("finalize")));
  });
}

TEST(Nccl, RegisteredBufferIsGivenBackUnlessTheCommunicatorIsGone) {
  on_ranks({.scripts = {{}}}, [](Rank& rank) {
    float data = 0;
    auto first = rank.start.comm->register_buffer(&data, 4);
    const auto second = rank.start.comm->register_buffer(&data, 4);
    first.reset();
    EXPECT_THAT(rank.nccl.calls(), Contains("deregister").Times(1));
    rank.start.comm->abort();
  });
}

TEST(Nccl, BufferThatCannotBeRegisteredIsNoFailure) {
  on_ranks({.scripts = {{.registers = false}}}, [](Rank& rank) {
    float data = 0;
    EXPECT_EQ(rank.start.comm->register_buffer(&data, 4), nullptr);
    rank.start.comm->check();
  });
}

}  // namespace
}  // namespace dlt::comm
