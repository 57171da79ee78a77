// SPDX-License-Identifier: Apache-2.0
// Hosts, network and starter of the simulation, and what is done to them.
#include <algorithm>
#include <csignal>
#include <utility>

#include "base/text.h"
#include "launcher/supervise/exit_rules.h"
#include "sim_world.h"

namespace dlt::supervise::sim {

void World::push(double after_s, What what, int a, std::int64_t generation, std::uint32_t ticket) {
  push_at(now_s_ + after_s, what, a, generation, ticket);
}

void World::push_at(double at_s, What what, int a, std::int64_t generation, std::uint32_t ticket) {
  queue_.push({.at_s = at_s,
               .order = order_++,
               .what = what,
               .a = a,
               .generation = generation,
               .ticket = ticket});
}

void World::deliver(double after_s, Event event) {
  int slot = 0;
  if (free_payloads_.empty()) {
    slot = static_cast<int>(payloads_.size());
    payloads_.push_back(std::move(event));
  } else {
    slot = free_payloads_.back();
    free_payloads_.pop_back();
    payloads_[static_cast<std::size_t>(slot)] = std::move(event);
  }
  push(after_s, What::deliver, slot, 0);
}

bool World::reachable(int host) const {
  const auto i = static_cast<std::size_t>(host);
  return now_s_ >= host_dead_until_s_[i] && now_s_ >= host_cut_until_s_[i];
}

void World::appear(Generation& generation) {
  if (!generation.starter_lives) return;
  const bool no_start =
      std::any_of(script_.injections.begin(), script_.injections.end(),
                  [](const Injection& one) { return one.hurt == Hurt::no_start; });
  if (no_start) {
    deliver(0.5, JobEnded{.generation = generation.number,
                          .exit_code = 1,
                          .last_lines = {"There are not enough slots available"}});
    return;
  }
  for (const Rank& rank : generation.ranks) {
    if (reachable(rank.host)) continue;
    deliver(1.1, JobEnded{.generation = generation.number, .exit_code = 1});
    return;
  }
  for (std::size_t rank = 0; rank < generation.ranks.size(); ++rank) {
    generation.ranks[rank].alive = true;
    push(random_.between(0.05, 0.5), What::move, static_cast<int>(rank), generation.number, 0);
  }
}

void World::process_exits(Generation& generation, int rank, int signal, int exit_code) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  one.alive = false;
  trace(cat("rank ", rank, " of generation ", generation.number, " is gone, signal ", signal,
            ", code ", exit_code));
  if (reachable(one.host)) {
    const bool own_host = one.host == 0;
    if (own_host) {
      deliver(random_.between(0.001, 0.03),
              ProcessGone{.rank = rank, .generation = generation.number});
    }
    const double at_s = std::max(one.sent_s, now_s_ + random_.between(0.001, script_.delay_s));
    deliver(at_s - now_s_, Disconnected{.rank = rank, .generation = generation.number});
  }
  const bool abnormal =
      signal != 0 || one.doing != Doing::leaving || (exit_code != 0 && exit_code != 75);
  const bool all_gone = std::none_of(generation.ranks.begin(), generation.ranks.end(),
                                     [](const Rank& other) { return other.alive; });
  if (!generation.starter_lives || !reachable(one.host)) return;
  if (abnormal && generation.first_code == 0) {
    generation.first_code = signal != 0 ? 128 + signal : exit_code;
    push(random_.between(0.3, 1), What::starter_sees, 0, generation.number);
  }
  if (all_gone && !generation.starter_killing) {
    if (generation.first_code == 0) generation.first_code = exit_code;
    push(0.05, What::starter_ended, 0, generation.number);
  }
}

/// That a process failed: it ends the others.
void World::starter_sees(Generation& generation) {
  if (!generation.starter_lives || generation.starter_killing) return;
  generation.starter_killing = true;
  for (std::size_t rank = 0; rank < generation.ranks.size(); ++rank) {
    Rank& one = generation.ranks[rank];
    if (!one.alive || !reachable(one.host)) continue;
    one.signal = random_.chance(0.5) ? SIGKILL : SIGTERM;
    push(random_.between(0.01, 0.6), What::exit, static_cast<int>(rank), generation.number,
         ++one.ticket);
  }
  push(0.7, What::starter_ended, 0, generation.number);
}

void World::starter_ended(Generation& generation) {
  if (!generation.starter_lives) return;
  generation.starter_lives = false;
  deliver(0.005, JobEnded{.generation = generation.number, .exit_code = generation.first_code});
}

void World::kill_reachable(std::int64_t up_to, double within_s) {
  for (Generation& one : generations_) {
    if (one.number > up_to) continue;
    for (std::size_t rank = 0; rank < one.ranks.size(); ++rank) {
      Rank& process = one.ranks[rank];
      if (!process.alive || !reachable(process.host)) continue;
      process.signal = SIGKILL;
      push(random_.between(0.01, within_s), What::exit, static_cast<int>(rank), one.number,
           ++process.ticket);
    }
  }
}

void World::hurt_rank(Generation& generation, int rank, const Injection& one) {
  Rank& victim = generation.ranks[static_cast<std::size_t>(rank)];
  switch (one.hurt) {
    case Hurt::kill:
    case Hurt::memory:
      process_exits(generation, rank, SIGKILL, 0);
      return;
    case Hurt::segfault:
      process_exits(generation, rank, SIGSEGV, 0);
      return;
    case Hurt::exception:
      fail(generation, rank, static_cast<Exit>(one.code), "something is wrong");
      return;
    case Hurt::short_stop:
      victim.stopped_until_s = now_s_ + one.for_s;
      return;
    case Hurt::long_stop:
      victim.stopped_until_s = 1e9;
      return;
    default:
      victim.hung = true;
  }
}

