// SPDX-License-Identifier: Apache-2.0
#include "launcher/control/socket.h"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <memory>
#include <utility>

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "base/text.h"

namespace dlt::launcher {
namespace {

void set_option(int fd, int level, int option, int value) {
  // Each is an improvement only; a system that lacks it goes on without.
  (void)::setsockopt(fd, level, option, &value, sizeof value);
}

void tune(int fd) {
  set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
  set_option(fd, SOL_SOCKET, SO_SNDBUF,
             16384);  // old beats are of no use: rather leave out new ones
  set_option(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
  set_option(fd, IPPROTO_TCP, TCP_KEEPCNT, 120);  // the client itself decides when the path is dead
}

/// Where nobody listens on a port of this machine, a socket can meet itself there.
bool is_its_own_peer(int fd) {
  sockaddr_storage here{}, there{};
  socklen_t here_size = sizeof here, there_size = sizeof there;
  return ::getsockname(fd, reinterpret_cast<sockaddr*>(&here), &here_size) == 0 &&
         ::getpeername(fd, reinterpret_cast<sockaddr*>(&there), &there_size) == 0 &&
         here_size == there_size && std::memcmp(&here, &there, here_size) == 0;
}

bool again(int code) { return code == EAGAIN || code == EWOULDBLOCK || code == EINTR; }

}  // namespace

Descriptor& Descriptor::operator=(Descriptor&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = other.release();
  }
  return *this;
}

void Descriptor::reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

int Descriptor::release() { return std::exchange(fd_, -1); }

Endpoint look_up(const std::string& address) {
  const auto fail = [&](const std::string& why) {
    throw Error(Exit::unavailable,
                cat("control channel: expected HOST:PORT, got '", printable(address), "'", why),
                "dlrun sets DLRUN_CONTROL; unset it to train without dlrun");
  };
  const std::size_t colon = address.rfind(':');
  if (colon == std::string::npos || colon == 0) fail("");
  std::string host = address.substr(0, colon);
  if (host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  const std::string port = address.substr(colon + 1);
  if (port.empty() || port.find_first_not_of("0123456789") != std::string::npos) fail("");
  const addrinfo hints{.ai_flags = AI_NUMERICSERV, .ai_socktype = SOCK_STREAM};
  addrinfo* found = nullptr;
  const int code = ::getaddrinfo(host.c_str(), port.c_str(), &hints, &found);
  if (code != 0) fail(cat(": ", ::gai_strerror(code)));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, &::freeaddrinfo);
  Endpoint out;
  DLT_CHECK(found->ai_addrlen <= out.address.size(), "a socket address");
  std::memcpy(out.address.data(), found->ai_addr, found->ai_addrlen);
  out.num_bytes = found->ai_addrlen;
  return out;
}

Wake::Wake() : fd_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) { DLT_CHECK(fd_.open(), "eventfd"); }

void Wake::set() noexcept {
  const std::uint64_t one = 1;
  if (::write(fd_.get(), &one, sizeof one) < 0) return;  // full: it is set already
}

void Wake::clear() noexcept {
  std::uint64_t count = 0;
  if (::read(fd_.get(), &count, sizeof count) < 0) return;  // not set
}

Waited wait(const Descriptor& socket, For what, double seconds, const Wake& wake) {
  const short events = what == For::reading   ? POLLIN
                       : what == For::writing ? POLLOUT
                                              : static_cast<short>(POLLIN | POLLOUT);
  std::array<pollfd, 2> fds{pollfd{.fd = wake.fd(), .events = POLLIN, .revents = 0},
                            pollfd{.fd = socket.get(), .events = events, .revents = 0}};
  const int ms = static_cast<int>(std::ceil(std::clamp(seconds, 0.0, 3600.0) * 1e3));
  const int ready = ::poll(fds.data(), fds.size(), ms);  // a signal ends it early, as a timeout
  if (ready <= 0) return Waited::timeout;
  return fds[0].revents != 0 ? Waited::woken : Waited::ready;
}

Connected connect(const Endpoint& to, double seconds, const Wake& wake, Descriptor& out) {
  const auto* address = reinterpret_cast<const sockaddr*>(to.address.data());
  Descriptor fd(::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.open()) return Connected::no_answer;
  tune(fd.get());
  int code = ::connect(fd.get(), address, to.num_bytes) == 0 ? 0 : errno;
  if (code == EINPROGRESS) {
    if (wait(fd, For::writing, seconds, wake) != Waited::ready) return Connected::no_answer;
    socklen_t size = sizeof code;
    if (::getsockopt(fd.get(), SOL_SOCKET, SO_ERROR, &code, &size) != 0) code = errno;
  }
  if (code != 0) return code == ECONNREFUSED ? Connected::refused : Connected::no_answer;
  if (is_its_own_peer(fd.get())) return Connected::refused;
  out = std::move(fd);
  return Connected::yes;
}

std::optional<std::size_t> receive_now(const Descriptor& socket, std::span<std::byte> out) {
  const ssize_t got = ::recv(socket.get(), out.data(), out.size(), MSG_DONTWAIT);
  if (got > 0) return static_cast<std::size_t>(got);
  if (got < 0 && again(errno)) return 0;
  return std::nullopt;
}

std::optional<std::size_t> send_now(const Descriptor& socket, std::string_view bytes) {
  const ssize_t sent =
      ::send(socket.get(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent >= 0) return static_cast<std::size_t>(sent);
  if (again(errno)) return 0;
  return std::nullopt;
}

void end_sending(const Descriptor& socket) { ::shutdown(socket.get(), SHUT_WR); }

std::optional<PathState> path_state(const Descriptor& socket) {
  tcp_info info{};
  socklen_t size = sizeof info;
  if (::getsockopt(socket.get(), IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return std::nullopt;
  return PathState{.silent_s = info.tcpi_last_ack_recv * 1e-3, .owes = info.tcpi_unacked > 0};
}

}  // namespace dlt::launcher
