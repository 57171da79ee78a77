// SPDX-License-Identifier: Apache-2.0
// The supervisor's state and steps, spread over supervisor.cpp (what comes in), lifecycle.cpp
// (starting, stopping, ending generations) and incident.cpp (from a fault to its verdict).
#pragma once

#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "launcher/supervise/blame.h"
#include "launcher/supervise/exit_rules.h"
#include "launcher/supervise/host_pool.h"
#include "launcher/supervise/own_pauses.h"
#include "launcher/supervise/phase_times.h"
#include "launcher/supervise/rank_view.h"
#include "launcher/supervise/restart_policy.h"
#include "launcher/supervise/stragglers.h"
#include "launcher/supervise/supervisor.h"
#include "launcher/supervise/verdict.h"

namespace dlt::supervise {

struct Supervisor::Impl {
  enum class State : std::uint8_t {
    idle,         // not started
    running,      // a generation lives
    settling,     // something is wrong: other evidence may follow
    asking,       // for rings, stacks, hosts
    sweeping,     // the generation is being ended; what then is decided (plan_)
    backing_off,  // until the next generation starts
    seeking,      // hosts, for at least min_ranks
    ended
  };

  /// What follows once the generation is swept.
  struct Plan {
    std::optional<Exit> end;
    double backoff_s = 0;
    bool counts = false;  // as a restart
  };

  struct Stopping {
    launcher::Stop stop;
    double deadline_s = 0;
  };

  /// To be told once the new generation's first step is known.
  struct RestartNote {
    std::int64_t expected_step = 0;
    double backoff_s = 0;
  };

  explicit Impl(SupervisorOptions given);

  // What comes in (supervisor.cpp).
  void on(const Heard& event);
  void on(const Disconnected& event);
  void on(const ProcessGone& event);
  void on(const JobEnded& event);
  void on(const Swept& event);
  void on(const StopAsked& event);
  void on(const HostsChecked& event);
  void on(const StacksCollected& event);
  void on(const RingsRead& event);
  void on(const OutOfMemory& event);
  void on(const Tick& event);
  void hear(std::int32_t rank, const launcher::Hello& hello);
  void hear(std::int32_t rank, const launcher::Beat& beat);
  void hear(std::int32_t rank, const launcher::Saved& saved);
  void hear(std::int32_t rank, const launcher::Failed& failed);
  void hear(std::int32_t rank, const launcher::Bye& bye);
  /// Does what has come due.
  void look();
  void look_at_running();
  [[nodiscard]] double next_due_s() const;

  // A generation's life (lifecycle.cpp).
  void launch_or_seek();
  void launch(std::int32_t ranks);
  void seek();
  void sweep(Plan plan);
  void after_sweep();
  void end(Exit exit);
  void send_stop(std::int32_t rank);
  void stop_now(const std::string& why);
  void finish_if_done();
  void conclude(const Ending& how);
  void grow_if_possible();
  void note_restart(std::int64_t from_step);
  void note_commit();
  [[nodiscard]] Exit stopped_exit() const;
  /// A code that is never tried again, heard of at whatever time.
  [[nodiscard]] std::optional<Exit> last_word() const;
  [[nodiscard]] std::int32_t wanted() const;
  [[nodiscard]] bool lives() const;  // processes of this generation may be there

  // From a fault to its verdict (incident.cpp).
  /// Sets overdue. Returns when the first rank will be overdue if nothing is heard of it: in the
  /// past if one is.
  double find_overdue(std::vector<RankView>& ranks) const;
  [[nodiscard]] bool agreed_to_end() const;
  void open_incident(bool silence);
  void ask();
  void judge_if_answered();
  void judge();
  void conclude_told(const Ending& how);
  void restart_after(Fault fault);
  [[nodiscard]] bool nothing_ended() const;
  void resume();
  void log_fault(const Fault& fault);
  [[nodiscard]] Outlook outlook() const;

  void act(Action action) { out_.push_back(std::move(action)); }
  void log(std::string event, observe::Fields fields) {
    act(LogEvent{.name = std::move(event), .fields = std::move(fields)});
  }
  [[nodiscard]] bool current(std::int64_t generation) const { return generation == generation_; }
  [[nodiscard]] bool has_rank(std::int32_t rank) const {
    return rank >= 0 && static_cast<std::size_t>(rank) < ranks_.size();
  }
  [[nodiscard]] RankView& rank_view(std::int32_t rank) {
    return ranks_[static_cast<std::size_t>(rank)];
  }

  SupervisorOptions options_;
  RestartPolicy policy_;
  HostPool pool_;
  PhaseTimes times_;
  Stragglers stragglers_;
  OwnPauses pauses_;
  std::vector<Action> out_;

  State state_ = State::idle;
  double now_s_ = 0;       // of the supervision
  double due_s_ = 0;       // of the state, where it has a deadline
  double started_s_ = 0;   // the run
  double stepping_s_ = 0;  // time in which generations made steps, those before this one
  double steps_began_s_ = RankView::kNever;  // of this generation

  std::int64_t generation_ = 0;
  std::vector<HostSlots> placement_;
  std::vector<RankView> ranks_;
  History history_;
  Progress progress_;
  std::int64_t disk_step_ = -1;
  std::int64_t memory_step_ = -1;  // that all of this generation's ranks hold
  std::int64_t restarts_ = 0;
  std::int64_t steps_lost_ = 0;
  std::optional<RestartNote> restart_note_;

  Evidence evidence_;                 // of this generation
  std::set<std::string> lost_hosts_;  // of this generation, by the verdict or as they were swept
  bool rings_due_ = false, stacks_due_ = false, hosts_due_ = false;  // answers
  double look_again_s_ = 0;  // at silence that turned out to be none
  double next_look_s_ = 0;   // at a running generation

  Plan plan_;
  int sweeps_ = 0;
  std::optional<Stopping> stopping_;
  bool growing_ = false;     // the ranks were told to stop for more hosts
  bool hosts_back_ = false;  // a larger job is possible
  double growth_look_s_ = RankView::kNever;
  std::vector<std::string> asked_;  // hosts, last
  double seek_until_s_ = 0;
};

}  // namespace dlt::supervise
