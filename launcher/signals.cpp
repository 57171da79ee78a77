// SPDX-License-Identifier: Apache-2.0
#include "launcher/signals.h"

#include <array>
#include <cerrno>
#include <csignal>

#include <signal.h>

namespace dlt::launcher {
namespace {

// A signal handler can reach nothing but globals; it and request_stop() alone write these two.
std::atomic<bool> stop_requested{false};
std::atomic<bool> interrupted{false};
static_assert(std::atomic<bool>::is_always_lock_free, "a signal handler may not take a lock");

constexpr std::array<int, 3> kStopSignals{SIGTERM, SIGINT, SIGUSR1};

void on_stop_signal(int number) {
  const int saved_errno = errno;
  if (number == SIGINT && interrupted.exchange(true)) {
    ::signal(SIGINT, SIG_DFL);
    ::raise(SIGINT);  // delivered when this handler returns
  }
  stop_requested.store(true);
  errno = saved_errno;
}

}  // namespace

const std::atomic<bool>& watch_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (const int number : kStopSignals) sigaction(number, &action, nullptr);
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a write beyond the limit then fails like one on a full disk
  return stop_requested;
}

void request_stop() noexcept { stop_requested.store(true); }

void stop_watching() {
  for (const int number : kStopSignals) ::signal(number, SIG_DFL);
}

}  // namespace dlt::launcher