void World::inject(const Injection& one, int index) {
  Generation* job = newest();
  const auto host = static_cast<std::size_t>(one.host);
  trace(cat("injection: ", name(one.hurt), ", rank ", one.rank, ", host ", one.host));
  switch (one.hurt) {
    case Hurt::kill:
    case Hurt::segfault:
    case Hurt::exception:
    case Hurt::memory:
    case Hurt::long_stop:
    case Hurt::hang:
    case Hurt::short_stop: {
      if (job == nullptr || one.rank >= static_cast<int>(job->ranks.size())) return;
      Rank& victim = job->ranks[static_cast<std::size_t>(one.rank)];
      if (!victim.alive || victim.doing == Doing::leaving) return;
      if (effective_ == nullptr && has_victim(one.hurt)) effective_ = &one;
      if (one.hurt == Hurt::memory) {
        const std::string where = script_.options.hosts[static_cast<std::size_t>(victim.host)].name;
        deliver(random_.between(0, 0.2), OutOfMemory{.host = where});
      }
      hurt_rank(*job, one.rank, one);
      return;
    }
    case Hurt::short_cut:
    case Hurt::long_cut:
    case Hurt::host_dies: {
      const bool dies = one.hurt == Hurt::host_dies;
      (dies ? host_dead_until_s_ : host_cut_until_s_)[host] = now_s_ + one.for_s;
      push(one.for_s, What::heal, index, 0);
      const double end_s = 2 * script_.options.fault.hang_timeout_s;
      if (one.hurt == Hurt::long_cut && one.for_s > end_s) push(end_s, What::heal, index, 0);
      if (job == nullptr) return;
      bool used = false;
      for (Generation& generation : generations_) {
        for (Rank& rank : generation.ranks) {
          if (rank.host != one.host || !rank.alive) continue;
          used = used || (&generation == job && rank.doing != Doing::leaving);
          if (dies) rank.alive = false;
        }
      }
      if (used && has_victim(one.hurt) && effective_ == nullptr) effective_ = &one;
      if (dies && used && job->starter_lives && random_.chance(0.5)) {
        // It starts anew: its connections are refused, dlrun's and the starter's.
        for (std::size_t rank = 0; rank < job->ranks.size(); ++rank) {
          if (job->ranks[rank].host != one.host) continue;
          deliver(random_.between(0.1, 0.3),
                  Disconnected{.rank = static_cast<int>(rank), .generation = job->number});
        }
        job->first_code = 205;
        push(0.3, What::starter_sees, 0, job->number);
      }
      return;
    }
    case Hurt::short_pause:
    case Hurt::long_pause: {
      paused_until_s_ = std::max(paused_until_s_, now_s_ + one.for_s);
      push(one.for_s, What::heal, index, 0);
      return;
    }
    case Hurt::starter_dies:
      if (job == nullptr || !job->starter_lives) return;
      job->starter_lives = false;
      kill_reachable(job->number, 1.0);
      deliver(0.01, JobEnded{.generation = job->number, .signal = SIGKILL});
      return;
    case Hurt::user_stop:
    case Hurt::user_stop_twice:
      deliver(0, StopAsked{.grace_s = one.for_s, .signal = SIGINT});
      if (one.hurt == Hurt::user_stop_twice) {
        deliver(random_.between(0.1, 3), StopAsked{.signal = SIGINT});
      }
      return;
    case Hurt::corruption:
      corrupted_ = true;
      return;
    case Hurt::fatal:
    case Hurt::poison:
    case Hurt::no_start:
      return;  // of the ranks or the starter
  }
}

/// What is cut off from dlrun ends by itself; what comes back and is of an old generation, too.
void World::end_cut_off(const Injection& one) {
  for (Generation& generation : generations_) {
    const bool old = generation.number != newest()->number || !generation.starter_lives;
    for (std::size_t rank = 0; rank < generation.ranks.size(); ++rank) {
      Rank& process = generation.ranks[rank];
      if (!process.alive || process.host != one.host) continue;
      const bool heard_again = one.hurt == Hurt::short_cut || reachable(one.host);
      if (process.signal != 0 || (!old && heard_again)) continue;
      process.exit_code = static_cast<int>(Exit::peer_lost);
      push(random_.between(0.1, 1), What::exit, static_cast<int>(rank), generation.number,
           ++process.ticket);
    }
  }
}

void World::heal(const Injection& one) {
  Generation* job = newest();
  const bool cut = one.hurt == Hurt::long_cut || one.hurt == Hurt::short_cut;
  if (cut && job != nullptr) end_cut_off(one);
  if (one.hurt != Hurt::long_pause || job == nullptr) return;
  // Ranks that hear nothing of dlrun for so long end by themselves.
  if (one.for_s < 2 * script_.options.fault.hang_timeout_s) return;
  for (std::size_t rank = 0; rank < job->ranks.size(); ++rank) {
    Rank& process = job->ranks[rank];
    if (process.alive && process.doing != Doing::leaving) {
      fail(*job, static_cast<int>(rank), Exit::peer_lost, "dlrun is gone");
    }
  }
}

}  // namespace dlt::supervise::sim
