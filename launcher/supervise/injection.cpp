// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/injection.h"

#include <charconv>
#include <csignal>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"

namespace dlt::supervise {
namespace {

int port_of_peer(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return -1;
  if (address.ss_family == AF_INET) {
    return ntohs(reinterpret_cast<const sockaddr_in*>(&address)->sin_port);
  }
  if (address.ss_family == AF_INET6) {
    return ntohs(reinterpret_cast<const sockaddr_in6*>(&address)->sin6_port);
  }
  return -1;
}

/// Shuts a descriptor of another process down if it is a connection to this port.
bool cut(int process, int number, int port) {
  const auto fd = static_cast<int>(syscall(SYS_pidfd_getfd, process, number, 0));
  if (fd < 0) return false;
  const bool is_it = port_of_peer(fd) == port && ::shutdown(fd, SHUT_RDWR) == 0;
  ::close(fd);
  return is_it;
}

bool cut_connection(pid_t pid, int port) {
  const auto process = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (process < 0) return false;
  bool done = false;
  try {
    for (const std::string& entry : list_directory(cat("/proc/", pid, "/fd"))) {
      int number = -1;
      std::from_chars(entry.data(), entry.data() + entry.size(), number);
      done = (number >= 0 && cut(process, number, port)) || done;
    }
  } catch (const Error&) {  // it ended meanwhile
  }
  ::close(process);
  return done;
}

/// Bytes that a process may write to a file; the hard limit stays.
bool limit_files(pid_t pid, bool limited) {
  rlimit limits{};
  if (::prlimit(pid, RLIMIT_FSIZE, nullptr, &limits) != 0) return false;
  limits.rlim_cur = limited ? 1 : limits.rlim_max;
  return ::prlimit(pid, RLIMIT_FSIZE, &limits, nullptr) == 0;
}

}  // namespace

const char* name(Injection injection) {
  return kInjectionNames[static_cast<std::size_t>(injection)];
}

bool inject(Injection injection, const RankProcess& rank) {
  switch (injection) {
    case Injection::disk:
      return limit_files(rank.pid, true);
    case Injection::kill:
      return ::kill(rank.pid, SIGKILL) == 0;
    case Injection::net:
      return cut_connection(rank.pid, rank.control_port);
    case Injection::stop:
      return ::kill(rank.pid, SIGSTOP) == 0;
  }
  return false;
}

void withdraw(Injection injection, const RankProcess& rank) {
  if (injection == Injection::disk) (void)limit_files(rank.pid, false);
}

}  // namespace dlt::supervise
