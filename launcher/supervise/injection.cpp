// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/injection.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fs.h"
#include "launcher/rank_env.h"
#include "launcher/supervise/process.h"

namespace dlt::supervise {
namespace {

std::string proc(pid_t pid, const char* what) { return "/proc/" + std::to_string(pid) + what; }

/// The environment a process was started with.
std::map<std::string, std::string> environment_of(pid_t pid) {
  std::map<std::string, std::string> out;
  const std::string text = read_file(proc(pid, "/environ"), {.max_bytes = 4 << 20});
  for (std::size_t at = 0; at < text.size();) {
    const std::string entry = text.c_str() + at;
    at += entry.size() + 1;
    const std::size_t equals = entry.find('=');
    if (equals != std::string::npos) out[entry.substr(0, equals)] = entry.substr(equals + 1);
  }
  return out;
}

/// It as a rank of a job under dlrun, if it is one.
std::optional<RankProcess> as_rank(pid_t pid) {
  try {
    const auto variables = environment_of(pid);
    const launcher::RankEnv ranks =
        launcher::read_rank_env([&](const char* variable) -> const char* {
          const auto it = variables.find(variable);
          return it == variables.end() ? nullptr : it->second.c_str();
        });
    if (!ranks.supervision || ranks.starter == launcher::Starter::none) return std::nullopt;
    const std::string& control = ranks.supervision->control;
    const char* port = control.c_str() + control.rfind(':') + 1;
    RankProcess out{.rank = ranks.rank, .pid = pid};
    std::from_chars(port, control.c_str() + control.size(), out.control_port);
    return out;
  } catch (const Error&) {  // it is gone, or just about to become something else
    return std::nullopt;
  }
}

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
    for (const std::string& entry : list_directory(proc(pid, "/fd"))) {
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

std::vector<RankProcess> ranks_below(pid_t dlrun) {
  std::vector<RankProcess> out;
  for (const pid_t pid : descendants(dlrun)) {
    std::error_code failure;
    const auto program = std::filesystem::read_symlink(proc(pid, "/exe"), failure);
    if (failure || !program.filename().string().starts_with("dltrain")) continue;
    if (const auto rank = as_rank(pid)) out.push_back(*rank);
  }
  std::sort(out.begin(), out.end(),
            [](const RankProcess& a, const RankProcess& b) { return a.rank < b.rank; });
  return out;
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
