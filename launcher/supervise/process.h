// SPDX-License-Identifier: Apache-2.0
// Processes of this machine.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "launcher/supervise/starter.h"

namespace dlt::supervise {

struct SpawnOptions {
  Words words;                         // words[0] is a path, or looked for in PATH
  EnvChanges env;                      // beside this process's own
  int stdout_fd = -1, stderr_fd = -1;  // -1: this process's own
  int blocked_signal = 0;              // that the program does not get; 0: none
};

/// Starts a program in a session of its own, with no input and no other open file. It is killed
/// when the calling thread ends, in whatever way.
/// errors  Error(Exit::unavailable) if it cannot be started
[[nodiscard]] pid_t spawn(const SpawnOptions& options);

/// From now on processes whose parent ends become children of this one, so that none is lost from
/// sight.
void adopt_orphans();

struct ProcessInfo {
  pid_t pid = 0, parent = 0;
  char state = ' ';  // as in /proc/PID/stat: R, S, D, T, Z; ' ': there is none
};
/// errors  none: state is ' ' for a process that is not there
[[nodiscard]] ProcessInfo process_info(pid_t pid);
/// Children of root, their children and so on, without root; those that ended are left out.
[[nodiscard]] std::vector<pid_t> descendants(pid_t root);

/// Whether a signal waits for a process that blocks it.
[[nodiscard]] bool signal_pending(pid_t pid, int signal);
/// Cuts short what each thread of a process sleeps for: a signal that asks for nothing (SIGCHLD).
void wake_threads(pid_t pid);

/// What kill_descendants leaves alone.
struct Spared {
  std::vector<pid_t> alive;      // with their descendants
  std::vector<pid_t> collected;  // killed, but somebody else waits for them
};
/// Kills all other descendants of this process, again and again, until none is left or timeout_s is
/// over, and collects those that are its children. Returns what is left.
[[nodiscard]] std::vector<pid_t> kill_descendants(const Spared& spared, double timeout_s);

/// The cores this process may use: whole ones, not hardware threads; at least 1.
[[nodiscard]] int usable_cores();

}  // namespace dlt::supervise
