// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/server.h"

#include <algorithm>
#include <array>
#include <bitset>
#include <cerrno>
#include <deque>
#include <list>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include <boost/asio.hpp>
#include <fcntl.h>
#include <sys/socket.h>

#include "base/text.h"
#include "launcher/control/frame.h"
#include "launcher/control/handshake.h"

namespace dlt::launcher {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::milliseconds kTick{250};
constexpr double kStall_s = 1;            // a longer gap between two looks at the clock is a stall
constexpr std::size_t kMax_pending = 16;  // frames that a client which does not read may cost
constexpr int kBacklog = 1024;
constexpr int kAccepts = 16;  // in one turn

std::string endpoint_text(const tcp::endpoint& endpoint) {
  const std::string host = endpoint.address().to_string();
  return endpoint.address().is_v6() ? cat("[", host, "]:", endpoint.port())
                                    : cat(host, ":", endpoint.port());
}

/// One client, from accept to close.
struct Connection {
  Connection(tcp::socket accepted, const Bytes32& token, const Bytes32& nonce)
      : socket(std::move(accepted)), deadline(socket.get_executor()), handshake(token, nonce) {
    error_code ignored;
    peer = endpoint_text(socket.remote_endpoint(ignored));
    socket.set_option(tcp::no_delay(true), ignored);
  }
  [[nodiscard]] bool authenticated() const { return reader.has_value(); }
  void close() {
    open = false;
    error_code ignored;
    socket.close(ignored);
    deadline.cancel();
  }

  tcp::socket socket;
  asio::steady_timer deadline;  // of the handshake
  std::string peer;
  bool open = true;
  ServerHandshake handshake;
  std::optional<FrameReader<FromRank>> reader;  // once authenticated
  std::optional<FrameWriter> writer;
  bool greeted = false;  // Hello has come
  bool parted = false;   // Bye has come
  double told_stall_s = 0;
  std::array<std::byte, 4096> received{};
  std::deque<std::string> pending;  // the front is being written
};
using ConnectionPtr = std::shared_ptr<Connection>;

tcp::endpoint endpoint_of(asio::io_context& context, const ServerOptions& options) {
  error_code error;
  const auto port = static_cast<std::uint16_t>(options.port);
  const asio::ip::address address = asio::ip::make_address(options.host, error);
  if (!error) return {address, port};
  tcp::resolver resolver(context);
  const auto found = resolver.resolve(options.host, std::to_string(options.port), error);
  if (error || found.empty()) {
    throw Error(Exit::unavailable,
                cat("control channel: expected a host of this network, got '",
                    printable(options.host), "': ", error.message()),
                "fault.control: HOST:PORT names the address");
  }
  return found.begin()->endpoint();
}

}  // namespace

struct ControlServer::Impl : std::enable_shared_from_this<ControlServer::Impl> {
  Impl(asio::io_context& context, ServerOptions given, const Clock& its_clock, ServerEvents its)
      : options(std::move(given)),
        clock(&its_clock),
        events(std::move(its)),
        acceptor(context),
        pause(context),
        tick(context),
        looked_s(its_clock.monotonic_s()) {
    const std::optional<Bytes32> bytes = from_hex(options.token);
    if (!bytes) throw Error(Exit::denied, "control channel: expected a token of 64 hex digits");
    token = *bytes;
    listen(endpoint_of(context, options));
  }

  void listen(const tcp::endpoint& endpoint) {
    try {
      acceptor.open(endpoint.protocol());
      acceptor.non_blocking(true);
      ::fcntl(acceptor.native_handle(), F_SETFD, FD_CLOEXEC);
      acceptor.set_option(tcp::acceptor::reuse_address(true));  // after a dlrun that has ended
      acceptor.bind(endpoint);
      acceptor.listen(kBacklog);
    } catch (const boost::system::system_error& failure) {
      const bool denied = failure.code() == asio::error::access_denied;
      throw Error(denied ? Exit::denied : Exit::unavailable,
                  cat("control channel: expected a free address, got ", endpoint_text(endpoint),
                      ": ", failure.code().message()),
                  "fault.control: HOST:0 takes a free port");
    }
    local = acceptor.local_endpoint();
  }

  void start() {
    accept();
    look_again();
  }

  // ---- time -------------------------------------------------------------------------------------

  /// Called often: notices that this loop has stood still (the process was stopped, say).
  void look() {
    const double now_s = clock->monotonic_s();
    if (now_s - looked_s > kStall_s) stall_s += now_s - looked_s;
    looked_s = now_s;
  }

  void look_again() {
    tick.expires_after(kTick);
    tick.async_wait([self = shared_from_this()](const error_code& error) {
      if (error || self->closed) return;
      self->look();
      self->look_again();
    });
  }

  // ---- strangers --------------------------------------------------------------------------------

