// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/inquiry.h"

#include <chrono>
#include <csignal>
#include <utility>

#include <boost/asio/steady_timer.hpp>

#include "base/text.h"
#include "launcher/supervise/findings.h"
#include "launcher/supervise/remote.h"

namespace dlt::supervise {
namespace {

constexpr std::chrono::milliseconds kStacks{500};  // for ranks to write their stacks

}  // namespace

struct Inquiry::Impl {
  Impl(boost::asio::io_context& context, Children& of_children, const RankTable& of_ranks,
       Options with)
      : children(of_children), ranks(of_ranks), options(std::move(with)), stacks(context) {}

  [[nodiscard]] bool own(const std::string& host) const { return is_own(reach(), host); }
  [[nodiscard]] const Reach& reach() const { return options.setup.reach; }

  Children& children;
  const RankTable& ranks;
  Options options;
  boost::asio::steady_timer stacks;
};

Inquiry::Inquiry(boost::asio::io_context& context, Children& children, const RankTable& ranks,
                 Options options)
    : impl_(std::make_unique<Impl>(context, children, ranks, std::move(options))) {}

Inquiry::~Inquiry() = default;

std::string Inquiry::way_back(const std::string& host) const {
  return impl_->own(host) ? "" : way_back_script(impl_->options.control_address);
}

void Inquiry::ask_whether_gone(std::int32_t rank, std::int64_t generation) {
  const RankTable::Place place = impl_->ranks.place(rank);
  if (!impl_->ranks.missed(rank) || impl_->own(place.host)) return;
  const std::string script = cat("kill -0 ", place.pid, " 2> /dev/null || echo gone");
  impl_->children.run({on_host(impl_->reach(), place.host, script)}, kLook_s,
                      [this, rank, generation](const auto& results) {
                        if (!results.front().good() || results.front().out != "gone\n") return;
                        impl_->options.tell(ProcessGone{.rank = rank, .generation = generation});
                      });
}

void Inquiry::collect_stacks(const CollectStacks& collect) {
  for (const auto& [host, pids] : impl_->ranks.pids_by_host()) {
    std::string script;
    for (const auto& [rank, pid] : pids) {
      if (impl_->own(host)) {
        kill(static_cast<pid_t>(pid), SIGUSR2);
      } else {
        script += cat("kill -USR2 ", pid, "\n");
      }
    }
    if (script.empty()) continue;
    impl_->children.run({on_host(impl_->reach(), host, script)}, kLook_s, [](const auto&) {});
  }
  impl_->stacks.expires_after(kStacks);
  impl_->stacks.async_wait([this, generation = collect.generation](const auto& failure) {
    if (!failure) impl_->options.tell(StacksCollected{.generation = generation});
  });
}

void Inquiry::check_hosts(const CheckHosts& check) {
  std::vector<Words> commands;
  for (const std::string& host : check.hosts) {
    commands.push_back(on_host(impl_->reach(), host, way_back(host)));
  }
  impl_->children.run(commands, kLook_s, [this, hosts = check.hosts](const auto& results) {
    HostsChecked out;
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i].good()) out.up.push_back(hosts[i]);
    }
    impl_->options.tell(out);
  });
}

void Inquiry::read_rings(const ReadRings& read) {
  const JobSetup& setup = impl_->options.setup;
  RingsRead found{.generation = read.generation, .ranks = {}};
  std::vector<Words> commands;
  for (const auto& [host, pids] : impl_->ranks.pids_by_host()) {
    if (!impl_->own(host)) {
      commands.push_back(on_host(impl_->reach(), host, findings_script(setup.memory_dir, pids)));
      continue;
    }
    for (const auto& [rank, pid] : pids) {
      found.ranks.push_back(
          find_here(setup.memory_dir, rank, static_cast<pid_t>(pid), impl_->options.clock));
    }
  }
  impl_->children.run(commands, kLook_s, [this, found](const auto& results) mutable {
    for (const CommandResult& result : results) {
      for (RankFinding& one : parse_findings(result.out)) found.ranks.push_back(std::move(one));
    }
    for (RankFinding& one : found.ranks) {
      one.log_lines = last_log_lines(impl_->options.setup.config.run_dir, one.rank);
    }
    impl_->options.tell(found);
  });
}

}  // namespace dlt::supervise
