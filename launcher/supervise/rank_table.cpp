// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/rank_table.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <sys/syscall.h>
#include <unistd.h>

namespace dlt::supervise {
namespace asio = boost::asio;

struct RankTable::Impl : std::enable_shared_from_this<RankTable::Impl> {
  struct Entry {
    std::string host;
    std::int64_t pid = 0;
    bool connected = false, ends = false, failed = false;
    std::unique_ptr<asio::posix::stream_descriptor> process;  // readable when it has ended
  };
  Impl(asio::io_context& io, const Reach& way, std::function<void(const ProcessGone&)> callback)
      : context(io), reach(way), gone(std::move(callback)) {}

  void watch(const launcher::Hello& hello, Entry& entry) {
    const ProcessGone event{.rank = hello.rank, .generation = hello.generation};
    // By number: the declaration of glibc 2.36 does not link from C++.
    const auto fd = static_cast<int>(syscall(SYS_pidfd_open, hello.pid, 0));
    if (fd < 0) {
      if (errno == ESRCH) gone(event);
      return;  // an old kernel: the lost connection has to do
    }
    entry.process = std::make_unique<asio::posix::stream_descriptor>(context, fd);
    entry.process->async_wait(
        asio::posix::stream_descriptor::wait_read,
        [self = weak_from_this(), event](const boost::system::error_code& failure) {
          const auto impl = self.lock();
          if (!failure && impl) impl->gone(event);
        });
  }

  asio::io_context& context;
  Reach reach;
  std::function<void(const ProcessGone&)> gone;
  std::map<std::int32_t, Entry> ranks;
};

RankTable::RankTable(asio::io_context& context, const Reach& reach,
                     std::function<void(const ProcessGone&)> gone)
    : impl_(std::make_shared<Impl>(context, reach, std::move(gone))) {}

RankTable::~RankTable() = default;

void RankTable::clear() { impl_->ranks.clear(); }

bool RankTable::connected(const launcher::Hello& hello) {
  Impl::Entry& entry = impl_->ranks[hello.rank];
  const bool own = is_own(impl_->reach, hello.host);
  const bool known = entry.pid == hello.pid && entry.host == hello.host;
  entry.host = hello.host;
  entry.pid = hello.pid;
  entry.connected = true;
  if (own && !known) impl_->watch(hello, entry);
  return own;
}

void RankTable::disconnected(std::int32_t rank) {
  const auto it = impl_->ranks.find(rank);
  if (it != impl_->ranks.end()) it->second.connected = false;
}

bool RankTable::missed(std::int32_t rank) const {
  const auto it = impl_->ranks.find(rank);
  return it != impl_->ranks.end() && !it->second.connected && !it->second.ends;
}

RankTable::Place RankTable::place(std::int32_t rank) const {
  const auto it = impl_->ranks.find(rank);
  if (it == impl_->ranks.end()) return {};
  return {.host = it->second.host, .pid = it->second.pid};
}

void RankTable::said_last_words(std::int32_t rank, bool failed) {
  const auto it = impl_->ranks.find(rank);
  if (it == impl_->ranks.end()) return;
  it->second.ends = true;
  it->second.failed = failed;
}

bool RankTable::through(std::int32_t num_ranks) const {
  const auto gone = [](const auto& it) { return it.second.ends && !it.second.connected; };
  const auto root = impl_->ranks.find(0);
  if (root != impl_->ranks.end() && root->second.failed && gone(*root)) return true;
  return std::count_if(impl_->ranks.begin(), impl_->ranks.end(), gone) == num_ranks;
}

std::int32_t RankTable::num_connected() const {
  return static_cast<std::int32_t>(
      std::count_if(impl_->ranks.begin(), impl_->ranks.end(),
                    [](const auto& it) { return it.second.connected; }));
}

std::map<std::string, RankTable::Pids> RankTable::pids_by_host() const {
  std::map<std::string, Pids> out;
  for (const auto& [rank, entry] : impl_->ranks) out[entry.host][rank] = entry.pid;
  return out;
}

}  // namespace dlt::supervise
