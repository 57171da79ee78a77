// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/process.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <set>
#include <sstream>

#include <dirent.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/fs.h"
#include "base/text.h"

namespace dlt::supervise {
namespace {

/// A copy of this process's environment with changes, as execve takes it.
class Environment {
 public:
  explicit Environment(const EnvChanges& changes) {
    for (char** at = environ; *at != nullptr; ++at) {
      const std::string_view entry(*at);
      const bool changed = std::any_of(changes.begin(), changes.end(), [&](const auto& change) {
        return entry.starts_with(change.first) && entry.substr(change.first.size(), 1) == "=";
      });
      if (!changed) texts_.emplace_back(entry);
    }
    for (const auto& [name, value] : changes) texts_.push_back(name + "=" + value);
    for (std::string& text : texts_) pointers_.push_back(text.data());
    pointers_.push_back(nullptr);
  }
  [[nodiscard]] char* const* get() const { return pointers_.data(); }

 private:
  std::vector<std::string> texts_;
  std::vector<char*> pointers_;
};

/// In the child: only calls that are safe after fork, all memory was made before.
[[noreturn]] void become(char* const* words, char* const* env, const SpawnOptions& options,
                         pid_t parent, int report_fd) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t blocked;
  sigemptyset(&blocked);
  if (options.blocked_signal != 0) sigaddset(&blocked, options.blocked_signal);
  sigprocmask(SIG_SETMASK, &blocked, nullptr);
  for (const int number : {SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGHUP, SIGCHLD, SIGPIPE, SIGQUIT})
    signal(number, SIG_DFL);
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  dup2(null, 0);
  if (options.stdout_fd >= 0) dup2(options.stdout_fd, 1);
  if (options.stderr_fd >= 0) dup2(options.stderr_fd, 2);
  // dlrun's own files are closed by exec; of those that it was given nobody knows (before
  // Linux 5.11 they stay open).
  (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  // The parent may have died before the wish to die with it was there.
  if (getppid() == parent) execvpe(words[0], words, env);
  const int code = errno;
  if (write(report_fd, &code, sizeof code) < 0) _exit(126);
  _exit(127);
}

std::vector<ProcessInfo> all_processes() {
  std::vector<ProcessInfo> out;
  for (const std::string& name : list_directory("/proc")) {
    pid_t pid = 0;
    const auto [at, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    if (error != std::errc() || at != name.data() + name.size()) continue;
    const ProcessInfo info = process_info(pid);
    if (info.state != ' ') out.push_back(info);
  }
  return out;
}

/// Those that are below root; of them, what has ended is left out.
std::vector<pid_t> descendants_among(const std::vector<ProcessInfo>& all, pid_t root) {
  std::set<pid_t> found{root};
  for (std::size_t before = 0; before != found.size();) {
    before = found.size();
    for (const ProcessInfo& info : all) {
      if (found.contains(info.parent)) found.insert(info.pid);
    }
  }
  std::vector<pid_t> out;
  for (const ProcessInfo& info : all) {
    if (info.pid != root && info.state != 'Z' && found.contains(info.pid)) out.push_back(info.pid);
  }
  return out;
}

}  // namespace

pid_t spawn(const SpawnOptions& options) {
  DLT_CHECK(!options.words.empty(), "no program to start");
  std::vector<std::string> texts = options.words;
  std::vector<char*> words;
  for (std::string& text : texts) words.push_back(text.data());
  words.push_back(nullptr);
  const Environment env(options.env);
  std::array<int, 2> report{};
  if (pipe2(report.data(), O_CLOEXEC) != 0)
    throw Error(Exit::unavailable, cat("pipe2: ", std::strerror(errno)));
  const pid_t parent = getpid();
  const pid_t pid = fork();
  const int fork_code = errno;
  if (pid == 0) become(words.data(), env.get(), options, parent, report[1]);
  close(report[1]);
  int code = 0;
  ssize_t got = -1;
  while (pid > 0 && (got = read(report[0], &code, sizeof code)) < 0 && errno == EINTR) {
  }
  close(report[0]);
  if (pid < 0) throw Error(Exit::unavailable, cat("fork: ", std::strerror(fork_code)));
  if (got <= 0) return pid;
  while (waitpid(pid, nullptr, 0) < 0 && errno == EINTR) {
  }
  throw Error(Exit::unavailable,
              cat(options.words[0], ": cannot be started: ", std::strerror(code)));
}

void adopt_orphans() { DLT_CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, std::strerror(errno)); }

ProcessInfo process_info(pid_t pid) {
  ProcessInfo out{.pid = pid};
  std::ifstream file(cat("/proc/", pid, "/stat"));
  std::string line;
  if (!std::getline(file, line) || line.rfind(')') == std::string::npos) return out;
  std::istringstream rest(line.substr(line.rfind(')') + 1));  // the name may hold anything
  rest >> out.state >> out.parent;
  return out;
}

std::vector<pid_t> descendants(pid_t root) { return descendants_among(all_processes(), root); }

bool signal_pending(pid_t pid, int signal) {
  std::ifstream file(cat("/proc/", pid, "/status"));
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("ShdPnd:")) continue;
    const auto set = std::strtoull(line.c_str() + 7, nullptr, 16);
    return ((set >> static_cast<unsigned>(signal - 1)) & 1U) != 0;
  }
  return false;
}

void wake_threads(pid_t pid) {
  for (const std::string& name : list_directory(cat("/proc/", pid, "/task"))) {
    syscall(SYS_tgkill, pid, std::strtol(name.c_str(), nullptr, 10), SIGCHLD);
  }
}

std::vector<pid_t> kill_descendants(const Spared& spared, double timeout_s) {
  SystemClock clock;
  const double deadline_s = clock.monotonic_s() + timeout_s;
  while (true) {
    std::set<pid_t> safe(spared.alive.begin(), spared.alive.end());
    const std::vector<ProcessInfo> all = all_processes();
    for (const pid_t pid : spared.alive) {
      for (const pid_t child : descendants_among(all, pid)) safe.insert(child);
    }
    std::vector<pid_t> left;
    for (const pid_t pid : descendants_among(all, getpid())) {
      if (safe.contains(pid)) continue;
      kill(pid, SIGKILL);
      left.push_back(pid);
    }
    safe.insert(spared.collected.begin(), spared.collected.end());
    for (const ProcessInfo& info : all_processes()) {
      if (info.parent == getpid() && info.state == 'Z' && !safe.contains(info.pid))
        waitpid(info.pid, nullptr, WNOHANG);
    }
    if (left.empty() || clock.monotonic_s() >= deadline_s) return left;
    clock.sleep_s(0.005);
  }
}

int usable_cores() {
  std::set<std::string> cores;
  for (const int cpu : allowed_cores()) {
    std::ifstream file(cat("/sys/devices/system/cpu/cpu", cpu, "/topology/thread_siblings_list"));
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = cat(cpu);
    cores.insert(siblings);
  }
  return std::max(1, static_cast<int>(cores.size()));
}

}  // namespace dlt::supervise
