// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "launcher/control/messages.h"

namespace boost::asio {
class io_context;
}

namespace dlt::launcher {

struct ServerOptions {
  std::string host = "127.0.0.1";  // an address or a name of this machine to listen on
  int port = 0;                    // 0: a free one
  std::string token;               // 64 hex digits
  std::int64_t generation = 1;
  std::int32_t max_ranks = 1 << 20;  // ranks from 0 to max_ranks - 1 may connect
  int max_strangers = 64;            // connections that have not proved yet that they may talk
  double handshake_s = 5;            // they have this long
};

/// Called from within the io_context's run(). Any of them may call the server.
struct ServerEvents {
  /// What an authenticated rank says; its first message is Hello.
  std::function<void(std::int32_t rank, std::int64_t generation, const FromRank&)> message;
  /// Its connection is gone and no newer one has taken its place (yet).
  std::function<void(std::int32_t rank, std::int64_t generation)> disconnected;
  /// A client was turned away; once for each kind of reason, whatever their number. One line of
  /// text without a newline, fit for a log.
  std::function<void(const std::string& text)> refused;
};

/// dlrun's end of the control channel: accepts ranks that know the token, checks every byte
/// (frame.h, handshake.h), answers each Beat by Alive, never waits for a client. One connection a
/// rank: a newer one takes the older one's place. One thread, the one that runs the io_context.
class ControlServer {
 public:
  /// Listens from now on.
  /// errors  Error(Exit::unavailable) naming the address: in use, or none of this machine;
  ///         Error(Exit::denied) if the port is not for this user
  ControlServer(boost::asio::io_context& context, ServerOptions options, const Clock& clock,
                ServerEvents events);
  /// Closes all connections, without a call to events. Before the io_context goes.
  ~ControlServer();
  ControlServer(const ControlServer&) = delete;
  ControlServer& operator=(const ControlServer&) = delete;

  /// HOST:PORT to connect to, as DLRUN_CONTROL has it; an IPv6 host stands in brackets.
  [[nodiscard]] std::string address() const;
  [[nodiscard]] int port() const;
  /// From now on only this generation is heard. Connections of others are closed, without a call
  /// to events.
  void set_generation(std::int64_t generation);
  /// Nothing happens if the rank is not connected, or reads nothing.
  void send(std::int32_t rank, const FromLauncher& message);
  void send_all(const FromLauncher& message);
  [[nodiscard]] bool connected(std::int32_t rank) const;
  /// Clients turned away so far, for whatever reason.
  [[nodiscard]] std::int64_t num_refused() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;  // handlers that have yet to run hold it, too
};

/// 64 hex digits for a run, from the system's source of randomness.
[[nodiscard]] std::string make_token();

}  // namespace dlt::launcher
