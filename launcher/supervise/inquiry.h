// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "launcher/supervise/action.h"
#include "launcher/supervise/children.h"
#include "launcher/supervise/event.h"
#include "launcher/supervise/rank_table.h"
#include "launcher/supervise/setup.h"

namespace dlt::supervise {

/// For an answer from another host.
inline constexpr double kLook_s = 3;

/// What dlrun asks hosts and ranks when something seems to be wrong. One thread, the one that runs
/// the io_context; answers are told from within its run().
class Inquiry {
 public:
  struct Options {
    const JobSetup& setup;
    const Clock& clock;
    std::string control_address;  // that hosts must be able to connect to
    std::function<void(Event)> tell;
  };
  /// All must outlive this.
  Inquiry(boost::asio::io_context& context, Children& children, const RankTable& ranks,
          Options options);
  ~Inquiry();
  Inquiry(const Inquiry&) = delete;
  Inquiry& operator=(const Inquiry&) = delete;

  /// A script for a host: whether it can connect to dlrun; nothing on this machine.
  [[nodiscard]] std::string way_back(const std::string& host) const;
  /// Of a rank on another host whose connection went without a word only the host knows: its daemon
  /// of MPI's keeps quiet about a death for as long as the ranks have to save (decision 59).
  /// Tells ProcessGone, or nothing.
  void ask_whether_gone(std::int32_t rank, std::int64_t generation);
  void collect_stacks(const CollectStacks& collect);
  void check_hosts(const CheckHosts& check);
  void read_rings(const ReadRings& read);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::supervise
