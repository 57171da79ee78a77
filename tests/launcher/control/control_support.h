// SPDX-License-Identifier: Apache-2.0
// A control server on a thread of its own, and clients made of bytes.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio.hpp>

#include "launcher/control/frame.h"
#include "launcher/control/handshake.h"
#include "launcher/control/server.h"
#include "launcher/control/socket.h"

namespace dlt::launcher::test {

inline const std::string kToken(64, 'a');
inline const std::string kOther_token(64, 'b');
constexpr double kPatience_s = 10;  // no test waits that long unless it fails

inline std::span<const std::byte> as_bytes(std::string_view text) {
  return std::as_bytes(std::span(text));
}

/// What the server said through its events, in words: "3/1 hello", "3/1 gone", "refused: ...".
class Journal {
 public:
  void add(std::string line) {
    const std::lock_guard lock(mutex_);
    lines_.push_back(std::move(line));
    changed_.notify_all();
  }
  [[nodiscard]] std::vector<std::string> lines() const {
    const std::lock_guard lock(mutex_);
    return lines_;
  }
  [[nodiscard]] int count(std::string_view part) const {
    const std::lock_guard lock(mutex_);
    return count_locked(part);
  }
  /// False if there are not as many within kPatience_s.
  [[nodiscard]] bool wait_for(std::string_view part, int times = 1) const {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::duration<double>(kPatience_s),
                             [&] { return count_locked(part) >= times; });
  }

 private:
  [[nodiscard]] int count_locked(std::string_view part) const {
    int n = 0;
    for (const std::string& line : lines_) n += line.find(part) != std::string::npos ? 1 : 0;
    return n;
  }
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  std::vector<std::string> lines_;
};

inline std::string words(const FromRank& message) {
  struct Words {
    std::string operator()(const Hello& m) const { return "hello from " + m.host; }
    std::string operator()(const Beat& m) const {
      return "beat " + std::string(observe::name(m.mark.phase)) + " " + std::to_string(m.mark.step);
    }
    std::string operator()(const Saved& m) const { return "saved " + std::to_string(m.step); }
    std::string operator()(const Failed& m) const { return "failed " + m.text; }
    std::string operator()(const Bye& m) const {
      return "bye " + std::to_string(static_cast<int>(m.exit));
    }
  };
  return std::visit(Words{}, message);
}

/// A clock that a test can move on while real time passes as well.
class OffsetClock final : public Clock {
 public:
  [[nodiscard]] double monotonic_s() const override {
    return system_.monotonic_s() + offset_s.load();
  }
  [[nodiscard]] double wall_s() const override { return system_.wall_s(); }
  void sleep_s(double seconds) override { system_.sleep_s(seconds); }
  std::atomic<double> offset_s{0};

 private:
  SystemClock system_;
};

class ServerThread {
 public:
  explicit ServerThread(ServerOptions options = {}) {
    if (options.token.empty()) options.token = kToken;
    const auto who = [](std::int32_t rank, std::int64_t generation) {
      return std::to_string(rank) + "/" + std::to_string(generation);
    };
    server_ = std::make_unique<ControlServer>(
        context_, options, clock_,
        ServerEvents{
            .message =
                [this, who](std::int32_t rank, std::int64_t generation, const FromRank& message) {
                  if (const Beat* beat = std::get_if<Beat>(&message)) note(*beat);
                  journal_.add(who(rank, generation) + " " + words(message));
                },
            .disconnected =
                [this, who](std::int32_t rank, std::int64_t generation) {
                  journal_.add(who(rank, generation) + " gone");
                },
            .refused = [this](const std::string& text) { journal_.add("refused: " + text); }});
    address_ = server_->address();
    start();
  }
  ~ServerThread() { stop(); }
  ServerThread(const ServerThread&) = delete;
  ServerThread& operator=(const ServerThread&) = delete;

