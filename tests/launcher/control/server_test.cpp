// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/server.h"

#include <gtest/gtest.h>

#include "launcher/control/control_support.h"

namespace dlt::launcher {
namespace {

using test::as_bytes;
using test::hello_of;
using test::kPatience_s;
using test::RawClient;
using test::ServerThread;

/// A rank that is connected and has said Hello.
class RawRank {
 public:
  RawRank(const ServerThread& server, std::int32_t rank, std::int64_t generation = 1)
      : client_(server.address()), generation_(generation) {
    EXPECT_TRUE(client_.shake_hands({.rank = rank, .generation = generation}));
    writer_.emplace(client_.keys().to_launcher, generation);
    reader_.emplace(client_.keys().to_rank, generation);
    std::string welcome =
        FrameWriter(client_.keys().to_rank, generation).frame(FromLauncher(Alive{}));
    reader_->append(as_bytes(welcome));  // as shake_hands() took it
    EXPECT_TRUE(reader_->next());
    say(hello_of(rank, generation));
  }
  void say(const FromRank& message) { EXPECT_TRUE(client_.send(writer_->frame(message))); }
  /// The next message of the server.
  std::optional<FromLauncher> hear() {
    while (true) {
      if (std::optional<FromLauncher> message = reader_->next()) return message;
      const std::string bytes = client_.receive(1);
      if (bytes.empty()) return std::nullopt;
      reader_->append(as_bytes(bytes));
    }
  }
  RawClient& client() { return client_; }
  FrameWriter& writer() { return *writer_; }

 private:
  RawClient client_;
  std::int64_t generation_;
  std::optional<FrameWriter> writer_;
  std::optional<FrameReader<FromLauncher>> reader_;
};

/// A rank that must notice nothing of what others do.
class Bystander {
 public:
  explicit Bystander(ServerThread& server) : server_(&server), rank_(server, 7) {}
  ~Bystander() {
    rank_.say(Saved{.step = 41});
    EXPECT_TRUE(server_->journal().wait_for("7/1 saved 41"));
    rank_.say(Beat{});
    EXPECT_TRUE(rank_.hear());
    EXPECT_EQ(server_->journal().count("7/1 gone"), 0);
  }