  /// Sockets are made by hand: Asio's would be inherited by the ranks' starter, which then holds
  /// the port and keeps ranks waiting for a dlrun that is gone.
  void accept() {
    acceptor.async_wait(tcp::acceptor::wait_read,
                        [self = shared_from_this()](const error_code& error) {
                          if (self->closed || error == asio::error::operation_aborted) return;
                          self->look();
                          self->accept_all();
                        });
  }

  /// Not more than some at a time: whoever floods the port must not keep ranks from being heard.
  void accept_all() {
    for (int turn = 0; turn < kAccepts; ++turn) {
      const int fd = ::accept4(acceptor.native_handle(), nullptr, nullptr, SOCK_CLOEXEC);
      const int code = errno;
      if (fd < 0 && (code == EINTR || code == ECONNABORTED)) continue;
      if (fd < 0 && code != EAGAIN) return accept_later({code, asio::error::get_system_category()});
      if (fd < 0) return accept();
      admit(tcp::socket(acceptor.get_executor(), local.protocol(), fd));
    }
    accept();
  }

  /// Out of descriptors, most likely: some will be closed.
  void accept_later(const error_code& error) {
    if (!std::exchange(said_accept, true)) {
      events.refused(cat("control channel: a client could not be accepted: ", error.message()));
    }
    pause.expires_after(kTick);
    pause.async_wait([self = shared_from_this()](const error_code& stopped) {
      if (!stopped && !self->closed) self->accept();
    });
  }

  void admit(tcp::socket socket) {
    // The oldest goes: a rank needs milliseconds, whoever is still here after others came does not
    // mean to talk.
    if (strangers.size() >= static_cast<std::size_t>(std::max(1, options.max_strangers))) {
      const ConnectionPtr oldest = strangers.front();
      refuse(oldest, Refusal::crowded);
    }
    Bytes32 nonce{};
    fill_random(nonce);
    const auto client = std::make_shared<Connection>(std::move(socket), token, nonce);
    strangers.push_back(client);
    client->deadline.expires_after(
        std::chrono::microseconds(static_cast<std::int64_t>(options.handshake_s * 1e6)));
    client->deadline.async_wait([self = shared_from_this(), client](const error_code& error) {
      if (error || !client->open || client->authenticated()) return;
      self->refuse(client, Refusal::late);
    });
    read(client);
  }

  void refuse(const ConnectionPtr& client, Refusal why) {
    const std::string who = client->authenticated()
                                ? cat("rank ", client->handshake.caller().rank, " at ")
                                : std::string("a client at ");
    ++num_refused;
    drop(client);
    const auto kind = static_cast<std::size_t>(why);
    if (why == Refusal::left || reported.test(kind)) return;
    reported.set(kind);
    events.refused(cat("control channel: ", who, client->peer, " was turned away: ", text(why)));
  }

  /// Closes a connection; if it was a rank's, the rank is no longer connected.
  void drop(const ConnectionPtr& client) {
    if (!client->open) return;
    client->close();
    strangers.remove(client);
    const Caller caller = client->handshake.caller();
    const auto at = ranks.find(caller.rank);
    if (!client->authenticated() || at == ranks.end() || at->second != client) return;
    ranks.erase(at);
    events.disconnected(caller.rank, caller.generation);
  }

  // ---- reading ----------------------------------------------------------------------------------

  void read(const ConnectionPtr& client) {
    const std::size_t most =
        client->authenticated() ? client->received.size() : ServerHandshake::kMax_bytes + 1;
    client->socket.async_read_some(
        asio::buffer(client->received.data(), most),
        [self = shared_from_this(), client](const error_code& error, std::size_t size) {
          if (self->closed || !client->open) return;
          self->look();
          if (error) {
            self->went_away(client);
            return;
          }
          const std::span bytes(client->received.data(), size);
          if (client->authenticated()) {
            client->reader->append(bytes);
            self->take_messages(client);
          } else {
            self->shake_hands(client, bytes);
          }
          if (client->open) self->read(client);
        });
  }

  void went_away(const ConnectionPtr& client) {
    if (client->authenticated()) {
      drop(client);
    } else {
      refuse(client, Refusal::left);
    }
  }

  void shake_hands(const ConnectionPtr& client, std::span<const std::byte> bytes) {
    std::string answer = client->handshake.receive(bytes);
    if (client->handshake.refusal() != Refusal::none) {
      refuse(client, client->handshake.refusal());
      return;
    }
    if (!answer.empty()) write(client, std::move(answer));
    if (!client->handshake.done()) return;
    const Caller caller = client->handshake.caller();
    if (caller.generation != options.generation) return refuse(client, Refusal::generation);
    if (caller.rank >= options.max_ranks) return refuse(client, Refusal::rank);
    welcome(client, caller);
  }

