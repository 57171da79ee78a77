// SPDX-License-Identifier: Apache-2.0
// The few things a rank does with a socket, none of which waits longer than it is told.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dlt::launcher {

/// A file descriptor of its own.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { reset(); }
  Descriptor(Descriptor&& other) noexcept : fd_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept;
  void reset();
  [[nodiscard]] int release();
  [[nodiscard]] int get() const { return fd_; }
  [[nodiscard]] bool open() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Where to connect to, looked up once.
struct Endpoint {
  alignas(8) std::array<std::byte, 128> address{};  // a sockaddr_storage
  std::uint32_t num_bytes = 0;
};

/// HOST:PORT; an IPv6 host stands in brackets.
/// errors  Error(Exit::unavailable) if it is not of that form or the host is not known
[[nodiscard]] Endpoint look_up(const std::string& address);

/// Something that ends waits of another thread.
class Wake {
 public:
  Wake();
  void set() noexcept;
  void clear() noexcept;
  [[nodiscard]] int fd() const { return fd_.get(); }

 private:
  Descriptor fd_;
};

enum class Waited : std::uint8_t { ready, timeout, woken };
enum class For : std::uint8_t { reading, writing, both };
/// Until the socket (if it is open) is ready or wake is set.
[[nodiscard]] Waited wait(const Descriptor& socket, For what, double seconds, const Wake& wake);

enum class Connected : std::uint8_t { yes, refused, no_answer };
/// A connection without delays, that notices a dead path (the system's keep-alive).
[[nodiscard]] Connected connect(const Endpoint& to, double seconds, const Wake& wake,
                                Descriptor& out);

/// Takes what there is: bytes; 0 if there is nothing now; nothing if the connection is gone.
[[nodiscard]] std::optional<std::size_t> receive_now(const Descriptor& socket,
                                                     std::span<std::byte> out);
/// How many bytes were taken; nothing if the connection is gone.
[[nodiscard]] std::optional<std::size_t> send_now(const Descriptor& socket, std::string_view bytes);
void end_sending(const Descriptor& socket);

/// What the system knows of the other end's system.
struct PathState {
  double silent_s = 0;  // since it last acknowledged anything
  bool owes = false;    // it has yet to acknowledge something that was sent
};
[[nodiscard]] std::optional<PathState> path_state(const Descriptor& socket);

}  // namespace dlt::launcher
