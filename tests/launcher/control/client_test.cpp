// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/client.h"

#include <gtest/gtest.h>

#include "launcher/control/control_support.h"
#include "support/temp_folder.h"

namespace dlt::launcher {
namespace {

using observe::Phase;
using test::hello_of;
using test::Journal;
using test::OffsetClock;
using test::ServerThread;

/// A rank's end with its ring; what it is told goes to a journal.
class Rank {
 public:
  explicit Rank(ClientOptions options)
      : ring(observe::RingOwner{.rank = options.hello.rank}),
        client(
            options, clock, ring,
            {.stop =
                 [this](const Stop& stop) {
                   journal.add("stop " + std::to_string(static_cast<int>(stop.grace_s)));
                 },
             .cut_off =
                 [this](const Error& error) {
                   journal.add(std::to_string(static_cast<int>(error.exit())) + " " + error.what());
                 }}) {}
  OffsetClock clock;
  Journal journal;
  observe::FlightRing ring;
  ControlClient client;
};

ClientOptions options_for(const std::string& address) {
  return {.hello = hello_of(2),
          .address = address,
          .token = test::kToken,
          .heartbeat_s = 0.05,
          .cut_off_s = 60,
          .gone_s = 0.3};
}

TEST(ControlClient, SaysHelloBeatsSavesAndBye) {
  ServerThread server;
  {
    Rank rank(options_for(server.address()));
    rank.client.mark({.phase = Phase::forward, .step = 1, .leaf = 3, .row = 64});
    rank.client.saved(observe::SavedIn::disk, 1);
    rank.client.bye(Exit::ok);
  }
  ASSERT_TRUE(server.journal().wait_for("gone"));
  EXPECT_EQ(server.journal().lines(),
            (std::vector<std::string>{"2/1 hello from alpha", "2/1 beat forward 1", "2/1 saved 1",
                                      "2/1 bye 0", "2/1 gone"}));
  EXPECT_EQ(server.beats().at(0).mark.leaf, 3);
  EXPECT_EQ(server.beats().at(0).mark.row, 64);
}

TEST(ControlClient, LastWordsCountOnce) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  rank.client.failed({.exit = Exit::data, .text = "bad row"});
  rank.client.bye(Exit::ok);
  ASSERT_TRUE(server.journal().wait_for("gone"));
  EXPECT_EQ(server.journal().count("failed bad row"), 1);
  EXPECT_EQ(server.journal().count("bye"), 0);
}

TEST(ControlClient, BeatsAtMostOnceInAHeartbeat) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.heartbeat_s = 3600;
  Rank rank(options);
  for (int i = 0; i < 1000; ++i) rank.client.mark({.phase = Phase::forward, .step = 5});
  rank.client.bye(Exit::ok);
  ASSERT_TRUE(server.journal().wait_for("bye"));
  EXPECT_EQ(server.beats().size(), 1U);
  EXPECT_EQ(server.beats()[0].marks, 1);
}

TEST(ControlClient, BeatsWhenTheStepChangesButNotAtEachOfManyShortOnes) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.heartbeat_s = 3600;
  Rank rank(options);
  rank.client.mark({.step = 5});
  for (int i = 0; i < 1000; ++i) rank.client.mark({.step = 6 + i});
  rank.clock.offset_s = 0.06;
  rank.client.mark({.step = 2000});
  ASSERT_TRUE(server.journal().wait_for("beat start 2000"));
  EXPECT_LE(server.beats().size(), 3U);
  EXPECT_EQ(server.beats().back().marks, 1002);
}

TEST(ControlClient, TellsTheTimeSpentInEachPhase) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.heartbeat_s = 1;
  Rank rank(options);
  rank.client.mark({.phase = Phase::forward, .step = 5});
  rank.clock.offset_s = 10;
  rank.client.mark({.phase = Phase::reduce, .step = 5});
  rank.clock.offset_s = 30;
  rank.client.mark({.phase = Phase::update, .step = 5});
  ASSERT_TRUE(server.journal().wait_for("beat update 5"));
  const auto phase_s = server.beats().back().phase_s;
  EXPECT_NEAR(phase_s[static_cast<std::size_t>(Phase::forward)], 10, 2);
  EXPECT_NEAR(phase_s[static_cast<std::size_t>(Phase::reduce)], 20, 2);
  EXPECT_LT(phase_s[static_cast<std::size_t>(Phase::update)], 2);
}

