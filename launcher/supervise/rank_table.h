// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "launcher/control/messages.h"
#include "launcher/supervise/event.h"
#include "launcher/supervise/remote.h"

namespace boost::asio {
class io_context;
}

namespace dlt::supervise {

/// The ranks of a generation that said Hello: where they run, and whether those on this machine
/// still do.
class RankTable {
 public:
  /// gone is called from within the io_context's run() when a process of this machine has ended.
  RankTable(boost::asio::io_context& context, const Reach& reach,
            std::function<void(const ProcessGone&)> gone);
  ~RankTable();
  RankTable(const RankTable&) = delete;
  RankTable& operator=(const RankTable&) = delete;

  /// Forgets all of them, without a call to gone.
  void clear();
  /// Whether its process is on this machine.
  bool connected(const launcher::Hello& hello);
  void disconnected(std::int32_t rank);
  /// Whether it went without a word.
  [[nodiscard]] bool missed(std::int32_t rank) const;
  /// Where it is or was; pid 0: it never said Hello.
  struct Place {
    std::string host;
    std::int64_t pid = 0;
  };
  [[nodiscard]] Place place(std::int32_t rank) const;
  /// It said that it ends, well or not.
  void said_last_words(std::int32_t rank, bool failed);
  /// So many ranks said that they end, and are not connected any more; or rank 0 did, which speaks
  /// for all, and failed.
  [[nodiscard]] bool through(std::int32_t num_ranks) const;
  [[nodiscard]] std::int32_t num_connected() const;
  /// Host -> rank -> process.
  using Pids = std::map<std::int32_t, std::int64_t>;
  [[nodiscard]] std::map<std::string, Pids> pids_by_host() const;

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
};

}  // namespace dlt::supervise