  /// On the server's thread.
  void call(const std::function<void(ControlServer&)>& body) {
    std::promise<void> done;
    boost::asio::post(context_, [&] {
      body(*server_);
      done.set_value();
    });
    done.get_future().wait();
  }
  /// The loop stands still, as if the process were stopped, and goes on.
  void halt() {
    context_.stop();
    thread_.join();
  }
  /// It has stood still for so long.
  void start(double seconds = 0) {
    clock_.offset_s = clock_.offset_s + seconds;
    context_.restart();
    thread_ = std::thread([this] { context_.run(); });
  }
  /// The server is gone, its port closed.
  void stop() {
    if (!server_) return;
    halt();
    server_.reset();
    context_.restart();
    context_.poll();
  }
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] const Journal& journal() const { return journal_; }
  [[nodiscard]] std::vector<Beat> beats() const {
    const std::lock_guard lock(mutex_);
    return beats_;
  }

 private:
  void note(const Beat& beat) {
    const std::lock_guard lock(mutex_);
    beats_.push_back(beat);
  }
  OffsetClock clock_;
  boost::asio::io_context context_;
  Journal journal_;
  mutable std::mutex mutex_;
  std::vector<Beat> beats_;
  std::unique_ptr<ControlServer> server_;
  std::string address_;
  std::thread thread_;
};

/// A client that sends what a test wants.
class RawClient {
 public:
  explicit RawClient(const std::string& address) {
    connected_ = connect(look_up(address), kPatience_s, wake_, socket_);
  }
  [[nodiscard]] bool connected() const { return connected_ == Connected::yes; }
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const std::optional<std::size_t> sent = send_now(socket_, bytes);
      if (!sent) return false;
      bytes.remove_prefix(*sent);
      if (!bytes.empty()) (void)wait(socket_, For::writing, kPatience_s, wake_);
    }
    return true;
  }
  /// As many bytes, fewer if the server closes.
  std::string receive(std::size_t size) {
    std::string out;
    while (out.size() < size && wait(socket_, For::reading, kPatience_s, wake_) == Waited::ready) {
      std::string piece(size - out.size(), '\0');
      const auto got = receive_now(socket_, std::as_writable_bytes(std::span(piece)));
      if (!got) break;
      out += piece.substr(0, *got);
    }
    return out;
  }
  /// The server closes this connection within the time.
  [[nodiscard]] bool closes(double seconds = kPatience_s) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds);
    std::string bytes(4096, '\0');
    while (std::chrono::steady_clock::now() < until) {
      (void)wait(socket_, For::reading, seconds, wake_);
      if (!receive_now(socket_, std::as_writable_bytes(std::span(bytes)))) return true;
    }
    return false;
  }
  /// The whole handshake; keys are set if the server answered. True if it says welcome.
  bool shake_hands(const Caller& caller, const std::string& token = kToken) {
    Bytes32 nonce{};
    fill_random(nonce);
    ClientHandshake handshake(*from_hex(token), nonce, caller);
    if (!send(handshake.opening())) return false;
    challenge_ = receive(kChallenge_bytes);
    const std::string proof = handshake.receive(as_bytes(challenge_));
    if (!send(proof)) return false;
    keys_ = handshake.keys();
    return receive(kHeader_bytes + 8 + kMac_bytes).size() == kHeader_bytes + 8 + kMac_bytes;
  }
  [[nodiscard]] const SessionKeys& keys() const { return keys_; }
  void close() { socket_.reset(); }

 private:
  Wake wake_;
  Descriptor socket_;
  Connected connected_;
  std::string challenge_;
  SessionKeys keys_;
};

inline Hello hello_of(std::int32_t rank, std::int64_t generation = 1) {
  return {.rank = rank,
          .world_size = 8,
          .local_rank = rank,
          .pid = 100 + rank,
          .generation = generation,
          .host = "alpha"};
}

}  // namespace dlt::launcher::test