// The mark before a loop got stuck would be the one that says where.
TEST(ControlClient, SendsTheLastMarkOnceAndThenFallsSilent) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  rank.client.mark({.phase = Phase::backward, .step = 5});
  rank.client.mark({.phase = Phase::reduce, .step = 5, .bucket = 3});
  ASSERT_TRUE(server.journal().wait_for("beat reduce 5"));
  std::this_thread::sleep_for(std::chrono::milliseconds(300));  // six heartbeats
  EXPECT_EQ(server.beats().size(), 2U);
  EXPECT_EQ(server.beats().back().mark.bucket, 3);
  EXPECT_EQ(server.beats().back().marks, 2);
}

TEST(ControlClient, StepsBetweenMemorySnapshotsAreTold) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  rank.client.saved(observe::SavedIn::memory, 10);
  rank.client.saved(observe::SavedIn::memory, 14);
  rank.client.mark({.step = 14});
  ASSERT_TRUE(server.journal().wait_for("beat"));
  EXPECT_EQ(server.beats().at(0).steps_per_save, 4);
}

TEST(ControlClient, TheNewestOfManySnapshotsIsTold) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  for (int i = 0; i < 1000; ++i) rank.client.saved(observe::SavedIn::memory, i);
  EXPECT_TRUE(server.journal().wait_for("saved 999"));
  EXPECT_LE(server.journal().count("saved"), 10);
}

TEST(ControlClient, HearsStop) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  ASSERT_TRUE(server.journal().wait_for("hello"));
  server.call([](ControlServer& s) { s.send_all(Stop{.grace_s = 7}); });
  EXPECT_TRUE(rank.journal.wait_for("stop 7"));
}

TEST(ControlClient, AWrongTokenIsDenied) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.token = test::kOther_token;
  try {
    const Rank rank(options);
    FAIL() << "connected with a wrong token";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::denied);
  }
  EXPECT_TRUE(server.journal().wait_for("does not know the job's token"));
}

TEST(ControlClient, AServerThatIsGoneIsToldSoon) {
  std::string address;
  {
    const ServerThread server;
    address = server.address();
  }
  const auto before = std::chrono::steady_clock::now();
  try {
    const Rank rank(options_for(address));
    FAIL() << "connected to nobody";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::peer_lost);
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count(), 3);
}

TEST(ControlClient, AnAddressThatIsNoneIsRefused) {
  for (const char* address : {"", "nohost", ":1", "127.0.0.1:", "127.0.0.1:x", "256.0.0.1.x:1"}) {
    try {
      const Rank rank(options_for(address));
      FAIL() << address;
    } catch (const Error& error) {
      EXPECT_EQ(error.exit(), Exit::unavailable) << address;
    }
  }
}

TEST(ControlClient, EndsWhenDlrunIsGone) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  server.stop();
  ASSERT_TRUE(rank.journal.wait_for("81 control channel: dlrun at "));
  EXPECT_EQ(rank.journal.lines().size(), 1U);
  rank.client.mark({.step = 3});  // still harmless
}

TEST(ControlClient, EndsWhenItsGenerationIsOver) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  ASSERT_TRUE(server.journal().wait_for("hello"));
  server.call([](ControlServer& s) { s.set_generation(2); });
  EXPECT_TRUE(rank.journal.wait_for("81 control channel: dlrun at "));
}

TEST(ControlClient, ComesBackAfterALostConnectionAndRepeatsWhatIsSaved) {
  ServerThread server;
  Rank rank(options_for(server.address()));
  rank.client.saved(observe::SavedIn::memory, 20);
  ASSERT_TRUE(server.journal().wait_for("saved 20"));
  server.call([](ControlServer& s) {
    s.set_generation(2);  // which closes all connections
    s.set_generation(1);
  });
  EXPECT_TRUE(server.journal().wait_for("hello", 2));
  EXPECT_TRUE(server.journal().wait_for("saved 20", 2));
  rank.client.mark({.step = 21});
  EXPECT_TRUE(server.journal().wait_for("beat start 21"));
  EXPECT_TRUE(rank.journal.lines().empty());
}