 private:
  ServerThread* server_;
  RawRank rank_;
};

/// How often the server said so. Its thread has done all that the test has seen the effect of.
int count(ServerThread& server, std::string_view what) {
  server.call([](ControlServer&) {});
  return server.journal().count(what);
}
int count(ServerThread& server, Refusal refusal) { return count(server, text(refusal)); }

TEST(ControlServer, HearsARankFromHelloToBye) {
  ServerThread server;
  RawRank rank(server, 3);
  rank.say(Beat{.mark = {.phase = observe::Phase::reduce, .step = 12}});
  rank.say(Bye{.exit = Exit::preempted});
  rank.client().close();
  ASSERT_TRUE(server.journal().wait_for("gone"));
  EXPECT_EQ(server.journal().lines(),
            (std::vector<std::string>{"3/1 hello from alpha", "3/1 beat reduce 12", "3/1 bye 75",
                                      "3/1 gone"}));
}

TEST(ControlServer, AnswersEachBeat) {
  ServerThread server;
  RawRank rank(server, 0);
  for (int i = 0; i < 5; ++i) {
    rank.say(Beat{});
    const std::optional<FromLauncher> answer = rank.hear();
    ASSERT_TRUE(answer);
    EXPECT_LT(std::get<Alive>(*answer).silent_s, 1);
  }
}

TEST(ControlServer, TellsHowLongItStoodStill) {
  ServerThread server;
  RawRank rank(server, 0);
  ASSERT_TRUE(server.journal().wait_for("hello"));
  server.halt();
  rank.say(Beat{});
  server.start(20);
  const std::optional<FromLauncher> answer = rank.hear();
  ASSERT_TRUE(answer);
  EXPECT_GT(std::get<Alive>(*answer).silent_s, 19);
  rank.say(Beat{});
  const std::optional<FromLauncher> next = rank.hear();
  ASSERT_TRUE(next);
  EXPECT_EQ(std::get<Alive>(*next).silent_s, 0);
}

TEST(ControlServer, SaysStopToOneOrAll) {
  ServerThread server;
  RawRank first(server, 0), second(server, 1);
  ASSERT_TRUE(server.journal().wait_for("hello", 2));
  server.call([](ControlServer& s) {
    s.send(1, Stop{.grace_s = 5});
    s.send(99, Stop{});  // nobody
    s.send_all(Stop{.reason = Stop::Reason::time_limit, .grace_s = 60});
  });
  EXPECT_EQ(std::get<Stop>(first.hear().value()).grace_s, 60);
  EXPECT_EQ(std::get<Stop>(second.hear().value()).grace_s, 5);
  EXPECT_EQ(std::get<Stop>(second.hear().value()).reason, Stop::Reason::time_limit);
}

TEST(ControlServer, ANewerConnectionTakesTheOldersPlace) {
  ServerThread server;
  RawRank old_one(server, 0);
  RawRank new_one(server, 0);
  EXPECT_TRUE(old_one.client().closes());
  new_one.say(Saved{.step = 8});
  ASSERT_TRUE(server.journal().wait_for("saved 8"));
  EXPECT_EQ(count(server, "gone"), 0);
  EXPECT_EQ(count(server, "hello"), 2);
}

TEST(ControlServer, HearsNoOtherGeneration) {
  ServerThread server;
  RawRank old_one(server, 0, 1);
  ASSERT_TRUE(server.journal().wait_for("hello"));
  server.call([](ControlServer& s) { s.set_generation(2); });
  EXPECT_TRUE(old_one.client().closes());
  RawClient late(server.address());
  EXPECT_FALSE(late.shake_hands({.rank = 0, .generation = 1}));
  RawRank new_one(server, 0, 2);
  ASSERT_TRUE(server.journal().wait_for("0/2 hello"));
  EXPECT_EQ(count(server, "gone"), 0);
  EXPECT_EQ(count(server, Refusal::generation), 1);
}

TEST(ControlServer, RefusesAWrongTokenAndSaysSoOnce) {
  ServerThread server;
  const Bystander bystander(server);
  for (int i = 0; i < 3; ++i) {
    RawClient client(server.address());
    EXPECT_FALSE(client.shake_hands({.rank = 0, .generation = 1}, test::kOther_token));
    EXPECT_TRUE(client.closes());
  }
  std::int64_t num_refused = 0;
  server.call([&](ControlServer& s) { num_refused = s.num_refused(); });
  EXPECT_EQ(num_refused, 3);
  EXPECT_EQ(count(server, "refused"), 1);
  EXPECT_EQ(count(server, Refusal::token), 1);
}

TEST(ControlServer, RefusesARankThatTheJobHasNot) {
  ServerThread server({.max_ranks = 8});
  const Bystander bystander(server);
  RawClient client(server.address());
  EXPECT_FALSE(client.shake_hands({.rank = 8, .generation = 1}));
  EXPECT_EQ(count(server, Refusal::rank), 1);
}

TEST(ControlServer, RefusesAReplayedFrame) {
  ServerThread server;
  const Bystander bystander(server);
  RawRank rank(server, 0);
  const std::string frame = rank.writer().frame(FromRank(Saved{.step = 5}));
  EXPECT_TRUE(rank.client().send(frame + frame));
  EXPECT_TRUE(rank.client().closes());
  EXPECT_EQ(count(server, "0/1 saved 5"), 1);
  EXPECT_EQ(count(server, "0/1 gone"), 1);
  EXPECT_EQ(count(server, "refused: control channel: rank 0 at "), 1);
  EXPECT_EQ(count(server, Refusal::sequence), 1);
}

TEST(ControlServer, RefusesItsOwnFramesSentBack) {
  ServerThread server;
  const Bystander bystander(server);
  RawRank rank(server, 0);
  rank.say(Beat{});
  const std::string alive = rank.client().receive(kHeader_bytes + 8 + kMac_bytes);
  EXPECT_TRUE(rank.client().send(alive));
  EXPECT_TRUE(rank.client().closes());
  EXPECT_EQ(count(server, Refusal::mac), 1);
}

TEST(ControlServer, RefusesAnOversizedLengthAtOnce) {
  ServerThread server;
  const Bystander bystander(server);
  RawRank rank(server, 0);
  EXPECT_TRUE(rank.client().send(std::string(4, '\xff')));
  EXPECT_TRUE(rank.client().closes());
  EXPECT_EQ(count(server, Refusal::length), 1);
}

TEST(ControlServer, RefusesMessagesOutOfOrder) {
  ServerThread server;
  const Bystander bystander(server);
  const auto refused = [&](const std::vector<FromRank>& messages) {
    RawClient client(server.address());
    EXPECT_TRUE(client.shake_hands({.rank = 0, .generation = 1}));
    FrameWriter writer(client.keys().to_launcher, 1);
    for (const FromRank& message : messages) (void)client.send(writer.frame(message));
    return client.closes();
  };
  EXPECT_TRUE(refused({Beat{}}));                                // before Hello
  EXPECT_TRUE(refused({hello_of(1)}));                           // of another rank
  EXPECT_TRUE(refused({hello_of(0, 2)}));                        // of another generation
  EXPECT_TRUE(refused({hello_of(0), hello_of(0)}));              // twice
  EXPECT_TRUE(refused({hello_of(0), Bye{}, Saved{.step = 1}}));  // behind the last word
  EXPECT_EQ(count(server, Refusal::order), 1);
}

TEST(ControlServer, ASilentClientIsSentAway) {
  ServerThread server({.handshake_s = 0.2});
  const Bystander bystander(server);
  RawClient silent(server.address());
  RawClient half(server.address());
  EXPECT_TRUE(half.send("dltrain\x01"));
  EXPECT_TRUE(silent.closes());
  EXPECT_TRUE(half.closes());
  EXPECT_EQ(count(server, Refusal::late), 1);
}

// As one byte a second against five seconds.
TEST(ControlServer, AByteAtATimeWinsNoTime) {
  ServerThread server({.handshake_s = 0.3});
  const Bystander bystander(server);
  RawClient slow(server.address());
  const ClientHandshake handshake(*from_hex(test::kToken), Bytes32{}, {.generation = 1});
  std::size_t sent = 0;
  const auto before = std::chrono::steady_clock::now();
  while (sent < handshake.opening().size() && !slow.closes(0.02)) {
    if (!slow.send(handshake.opening().substr(sent, 1))) break;
    ++sent;
  }
  EXPECT_LT(sent, handshake.opening().size());
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - before).count(), 2);
  EXPECT_EQ(count(server, Refusal::late), 1);
}