  void welcome(const ConnectionPtr& client, const Caller& caller) {
    client->deadline.cancel();
    strangers.remove(client);
    client->reader.emplace(client->handshake.keys().to_launcher, caller.generation);
    client->writer.emplace(client->handshake.keys().to_rank, caller.generation);
    client->told_stall_s = stall_s;
    ConnectionPtr& place = ranks[caller.rank];
    if (place) place->close();  // replaced, not lost
    place = client;
    answer_alive(client);
  }

  void take_messages(const ConnectionPtr& client) {
    const Caller caller = client->handshake.caller();
    while (client->open) {
      const std::optional<FromRank> message = client->reader->next();
      if (!message) break;
      const Hello* hello = std::get_if<Hello>(&*message);
      const bool due = hello != nullptr ? !client->greeted && hello->rank == caller.rank &&
                                              hello->generation == caller.generation
                                        : client->greeted && !client->parted;
      if (!due) return refuse(client, Refusal::order);
      client->greeted = true;
      client->parted = std::holds_alternative<Bye>(*message);
      if (std::holds_alternative<Beat>(*message)) answer_alive(client);
      events.message(caller.rank, caller.generation, *message);
    }
    if (client->open && client->reader->refusal() != Refusal::none) {
      refuse(client, client->reader->refusal());
    }
  }

  // ---- writing ----------------------------------------------------------------------------------

  void answer_alive(const ConnectionPtr& client) {
    if (!client->pending.empty()) return;  // what is on its way tells the same
    const double silent_s = stall_s - std::exchange(client->told_stall_s, stall_s);
    write(client, client->writer->frame(Alive{.silent_s = std::max(0.0, silent_s)}));
  }

  void say(const ConnectionPtr& client, const FromLauncher& message) {
    if (client->pending.size() >= kMax_pending) return;
    write(client, client->writer->frame(message));
  }

  void write(const ConnectionPtr& client, std::string bytes) {
    client->pending.push_back(std::move(bytes));
    if (client->pending.size() == 1) write_front(client);
  }

  void write_front(const ConnectionPtr& client) {
    asio::async_write(client->socket, asio::buffer(client->pending.front()),
                      [self = shared_from_this(), client](const error_code& error, std::size_t) {
                        if (self->closed || !client->open) return;
                        if (error) return self->went_away(client);
                        client->pending.pop_front();
                        if (!client->pending.empty()) self->write_front(client);
                      });
  }

  // ---- the server's calls -----------------------------------------------------------------------

  void set_generation(std::int64_t generation) {
    if (generation == options.generation) return;
    options.generation = generation;
    for (const auto& [rank, client] : std::exchange(ranks, {})) client->close();
  }

  void close() {
    closed = true;
    error_code ignored;
    acceptor.close(ignored);
    pause.cancel();
    tick.cancel();
    for (const auto& [rank, client] : std::exchange(ranks, {})) client->close();
    for (const ConnectionPtr& client : std::exchange(strangers, {})) client->close();
  }

  ServerOptions options;
  const Clock* clock;
  ServerEvents events;
  Bytes32 token{};
  tcp::acceptor acceptor;
  tcp::endpoint local;
  asio::steady_timer pause, tick;
  std::list<ConnectionPtr> strangers;  // oldest first
  std::map<std::int32_t, ConnectionPtr> ranks;
  std::bitset<kRefusal_texts.size()> reported;
  bool said_accept = false;
  bool closed = false;
  std::int64_t num_refused = 0;
  double looked_s;     // when this loop last ran
  double stall_s = 0;  // how long it has stood still, over all
};

ControlServer::ControlServer(boost::asio::io_context& context, ServerOptions options,
                             const Clock& clock, ServerEvents events)
    : impl_(std::make_shared<Impl>(context, std::move(options), clock, std::move(events))) {
  impl_->start();
}

ControlServer::~ControlServer() { impl_->close(); }

std::string ControlServer::address() const { return endpoint_text(impl_->local); }

int ControlServer::port() const { return impl_->local.port(); }

void ControlServer::set_generation(std::int64_t generation) { impl_->set_generation(generation); }

void ControlServer::send(std::int32_t rank, const FromLauncher& message) {
  const auto at = impl_->ranks.find(rank);
  if (at != impl_->ranks.end()) impl_->say(at->second, message);
}

void ControlServer::send_all(const FromLauncher& message) {
  for (const auto& [rank, client] : impl_->ranks) impl_->say(client, message);
}

bool ControlServer::connected(std::int32_t rank) const { return impl_->ranks.contains(rank); }

std::int64_t ControlServer::num_refused() const { return impl_->num_refused; }

std::string make_token() {
  Bytes32 bytes{};
  fill_random(bytes);
  return to_hex(bytes);
}

}  // namespace dlt::launcher
