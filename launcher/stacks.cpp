// SPDX-License-Identifier: Apache-2.0
// All of this but write_stacks_on_signal() runs inside a signal handler: no memory, no locks, no
// stdio. The first thread that gets SIGUSR2 collects: it sends the signal to each other thread in
// turn, which writes its own stack, so that the file is not mixed up.
#include "launcher/stacks.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ctime>
#include <string_view>

#include <dirent.h>
#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace dlt::launcher {
namespace {

constexpr int kMax_frames = 64;
constexpr int kOwn_frames = 2;  // the handler's
constexpr std::size_t kMax_path = 4096;
constexpr int kPatience_ms = 200;  // for one thread
constexpr int kTotal_patience_ms = 2000;

// A signal handler can reach nothing but globals.
std::array<char, kMax_path> file_path{};
std::array<char, kMax_path> part_path{};
std::array<char, 256> first_line{};
std::atomic<bool> has_path{false};
std::atomic<bool> collecting{false};
std::atomic<int> out_fd{-1};
std::atomic<int> wanted{0};  // the thread that is to write; negative: it is writing; 0: it has
static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may not take a lock");

int this_thread() { return static_cast<int>(::syscall(SYS_gettid)); }

void say(int fd, std::string_view text) {
  if (::write(fd, text.data(), text.size()) < 0) return;  // a full disk: there is nobody to tell
}

void say(int fd, int number) {
  std::array<char, 12> digits{};
  std::size_t at = digits.size();
  for (int rest = number; at > 0; rest /= 10) {
    digits[--at] = static_cast<char>('0' + rest % 10);
    if (rest < 10) break;
  }
  say(fd, std::string_view(digits.data() + at, digits.size() - at));
}

void write_own_stack(int fd) {
  std::array<void*, kMax_frames> frames;
  const int num_frames = ::backtrace(frames.data(), kMax_frames);
  const int skipped = std::min(num_frames, kOwn_frames);
  ::backtrace_symbols_fd(frames.data() + skipped, num_frames - skipped, fd);
}

void pause_ms(int ms) {
  const timespec time{.tv_sec = 0, .tv_nsec = ms * 1000000L};
  ::nanosleep(&time, nullptr);
}

/// False if the thread does not take the signal.
bool ask(int thread) {
  wanted.store(thread);
  if (::syscall(SYS_tgkill, ::getpid(), thread, SIGUSR2) != 0) return false;
  for (int waited = 0; waited < kPatience_ms; ++waited) {
    if (wanted.load() == 0) return true;
    pause_ms(1);
  }
  int not_begun = thread;
  if (wanted.compare_exchange_strong(not_begun, 0)) return false;
  // It is writing: the file must stay open for it.
  for (int waited = 0; waited < kTotal_patience_ms && wanted.load() != 0; ++waited) pause_ms(1);
  return wanted.load() == 0;
}

/// "thread 123 (name)"
void write_title(int fd, int thread, const char* task) {
  say(fd, "\nthread ");
  say(fd, thread);
  std::array<char, 64> path{};
  std::size_t size = 0;
  for (const std::string_view part : {"/proc/self/task/", task, "/comm"}) {
    const std::size_t length = std::min(part.size(), path.size() - 1 - size);
    std::memcpy(path.data() + size, part.data(), length);
    size += length;
  }
  std::array<char, 32> name{};
  const int comm = ::open(path.data(), O_RDONLY | O_CLOEXEC);
  const ssize_t got = comm < 0 ? 0 : ::read(comm, name.data(), name.size());
  if (comm >= 0) ::close(comm);
  if (got > 1) {
    say(fd, " (");
    say(fd, std::string_view(name.data(), static_cast<std::size_t>(got - 1)));
    say(fd, ")");
  }
  say(fd, "\n");
}

void write_thread(int fd, const char* task) {
  int thread = 0;
  for (const char* c = task; *c != '\0'; ++c) {
    if (*c < '0' || *c > '9') return;  // "." and ".."
    thread = 10 * thread + (*c - '0');
  }
  write_title(fd, thread, task);
  if (thread == this_thread()) {
    write_own_stack(fd);
  } else if (!ask(thread)) {
    say(fd, "does not answer: it blocks SIGUSR2, or the system runs it at last\n");
  }
}

void write_all_threads(int fd) {
  const int tasks = ::open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (tasks < 0) return;
  alignas(8) std::array<char, 4096> entries;
  while (true) {
    const long size = ::syscall(SYS_getdents64, tasks, entries.data(), entries.size());
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const auto* entry = reinterpret_cast<const dirent64*>(entries.data() + at);
      write_thread(fd, entry->d_name);
      at += entry->d_reclen;
    }
  }
  ::close(tasks);
}

void collect() {
  if (!has_path.load() || collecting.exchange(true)) return;
  ::unlink(part_path.data());
  const int fd =
      ::open(part_path.data(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
  if (fd >= 0) {
    out_fd.store(fd);
    say(fd, first_line.data());
    say(fd, "\n");
    write_all_threads(fd);
    out_fd.store(-1);
    ::close(fd);
    ::rename(part_path.data(), file_path.data());
  }
  collecting.store(false);
}

void on_stack_signal(int, siginfo_t* info, void*) {
  const int saved_errno = errno;
  int thread = this_thread();
  if (info->si_code == SI_TKILL && info->si_pid == ::getpid()) {
    if (wanted.compare_exchange_strong(thread, -this_thread())) {
      write_own_stack(out_fd.load());
      wanted.store(0);
    }
  } else {
    collect();
  }
  errno = saved_errno;
}

void set(std::array<char, kMax_path>& to, const std::string& text) {
  to.fill('\0');
  text.copy(to.data(), to.size() - 1);
}

}  // namespace

void write_stacks_on_signal(const std::string& path, const std::string& header) {
  has_path.store(false);
  const bool fits = !path.empty() && path.size() + 6 < kMax_path;
  if (fits) {
    set(file_path, path);
    set(part_path, path + ".part");
    first_line.fill('\0');
    header.copy(first_line.data(), first_line.size() - 1);
    // The first call loads a library, which a signal handler must not do.
    std::array<void*, 4> frames;
    (void)::backtrace(frames.data(), static_cast<int>(frames.size()));
    has_path.store(true);
  }
  struct sigaction action {};
  action.sa_sigaction = on_stack_signal;
  action.sa_flags = SA_RESTART | SA_SIGINFO;
  sigemptyset(&action.sa_mask);
  ::sigaction(SIGUSR2, &action, nullptr);
}

}  // namespace dlt::launcher