TEST(ControlServer, RefusesWhatIsNoHandshake) {
  ServerThread server;
  const Bystander bystander(server);
  RawClient http(server.address());
  EXPECT_TRUE(http.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  EXPECT_TRUE(http.closes());
  RawClient flood(server.address());
  (void)flood.send(std::string(1 << 20, 'd'));
  EXPECT_TRUE(flood.closes());
  EXPECT_EQ(count(server, Refusal::opening), 1);
}

TEST(ControlServer, AThousandConnectsLeaveRoomForARank) {
  ServerThread server({.max_strangers = 32});
  const Bystander bystander(server);
  std::vector<std::unique_ptr<RawClient>> crowd;
  for (int i = 0; i < 1000; ++i) {
    crowd.push_back(std::make_unique<RawClient>(server.address()));
    ASSERT_TRUE(crowd.back()->connected()) << i;
  }
  RawRank rank(server, 0);
  rank.say(Saved{.step = 3});
  EXPECT_TRUE(server.journal().wait_for("0/1 saved 3"));
  EXPECT_TRUE(crowd.front()->closes());
  EXPECT_EQ(count(server, "refused"), 1);
  EXPECT_EQ(count(server, Refusal::crowded), 1);
}

TEST(ControlServer, AClientThatReadsNothingCostsNothing) {
  ServerThread server;
  const Bystander bystander(server);
  RawRank deaf(server, 0);
  ASSERT_TRUE(server.journal().wait_for("0/1 hello"));
  for (int i = 0; i < 200; ++i) {
    server.call([](ControlServer& s) {
      for (int k = 0; k < 500; ++k) s.send(0, Stop{});
    });
  }
  bool connected = false;
  server.call([&](ControlServer& s) { connected = s.connected(0); });
  EXPECT_TRUE(connected);
}

TEST(ControlServer, APortInUseIsToldAtOnceWithTheAddress) {
  const ServerThread first;
  const int port = std::stoi(first.address().substr(first.address().rfind(':') + 1));
  boost::asio::io_context context;
  const SystemClock clock;
  try {
    const ControlServer second(context, {.port = port, .token = test::kToken}, clock, {});
    FAIL() << "two servers on a port";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::unavailable);
    EXPECT_NE(std::string(error.what()).find(first.address()), std::string::npos) << error.what();
  }
}

TEST(ControlServer, AnAddressOfAnotherMachineIsRefused) {
  boost::asio::io_context context;
  const SystemClock clock;
  try {
    const ControlServer server(context, {.host = "192.0.2.1", .token = test::kToken}, clock, {});
    FAIL() << "listens on an address that is not here";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::unavailable);
    EXPECT_NE(std::string(error.what()).find("192.0.2.1"), std::string::npos) << error.what();
  }
}

TEST(ControlServer, ListensOnLoopbackUnlessToldOtherwise) {
  const ServerThread server;
  EXPECT_EQ(server.address().substr(0, 10), "127.0.0.1:");
}

TEST(ControlServer, TokensAreDifferent) {
  EXPECT_TRUE(from_hex(make_token()));
  EXPECT_NE(make_token(), make_token());
}

}  // namespace
}  // namespace dlt::launcher
