// SPDX-License-Identifier: Apache-2.0
// A simulated cluster around a Supervisor: clock, network, starter, ranks, storage.
#pragma once

#include <cstdint>
#include <queue>
#include <string>
#include <vector>

#include "launcher/supervise/supervisor.h"
#include "sim_script.h"

namespace dlt::supervise::sim {

/// A fault as dlrun named it.
struct Named {
  std::string kind;
  std::int64_t rank = -1;
  std::string host;
};

struct Outcome {
  bool ended = false;
  Exit exit = Exit::ok;
  double ended_s = 0;
  int launches = 0;
  int restarts = 0;  // launches after a fault
  std::vector<Named> named;
  std::vector<std::string> broken;  // invariants
};

class World {
 public:
  World(Script script, bool traced);
  [[nodiscard]] Outcome run();

 private:
  enum class What : std::uint8_t {
    deliver,  // an event to dlrun
    move,     // a rank's work of the moment is done
    give_up,  // a rank has waited long enough for its peers
    inject,
    heal,
    starter_sees,  // that a process ended
    starter_ended,
    exit,   // of a rank's process
    launch  // the processes of a generation appear
  };
  struct Item {
    double at_s = 0;
    std::uint64_t order = 0;
    What what = What::deliver;
    int a = 0;  // rank, injection or payload
    std::int64_t generation = 0;
    std::uint32_t ticket = 0;  // of the rank: items with an older one are void
    [[nodiscard]] bool operator<(const Item& other) const {  // the queue's top is the earliest
      return at_s != other.at_s ? at_s > other.at_s : order > other.order;
    }
  };
  enum class Doing : std::uint8_t { starting, computing, waiting, released, saving, leaving };
  struct Rank {
    int host = 0;
    bool alive = false;
    bool hung = false;
    double stopped_until_s = 0;
    Doing doing = Doing::starting;
    bool last_wait = false;  // for the end of the last save
    std::int64_t step = 0;
    observe::Mark mark;
    double marked_s = 0;
    std::int64_t marks = 0;
    std::uint32_t ticket = 0;
    double sent_s = 0;  // messages of a rank arrive in their order
    bool told_to_stop = false;
    bool out_of_reach = false;  // when its generation was swept
    int signal = 0;
    int exit_code = 0;
  };
  struct Generation {
    std::int64_t number = 0;
    std::vector<Rank> ranks;
    std::vector<std::int64_t> skip_steps;
    std::int64_t from_step = 0;
    int waiting = 0;
    bool stop = false;  // the ranks decided to
    bool starter_lives = true;
    bool starter_killing = false;
    int first_code = 0;
    std::vector<std::int64_t> memory;  // a rank's newest saved step; -1: none
    Exit leaves_with = Exit::ok;
  };

  // The cluster (sim_cluster.cpp).
  void push(double after_s, What what, int a, std::int64_t generation, std::uint32_t ticket = 0);
  void push_at(double at_s, What what, int a, std::int64_t generation, std::uint32_t ticket);
  void deliver(double after_s, Event event);
  void inject(const Injection& one, int index);
  void heal(const Injection& one);
  void end_cut_off(const Injection& one);
  void hurt_rank(Generation& generation, int rank, const Injection& one);
  void starter_sees(Generation& generation);
  void starter_ended(Generation& generation);
  void process_exits(Generation& generation, int rank, int signal, int exit_code);
  void appear(Generation& generation);
  void kill_reachable(std::int64_t up_to, double within_s);
  [[nodiscard]] bool reachable(int host) const;

  // Ranks (sim_ranks.cpp).
  void move(Generation& generation, int rank);
  void begin_step(Generation& generation, int rank);
  void wait(Generation& generation, int rank);
  void release_if_all_wait(Generation& generation);
  void after_reduce(Generation& generation, int rank);
  void save(Generation& generation);
  void commit(Generation& generation);
  void leave(Generation& generation, int rank);
  void fail(Generation& generation, int rank, Exit exit, const char* text);
  void mark(Generation& generation, int rank, observe::Phase phase);
  void say(Generation& generation, int rank, launcher::FromRank message);
  [[nodiscard]] const Injection* planned(Hurt hurt, int rank, std::int64_t step) const;

  // dlrun (sim_world.cpp).
  void act(std::vector<Action> actions);
  void act(const Launch& launch);
  void act(const KillJob& kill);
  void act(const SendStop& stop);
  void act(const CollectStacks& collect);
  void act(const CheckHosts& check);
  void act(const ReadRings& read);
  void act(const Report& report);
  void act(const LogEvent& event);
  void act(const End& end);
  void step(const Item& item);
  void check_end();
  void note_fatal(const Heard& heard);
  void broken(const std::string& what) { outcome_.broken.push_back(what); }
  void trace(const std::string& line);
  [[nodiscard]] Generation& generation(std::int64_t number);
  [[nodiscard]] Generation* newest();

  Script script_;
  bool traced_;
  Random random_;
  Supervisor supervisor_;
  Outcome outcome_;
  double now_s_ = 0;
  std::uint64_t order_ = 0;
  std::priority_queue<Item> queue_;
  std::vector<Event> payloads_;
  std::vector<int> free_payloads_;
  std::vector<Generation> generations_;
  std::vector<double> host_dead_until_s_, host_cut_until_s_;
  double paused_until_s_ = 0;
  std::int64_t committed_step_ = -1;
  std::int64_t furthest_step_ = -1;
  std::int64_t committed_before_ = -1, furthest_before_ = -1;  // at the launch before
  int without_progress_ = 0;
  bool stop_asked_ = false;
  bool corrupted_ = false;
  std::vector<int> fatal_heard_;          // codes that are never tried again and reached dlrun
  const Injection* effective_ = nullptr;  // the first that hurt somebody
};

}  // namespace dlt::supervise::sim
