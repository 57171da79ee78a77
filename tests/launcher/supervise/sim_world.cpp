// SPDX-License-Identifier: Apache-2.0
// dlrun's part of the simulation: it does what the supervisor says, and the invariants.
#include "sim_world.h"

#include <algorithm>
#include <iostream>
#include <utility>

#include "base/text.h"

namespace dlt::supervise::sim {
namespace {

constexpr double kLongest_s = 6 * 3600;

}  // namespace

World::World(Script script, bool traced)
    : script_(std::move(script)),
      traced_(traced),
      random_(script_.seed ^ 0x5eed),
      supervisor_(script_.options) {
  host_dead_until_s_.assign(script_.options.hosts.size(), 0);
  host_cut_until_s_ = host_dead_until_s_;
  for (std::size_t i = 0; i < script_.injections.size(); ++i) {
    push(script_.injections[i].at_s, What::inject, static_cast<int>(i), 0);
  }
}

Outcome World::run() {
  act(supervisor_.start(0));
  while (!outcome_.ended && outcome_.broken.empty()) {
    const double due_s = std::max(supervisor_.next_deadline_s(), paused_until_s_);
    if (queue_.empty() || due_s <= queue_.top().at_s) {
      now_s_ = std::max(now_s_, due_s);
      if (now_s_ > kLongest_s) {
        broken("the run did not end");
        break;
      }
      act(supervisor_.handle(now_s_, Tick{}));
      continue;
    }
    const Item item = queue_.top();
    queue_.pop();
    now_s_ = std::max(now_s_, item.at_s);
    step(item);
  }
  outcome_.ended_s = now_s_;
  if (outcome_.broken.empty()) check_end();
  return std::move(outcome_);
}

void World::step(const Item& item) {
  if (item.what == What::inject)
    return inject(script_.injections[static_cast<std::size_t>(item.a)], item.a);
  if (item.what == What::heal) return heal(script_.injections[static_cast<std::size_t>(item.a)]);
  if (item.what == What::deliver) {
    if (now_s_ < paused_until_s_) {
      push_at(paused_until_s_, item.what, item.a, item.generation, 0);
      return;
    }
    const Event event = std::move(payloads_[static_cast<std::size_t>(item.a)]);
    free_payloads_.push_back(item.a);
    if (std::holds_alternative<StopAsked>(event)) stop_asked_ = true;
    if (const auto* heard = std::get_if<Heard>(&event)) note_fatal(*heard);
    act(supervisor_.handle(now_s_, event));
    return;
  }
  Generation& one = generation(item.generation);
  if (item.what == What::launch) return appear(one);
  if (item.what == What::starter_sees) return starter_sees(one);
  if (item.what == What::starter_ended) return starter_ended(one);
  Rank& rank = one.ranks[static_cast<std::size_t>(item.a)];
  if (!rank.alive || item.ticket != rank.ticket) return;
  if (item.what == What::exit) return process_exits(one, item.a, rank.signal, rank.exit_code);
  if (rank.hung) return;
  if (now_s_ < rank.stopped_until_s) {
    push_at(rank.stopped_until_s, item.what, item.a, item.generation, item.ticket);
  } else if (item.what == What::move) {
    move(one, item.a);
  } else if (item.what == What::give_up) {
    fail(one, item.a, Exit::peer_lost, "waited for a peer");
  }
}

/// After this the run must end, with this code.
void World::note_fatal(const Heard& heard) {
  const auto* failed = std::get_if<launcher::Failed>(&heard.message);
  if (failed == nullptr || heard.generation != newest()->number) return;
  const int code = static_cast<int>(failed->exit);
  if (std::find(kFatalCodes.begin(), kFatalCodes.end(), code) != kFatalCodes.end()) {
    fatal_heard_.push_back(code);
  }
}

World::Generation& World::generation(std::int64_t number) {
  return generations_[static_cast<std::size_t>(number - 1)];
}

World::Generation* World::newest() { return generations_.empty() ? nullptr : &generations_.back(); }

void World::trace(const std::string& line) {
  if (traced_) std::cout << cat(now_s_, ": ", line, "\n");
}

void World::act(std::vector<Action> actions) {
  for (const Action& action : actions) {
    if (outcome_.ended) broken("an action after the end");
    std::visit([this](const auto& one) { act(one); }, action);
  }
}

void World::act(const Launch& launch) {
  trace(cat("launch of generation ", launch.generation, " with ", launch.ranks, " ranks"));
  if (launch.generation != static_cast<std::int64_t>(generations_.size()) + 1) {
    broken("generations do not count up");
  }
  for (const Generation& old : generations_) {
    for (const Rank& rank : old.ranks) {
      if (rank.alive && !rank.out_of_reach) broken("two generations at once on one host");
    }
  }
  if (!fatal_heard_.empty()) broken(cat("code ", fatal_heard_.front(), " was tried again"));
  if (stop_asked_) broken("a launch after a stop was asked for");
  if (launch.ranks < script_.options.fault.min_ranks || launch.ranks > script_.options.ranks) {
    broken(cat(launch.ranks, " ranks were launched"));
  }
  std::int64_t committed_step = committed_step_;
  for (const Generation& old : generations_) {
    const auto least = std::min_element(old.memory.begin(), old.memory.end());
    committed_step = std::max(committed_step, *least);
  }
  const bool progress = committed_step > committed_before_ || furthest_step_ > furthest_before_;
  const bool after_fault = newest() != nullptr && !newest()->stop;
  if (after_fault) {
    ++outcome_.restarts;
    without_progress_ = progress ? 0 : without_progress_ + 1;
    if (without_progress_ > script_.options.fault.max_restarts ||
        script_.options.fault.max_restarts == 0) {
      broken("more restarts than the budget has");
    }
  }
  committed_before_ = std::max(committed_before_, committed_step);
  furthest_before_ = std::max(furthest_before_, furthest_step_);
  ++outcome_.launches;
  Generation next;
  next.number = launch.generation;
  next.skip_steps = launch.skip_steps;
  next.memory.assign(static_cast<std::size_t>(launch.ranks), -1);
  int sum = 0;
  for (const HostSlots& host : launch.hosts) {
    sum += host.slots;
    const int index = host.name.front() - 'a';
    if (host.slots > script_.options.hosts[static_cast<std::size_t>(index)].slots) {
      broken("more ranks on a host than it takes");
    }
    for (int i = 0; i < host.slots; ++i) {
      Rank rank;
      rank.host = index;
      next.ranks.push_back(rank);
    }
  }
  if (sum != launch.ranks) broken("slots do not add up to the ranks");
  if (Generation* old = newest(); old != nullptr && script_.memory_saves) {
    const auto least = std::min_element(old->memory.begin(), old->memory.end());
    next.from_step = std::max<std::int64_t>(0, *least);
  }
  next.from_step = std::max(next.from_step, committed_step_);
  if (corrupted_) next.from_step = std::max<std::int64_t>(0, committed_step_ - script_.save_every);
  corrupted_ = false;
  generations_.push_back(std::move(next));
  push(random_.between(0.02, 0.3), What::launch, 0, launch.generation);
}

void World::act(const KillJob& kill) {
  trace(cat("kill of generation ", kill.generation));
  kill_reachable(kill.generation, 0.4);
  Generation& one = generation(kill.generation);
  one.starter_lives = false;
  for (Rank& rank : one.ranks) rank.out_of_reach = !reachable(rank.host);
  Swept swept{.generation = kill.generation};
  for (std::size_t host = 0; host < script_.options.hosts.size(); ++host) {
    const bool used = std::any_of(one.ranks.begin(), one.ranks.end(), [&](const Rank& rank) {
      return rank.host == static_cast<int>(host);
    });
    if (used && !reachable(static_cast<int>(host))) {
      swept.unreachable.push_back(script_.options.hosts[host].name);
    }
  }
  deliver(random_.between(0.45, 0.8), swept);
}

void World::act(const SendStop& stop) {
  Generation* one = newest();
  if (one == nullptr) return;
  for (std::size_t rank = 0; rank < one->ranks.size(); ++rank) {
    if (stop.rank >= 0 && stop.rank != static_cast<int>(rank)) continue;
    if (reachable(one->ranks[rank].host)) one->ranks[rank].told_to_stop = true;
  }
}

void World::act(const CollectStacks& collect) {
  if (random_.chance(0.7)) {
    deliver(random_.between(0.05, 0.3), StacksCollected{.generation = collect.generation});
  }
}

void World::act(const CheckHosts& check) {
  HostsChecked checked;
  for (const std::string& name : check.hosts) {
    if (reachable(name.front() - 'a')) checked.up.push_back(name);
  }
  // One that does not answer makes the look as long as it may be.
  const bool all = checked.up.size() == check.hosts.size();
  deliver(all ? random_.between(0.02, 0.3) : random_.between(0.5, 0.9), checked);
}

void World::act(const ReadRings& read) {
  Generation& one = generation(read.generation);
  RingsRead found{.generation = read.generation};
  const double later_s = random_.between(0.01, 0.1);
  for (std::size_t i = 0; i < one.ranks.size(); ++i) {
    const Rank& rank = one.ranks[i];
    if (!reachable(rank.host) || rank.marks == 0 || !random_.chance(script_.rings_seen)) continue;
    RankFinding finding{.rank = static_cast<std::int32_t>(i), .read_mono_s = now_s_ + later_s};
    finding.process_state = !rank.alive ? 'X' : now_s_ < rank.stopped_until_s ? 'T' : 'S';
    finding.ring.emplace();
    finding.ring->owner = {.rank = finding.rank, .pid = 1000, .generation = one.number};
    finding.ring->num_written = rank.marks;
    finding.ring->events.push_back({.mono_s = rank.marked_s, .mark = rank.mark});
    found.ranks.push_back(std::move(finding));
  }
  deliver(later_s, std::move(found));
}

void World::act(const Report& report) {
  trace(report.text);
  if (report.text.empty() || report.text.back() != '\n') broken("a report without a last line");
}

void World::act(const LogEvent& event) {
  trace(cat("event ", event.name));
  if (event.name != "fault") return;
  Named named;
  for (const auto& [key, value] : event.fields) {
    if (key == "kind") named.kind = std::get<std::string>(value);
    if (key == "rank") named.rank = std::get<std::int64_t>(value);
    if (key == "host") named.host = std::get<std::string>(value);
  }
  outcome_.named.push_back(std::move(named));
}

void World::act(const End& end) {
  trace(cat("end with ", static_cast<int>(end.exit)));
  outcome_.ended = true;
  outcome_.exit = end.exit;
}

void World::check_end() {
  const Exit exit = outcome_.exit;
  const auto all = [&](auto rule) {
    return std::all_of(script_.injections.begin(), script_.injections.end(),
                       [&](const Injection& one) { return rule(one.hurt); });
  };
  if (all(legal) && (outcome_.restarts > 0 || exit != Exit::ok || !outcome_.named.empty())) {
    broken("something came of legal pauses");
  }
  if (exit == Exit::ok && committed_step_ < script_.steps) broken("0 before the last step");
  if (exit == Exit::preempted && committed_step_ < 0) broken("75 and nothing saved");
  if (exit == Exit::preempted && !stop_asked_) broken("75 and nobody asked");
  const auto code = std::find(fatal_heard_.begin(), fatal_heard_.end(), static_cast<int>(exit));
  if (!fatal_heard_.empty() && code == fatal_heard_.end()) {
    broken(cat("code ", fatal_heard_.front(), " became ", static_cast<int>(exit)));
  }
  for (const Generation& one : generations_) {
    for (const Rank& rank : one.ranks) {
      if (rank.alive && !rank.out_of_reach) broken("a process is left behind");
    }
  }
  const bool host_fault = effective_ != nullptr && (effective_->hurt == Hurt::host_dies ||
                                                    effective_->hurt == Hurt::long_cut);
  const bool single =
      script_.injections.size() == 1 && effective_ != nullptr && has_victim(effective_->hurt);
  if (!single) return;
  const bool no_host = host_fault && exit == Exit::unavailable;  // at the first start
  if (no_host) return;
  if (outcome_.named.empty()) return broken("a fault was not noticed");
  const Named& named = outcome_.named.front();
  const std::string host(1, static_cast<char>('a' + effective_->host));
  if (host_fault ? named.host != host : named.rank != effective_->rank) {
    broken(cat("blamed: rank ", named.rank, " on ", named.host, ", ", named.kind));
  }
  if (script_.options.fault.max_restarts > 1 && exit != Exit::ok) {
    broken(cat("one fault ended the run with ", static_cast<int>(exit)));
  }
}

}  // namespace dlt::supervise::sim
