// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

#include "comm/communicator.h"

namespace dlt::ddp {

/// Who waits, and how long before it gives up.
struct HostWaitOptions {
  double timeout_s = 0;  // 0: for ever; somebody else watches the time
  // The waiting thread shares its core with one that computes: sleep rather than look all the time.
  bool beside_work = false;
  // There are more threads than cores: the one waited for may need this core.
  bool crowded = false;
};

/// Waits by looking: for what another rank of the host writes into shared memory. Looks without
/// giving the core away for some microseconds, which is longer than a peer takes that is under way
/// (shorter where it is crowded), and then gives the core away between looks.
class HostWait {
 public:
  HostWait(const comm::Communicator& comm, HostWaitOptions options)
      : comm_(&comm), options_(options) {}
  /// Until ready() is true. what() names the thing that peer, a rank, owes.
  /// errors  Error(Exit::peer_lost) if the peer is gone without having made it true, or "rank 0:
  ///         waited 30 s for bucket 3 of step 812 from rank 1" after the timeout
  template <typename Ready, typename What>
  void until(Ready ready, int peer, What what) const {
    const int num_looks = options_.crowded ? kCrowded_looks : kLooks;
    for (int look = 0; look < num_looks; ++look) {
      if (ready()) return;
      pause();
    }
    Patience patience(*this);
    while (!ready()) {
      if (patience.next(peer) == Outcome::goes_on) continue;
      if (ready()) return;  // the last thing it did
      give_up(patience.lost(), peer, what());
    }
  }

 private:
  static constexpr int kLooks = 2000;
  static constexpr int kCrowded_looks = 20;
  enum class Outcome : bool { goes_on, ends };
  /// The slow part of a wait.
  class Patience {
   public:
    explicit Patience(const HostWait& wait) : wait_(&wait) {}
    /// Gives the core away for a moment; says so if there is no use in going on.
    Outcome next(int peer);
    [[nodiscard]] bool lost() const { return lost_; }

   private:
    const HostWait* wait_;
    int num_turns_ = 0;
    double start_s_ = -1;
    bool lost_ = false;
  };
  static void pause();
  [[noreturn]] void give_up(bool lost, int peer, const std::string& what) const;

  const comm::Communicator* comm_;
  HostWaitOptions options_;
};

}  // namespace dlt::ddp
