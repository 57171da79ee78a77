// SPDX-License-Identifier: Apache-2.0
#include "ddp/host_wait.h"

#include <chrono>
#include <thread>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {
namespace {

/// Turns between looks at the clock and at the peer's life, which cost more than a flag.
constexpr int kTurns_per_check = 32;
constexpr std::chrono::microseconds kNap(50);

}  // namespace

void HostWait::pause() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

HostWait::Outcome HostWait::Patience::next(int peer) {
  if (num_turns_++ % kTurns_per_check == 0) {
    lost_ = wait_->comm_->knows_lost(peer);
    if (lost_) return Outcome::ends;
    const double timeout_s = wait_->options_.timeout_s;
    if (timeout_s > 0) {
      const double now_s = SystemClock().monotonic_s();
      if (start_s_ < 0) start_s_ = now_s;
      if (now_s - start_s_ >= timeout_s) return Outcome::ends;
    }
  }
  if (wait_->options_.beside_work) {
    std::this_thread::sleep_for(kNap);
  } else {
    std::this_thread::yield();
  }
  return Outcome::goes_on;
}

void HostWait::give_up(bool lost, int peer, const std::string& what) const {
  const int self = comm_->rank();
  if (lost) {
    throw Error(Exit::peer_lost, cat("rank ", self, ": rank ", peer, " is gone; it owes ", what));
  }
  throw Error(
      Exit::peer_lost,
      cat("rank ", self, ": waited ", options_.timeout_s, " s for ", what, " from rank ", peer),
      "that rank is stuck, stopped or cut off");
}

}  // namespace dlt::ddp
