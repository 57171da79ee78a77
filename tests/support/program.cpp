// SPDX-License-Identifier: Apache-2.0
#include "support/program.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include <fcntl.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

namespace dlt {
namespace {

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

struct Pipe {
  Pipe() {
    if (pipe2(fds.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe2 failed");
  }
  ~Pipe() {
    close_end(0);
    close_end(1);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  void close_end(std::size_t end) {
    if (fds[end] >= 0) close(fds[end]);
    fds[end] = -1;
  }
  std::array<int, 2> fds{-1, -1};
};

/// In the child: only calls that are safe after fork, all memory was made before.
[[noreturn]] void start(char* const* words, const ProgramOptions& options, const Pipe& out,
                        const Pipe& err) {
  setpgid(0, 0);
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, 0);
  dup2(out.fds[1], 1);
  dup2(err.fds[1], 2);
  if (!options.directory.empty() && chdir(options.directory.c_str()) != 0) _exit(126);
  execvp(words[0], words);
  _exit(127);
}

/// Appends what is there; returns false at the end of the stream.
bool drain(int fd, std::string& text) {
  std::array<char, 65536> buffer;
  const ssize_t count = read(fd, buffer.data(), buffer.size());
  if (count > 0) text.append(buffer.data(), static_cast<std::size_t>(count));
  return count > 0 || (count < 0 && errno == EINTR);
}

/// The youngest process whose parent is pid.
pid_t child_of(pid_t pid) {
  pid_t found = 0;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "stat");
    std::string line;
    if (!std::getline(file, line)) continue;
    std::istringstream rest(line.substr(line.rfind(')') + 1));  // behind the name: state, parent
    std::string state;
    pid_t parent = 0;
    rest >> state >> parent;
    if (parent == pid) found = std::max(found, static_cast<pid_t>(std::stol(line)));
  }
  if (found == 0) throw std::runtime_error("the program has no child process");
  return found;
}

void collect(pid_t pid, const ProgramOptions& options, Pipe& out, Pipe& err,
             ProgramResult& result) {
  const double end = now_s() + options.timeout_s;
  bool signalled = options.signal == 0;
  while (out.fds[0] >= 0 || err.fds[0] >= 0) {
    const double left = end - now_s();
    if (left <= 0) {
      result.timed_out = true;
      kill(-pid, SIGKILL);
      break;
    }
    std::array<pollfd, 2> fds{pollfd{out.fds[0], POLLIN, 0}, pollfd{err.fds[0], POLLIN, 0}};
    if (poll(fds.data(), fds.size(), static_cast<int>(left * 1000) + 1) <= 0) continue;
    if (fds[0].revents != 0 && !drain(out.fds[0], result.out)) out.close_end(0);
    if (fds[1].revents != 0 && !drain(err.fds[0], result.err)) err.close_end(0);
    if (!signalled && (result.out.find(options.signal_after) != std::string::npos ||
                       result.err.find(options.signal_after) != std::string::npos)) {
      kill(options.signal_child ? child_of(pid) : pid, options.signal);
      signalled = true;
    }
  }
}

}  // namespace

ProgramResult run_program(const std::vector<std::string>& words, const ProgramOptions& options) {
  std::vector<std::string> all;
  if (!options.env.empty()) {
    all.emplace_back("env");
    for (const auto& [name, value] : options.env) all.push_back(name + "=" + value);
  }
  all.insert(all.end(), words.begin(), words.end());
  std::vector<char*> pointers;
  for (std::string& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);

  Pipe out, err;
  ProgramResult result;
  const double begin = now_s();
  const pid_t pid = fork();
  if (pid < 0) throw std::runtime_error(std::string("fork: ") + std::strerror(errno));
  if (pid == 0) start(pointers.data(), options, out, err);
  out.close_end(1);
  err.close_end(1);
  collect(pid, options, out, err, result);
  int status = 0;
  rusage usage{};
  while (wait4(pid, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  result.wall_s = now_s() - begin;
  result.peak_rss_bytes = static_cast<long long>(usage.ru_maxrss) * 1024;
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

}  // namespace dlt
