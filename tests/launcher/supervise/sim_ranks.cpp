// SPDX-License-Identifier: Apache-2.0
// Ranks of the simulation: each step computes, waits for all, saves now and then.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "sim_world.h"

namespace dlt::supervise::sim {

using observe::Phase;

const Injection* World::planned(Hurt hurt, int rank, std::int64_t step) const {
  for (const Injection& one : script_.injections) {
    if (one.hurt == hurt && one.rank == rank && one.step == step) return &one;
  }
  return nullptr;
}

void World::say(Generation& generation, int rank, launcher::FromRank message) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  const auto host = static_cast<std::size_t>(one.host);
  // dlrun's own host is the first.
  const double most_s = one.host == 0 ? std::min(0.02, script_.delay_s) : script_.delay_s;
  double at_s = std::max(one.sent_s, now_s_ + random_.between(0.001, most_s));
  at_s = std::max(at_s, host_cut_until_s_[host] + random_.between(0, script_.delay_s));
  one.sent_s = at_s;
  deliver(at_s - now_s_,
          Heard{.rank = rank, .generation = generation.number, .message = std::move(message)});
}

void World::mark(Generation& generation, int rank, Phase phase) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  one.mark = {.phase = phase, .step = one.step, .row = one.step * 8};
  one.marked_s = now_s_;
  ++one.marks;
  furthest_step_ = std::max(furthest_step_, phase == Phase::start ? -1 : one.step);
  say(generation, rank, launcher::Beat{.mark = one.mark, .mono_s = now_s_, .marks = one.marks});
}

void World::move(Generation& generation, int rank) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  switch (one.doing) {
    case Doing::starting:
      if (one.marks == 0) {
        say(generation, rank,
            launcher::Hello{
                .rank = rank,
                .pid = 1000 + rank,
                .generation = generation.number,
                .host = script_.options.hosts[static_cast<std::size_t>(one.host)].name});
        one.step = generation.from_step;
        mark(generation, rank, Phase::start);
        push(script_.start_s * random_.between(0.5, 1), What::move, rank, generation.number,
             one.ticket);
      } else {
        begin_step(generation, rank);
      }
      return;
    case Doing::computing:
      if (planned(Hurt::poison, rank, one.step) != nullptr &&
          !std::binary_search(generation.skip_steps.begin(), generation.skip_steps.end(),
                              one.step)) {
        process_exits(generation, rank, 11, 0);
        return;
      }
      if (const Injection* fatal = planned(Hurt::fatal, rank, one.step)) {
        fail(generation, rank, static_cast<Exit>(fatal->code), "cannot go on");
        return;
      }
      wait(generation, rank);
      return;
    case Doing::released:
      after_reduce(generation, rank);
      return;
    case Doing::saving:
      commit(generation);
      return;
    case Doing::waiting:
    case Doing::leaving:
      return;
  }
}

void World::begin_step(Generation& generation, int rank) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  if (one.step >= script_.steps) {  // done already, but perhaps not saved
    one.last_wait = true;
    generation.leaves_with = Exit::ok;
    if (rank == 0) {
      save(generation);
    } else {
      wait(generation, rank);
    }
    return;
  }
  one.doing = Doing::computing;
  mark(generation, rank, Phase::data);
  push(script_.compute_s * random_.between(0.8, 1.2), What::move, rank, generation.number,
       one.ticket);
}

void World::wait(Generation& generation, int rank) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  one.doing = Doing::waiting;
  ++one.ticket;
  ++generation.waiting;
  mark(generation, rank, Phase::reduce);
  push(script_.options.fault.hang_timeout_s * random_.between(1, 1.1), What::give_up, rank,
       generation.number, one.ticket);
  release_if_all_wait(generation);
}

void World::release_if_all_wait(Generation& generation) {
  if (generation.waiting < static_cast<int>(generation.ranks.size())) return;
  double after_s = 0.005;
  for (const Rank& one : generation.ranks) {
    const auto host = static_cast<std::size_t>(one.host);
    if (!one.alive || now_s_ < host_dead_until_s_[host]) return;
    after_s = std::max(after_s, host_cut_until_s_[host] - now_s_ + 0.2);
    generation.stop = generation.stop || one.told_to_stop;
  }
  generation.waiting = 0;
  for (std::size_t rank = 0; rank < generation.ranks.size(); ++rank) {
    Rank& one = generation.ranks[rank];
    if (one.doing == Doing::leaving) continue;  // it failed while it waited
    one.doing = Doing::released;
    // Those that give up before the network is back are not released.
    if (after_s < 0.9 * script_.options.fault.hang_timeout_s) ++one.ticket;
    push(after_s, What::move, static_cast<int>(rank), generation.number, one.ticket);
  }
}

void World::after_reduce(Generation& generation, int rank) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  if (one.last_wait) {
    leave(generation, rank);
    return;
  }
  ++one.step;
  if (script_.memory_saves) {
    generation.memory[static_cast<std::size_t>(rank)] = one.step;
    say(generation, rank, launcher::Saved{observe::SavedIn::memory, one.step});
  }
  const bool done = one.step >= script_.steps;
  one.last_wait = done || generation.stop;
  generation.leaves_with = done ? Exit::ok : Exit::preempted;
  if (rank == 0 && (one.last_wait || one.step % script_.save_every == 0)) {
    save(generation);
  } else if (one.last_wait) {
    wait(generation, rank);
  } else {
    begin_step(generation, rank);
  }
}

void World::save(Generation& generation) {
  Rank& root = generation.ranks.front();
  root.doing = Doing::saving;
  mark(generation, 0, Phase::checkpoint);
  push(script_.save_s, What::move, 0, generation.number, root.ticket);
}

/// By rank 0, which looks at the run's generation first: the fence.
void World::commit(Generation& generation) {
  Rank& root = generation.ranks.front();
  if (generation.number != newest()->number) {
    // The files are the same for all hosts: what an old generation would write is refused.
    fail(generation, 0, Exit::peer_lost, "a later generation has started");
    return;
  }
  trace(cat("commit of step ", root.step, " by generation ", generation.number));
  if (root.step < committed_step_ && generation.from_step >= committed_step_) {
    broken("the committed step fell");
  }
  committed_step_ = std::max(committed_step_, root.step);
  say(generation, 0, launcher::Saved{observe::SavedIn::disk, root.step});
  if (root.last_wait) {
    wait(generation, 0);
  } else {
    begin_step(generation, 0);
  }
}

void World::leave(Generation& generation, int rank) {
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  one.doing = Doing::leaving;
  say(generation, rank, launcher::Bye{generation.leaves_with});
  one.exit_code = static_cast<int>(generation.leaves_with);
  push(random_.between(0.01, 0.1), What::exit, rank, generation.number, ++one.ticket);
}

void World::fail(Generation& generation, int rank, Exit exit, const char* text) {
  trace(cat("rank ", rank, " of generation ", generation.number, " fails with ",
            static_cast<int>(exit)));
  Rank& one = generation.ranks[static_cast<std::size_t>(rank)];
  one.doing = Doing::leaving;
  say(generation, rank, launcher::Failed{.exit = exit, .text = text});
  one.exit_code = static_cast<int>(exit);
  push(random_.between(0.001, 0.05), What::exit, rank, generation.number, ++one.ticket);
}

}  // namespace dlt::supervise::sim