// A dlrun that is stopped still has a system that acknowledges what it is sent.
TEST(ControlClient, AServerThatStandsStillIsNotGone) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.cut_off_s = 0.4;
  Rank rank(options);
  ASSERT_TRUE(server.journal().wait_for("hello"));
  server.halt();
  for (int i = 0; i < 16; ++i) {
    rank.client.mark({.step = i});
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  server.start();
  EXPECT_TRUE(server.journal().wait_for("beat start 15"));
  EXPECT_TRUE(rank.journal.lines().empty());
  EXPECT_EQ(server.journal().count("hello"), 1);
}

// The clock jumps by ten times what a rank may hear nothing for, as it does for a process that was
// stopped and continued.
TEST(ControlClient, TimeInWhichItStoodStillItselfDoesNotCount) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.cut_off_s = 2;
  Rank rank(options);
  rank.clock.offset_s = 20;
  rank.client.mark({.step = 3});
  EXPECT_TRUE(server.journal().wait_for("beat start 3"));
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_TRUE(rank.journal.lines().empty());
}

TEST(ControlClient, NorDoesItMakeDlrunLookGone) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.gone_s = 0.5;
  Rank rank(options);
  server.stop();
  const auto before = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // it has been refused by now
  rank.clock.offset_s = 20;
  ASSERT_TRUE(rank.journal.wait_for("81 control channel"));
  EXPECT_GT(std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count(), 0.4);
}

/// Takes connections in the system's queue and never answers.
class DeafServer {
 public:
  DeafServer() : acceptor_(context_, {boost::asio::ip::make_address("127.0.0.1"), 0}) {}
  [[nodiscard]] std::string address() const {
    return "127.0.0.1:" + std::to_string(acceptor_.local_endpoint().port());
  }

 private:
  boost::asio::io_context context_;
  boost::asio::ip::tcp::acceptor acceptor_;
};

TEST(ControlClient, OneThatIsThereButDoesNotAnswerIsWaitedFor) {
  std::optional<DeafServer> deaf(std::in_place);
  ClientOptions options = options_for(deaf->address());
  options.cut_off_s = 0.2;
  options.handshake_s = 0.1;
  std::atomic<bool> ended = false;
  std::thread rank([&] {
    try {
      const Rank waits(options);
    } catch (const Error&) {
      ended = true;
    }
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  EXPECT_FALSE(ended);
  deaf.reset();
  rank.join();
  EXPECT_TRUE(ended);
}

TEST(ControlClient, NeverWaitsForAServerThatReadsNothing) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.heartbeat_s = 1e-6;
  Rank rank(options);
  ASSERT_TRUE(server.journal().wait_for("hello"));
  server.halt();
  const auto before = std::chrono::steady_clock::now();
  for (int i = 0; i < 50000; ++i) rank.client.mark({.step = i});
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count(), 5);
  server.start();
  // What got through is whole and in order.
  rank.client.mark({.step = 50001});
  EXPECT_TRUE(server.journal().wait_for("beat start 50001"));
  EXPECT_EQ(server.journal().count("refused"), 0);
}

TEST(ControlClient, ThreadsMarkAtOnce) {
  ServerThread server;
  ClientOptions options = options_for(server.address());
  options.heartbeat_s = 1e-4;
  Rank rank(options);
  std::vector<std::jthread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&rank, t] {
      for (int i = 0; i < 2000; ++i) rank.client.mark({.step = i, .leaf = t});
      rank.client.saved(observe::SavedIn::disk, 2000 + t);
    });
  }
  threads.clear();
  rank.client.bye(Exit::ok);
  ASSERT_TRUE(server.journal().wait_for("bye"));
  EXPECT_EQ(server.journal().count("refused"), 0) << server.journal().lines().back();
  EXPECT_GE(server.journal().count("saved"), 1);
  EXPECT_LE(server.beats().back().marks, 8000);
}

}  // namespace
}  // namespace dlt::launcher
