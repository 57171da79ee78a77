// SPDX-License-Identifier: Apache-2.0
// A supervisor's generations: how they start, how they are told to stop, how they end.
#include <algorithm>
#include <limits>
#include <set>
#include <string_view>

#include "base/text.h"
#include "launcher/supervise/supervisor_impl.h"

namespace dlt::supervise {

namespace {
constexpr int kSweeps = 4;
}  // namespace

bool Supervisor::Impl::lives() const {
  return state_ == State::running || state_ == State::settling || state_ == State::asking ||
         state_ == State::sweeping;
}

std::int32_t Supervisor::Impl::wanted() const { return std::min(options_.ranks, pool_.room()); }

std::optional<Exit> Supervisor::Impl::last_word() const {
  if (ranks_.empty()) return std::nullopt;
  const auto how = ending(ranks_, evidence_.job, history_);
  const bool last = how && (never_retried(how->exit) || how->exit == Exit::io);
  return last ? std::optional(how->exit) : std::nullopt;
}

void Supervisor::Impl::launch_or_seek() {
  if (const auto exit = last_word()) {
    end(*exit);
    return;
  }
  if (pool_.room() >= options_.fault.min_ranks) {
    launch(wanted());
    return;
  }
  if (state_ != State::seeking) {
    state_ = State::seeking;
    seek_until_s_ = now_s_ + options_.host_wait_s;
  }
  seek();
}

void Supervisor::Impl::launch(std::int32_t ranks) {
  ++generation_;
  const bool resized = !ranks_.empty() && ranks_.size() != static_cast<std::size_t>(ranks);
  placement_ = pool_.place(ranks);
  ranks_.assign(static_cast<std::size_t>(ranks), {});
  std::size_t rank = 0;
  for (const HostSlots& host : placement_) {
    for (std::int32_t i = 0; i < host.slots; ++i) ranks_[rank++].host = host.name;
  }
  for (RankView& view : ranks_) view.moved_s = now_s_;
  // Memory of a host that is gone is gone, too.
  if (!lost_hosts_.empty()) memory_step_ = -1;
  lost_hosts_.clear();
  evidence_ = {};
  for (const HostSlots& host : placement_) evidence_.hosts.push_back(host.name);
  stragglers_.reset(ranks);
  steps_began_s_ = RankView::kNever;
  look_again_s_ = 0;
  next_look_s_ = now_s_;
  growing_ = hosts_back_ = false;
  growth_look_s_ = ranks < options_.ranks ? now_s_ + options_.growth_check_s : RankView::kNever;
  state_ = State::running;
  act(Launch{.generation = generation_,
             .ranks = ranks,
             .hosts = placement_,
             .skip_steps = policy_.skip_steps()});
  if (resized) log("resize", {{"ranks", std::int64_t{ranks}}});
}

void Supervisor::Impl::seek() {
  if (now_s_ >= seek_until_s_) {
    act(Report{cat("dltrain: error: dlrun: hosts: expected room for ",
                   counted(options_.fault.min_ranks, "rank", "ranks"), " at least, got ",
                   pool_.room(), " after ", options_.host_wait_s, " s\n",
                   "  hint: the same command goes on once they are back; fault.min_ranks lets it go"
                   " on with fewer\n")});
    end(last_word().value_or(Exit::unavailable));
    return;
  }
  asked_ = pool_.names();
  act(CheckHosts{asked_});
  due_s_ = std::min(seek_until_s_, now_s_ + options_.host_check_s);
}

void Supervisor::Impl::sweep(Plan plan) {
  if (state_ != State::sweeping) {
    sweeps_ = 0;
    if (steps_began_s_ != RankView::kNever) stepping_s_ += now_s_ - steps_began_s_;
    if (restart_note_) note_restart(restart_note_->expected_step);
  }
  plan_ = plan;
  state_ = State::sweeping;
  if (++sweeps_ > kSweeps) {
    act(Report{cat("dltrain: error: dlrun: processes of generation ", generation_,
                   " do not end, though they were killed ", kSweeps,
                   " times: nothing is started beside them\n"
                   "  hint: they may hang in a file system that does not answer\n")});
    end(last_word().value_or(Exit::unavailable));
    return;
  }
  due_s_ = now_s_ + options_.sweep_s;
  act(KillJob{generation_});
}

void Supervisor::Impl::after_sweep() {
  if (stopping_ && !plan_.end) plan_.end = stopped_exit();
  if (const auto exit = last_word()) plan_.end = exit;
  if (plan_.end) {
    end(*plan_.end);
    return;
  }
  if (plan_.counts) ++restarts_;
  state_ = State::backing_off;
  due_s_ = now_s_ + plan_.backoff_s;
  if (plan_.backoff_s <= 0) launch_or_seek();
}

void Supervisor::Impl::end(Exit exit) {
  const bool told = !ranks_.empty() && ranks_.front().bye.has_value();
  if (!told) {
    const double whole_s = std::max(now_s_ - started_s_, 1e-9);
    log("run_end", {{"code", static_cast<std::int64_t>(exit)},
                    {"steps", std::max<std::int64_t>(0, progress_.furthest_step)},
                    {"steps_lost", steps_lost_},
                    {"restarts", restarts_},
                    {"effective_time", std::min(1.0, stepping_s_ / whole_s)}});
  }
  state_ = State::ended;
  act(End{exit});
}

void Supervisor::Impl::send_stop(std::int32_t rank) {
  const launcher::Stop stop =
      stopping_ ? stopping_->stop : launcher::Stop{.reason = launcher::Stop::Reason::more_hosts};
  act(SendStop{.rank = rank, .stop = stop});
}

Exit Supervisor::Impl::stopped_exit() const {
  return disk_step_ >= 0 ? Exit::preempted : Exit::peer_lost;
}

void Supervisor::Impl::stop_now(const std::string& why) {
  // A code that says more is not lost.
  const auto how = ending(ranks_, evidence_.job, history_);
  const Exit exit = how && how->exit != Exit::ok ? how->exit : stopped_exit();
  std::string left = "  nothing was saved yet";
  if (disk_step_ >= 0) left = cat("  the same command goes on from step ", disk_step_);
  act(Report{cat("dltrain: stopped at once: ", why, "\n", left, "\n")});
  if (!lives()) {
    end(exit);
  } else if (state_ == State::sweeping) {
    plan_.end = plan_.end.value_or(exit);
  } else {
    sweep({.end = exit});
  }
}

void Supervisor::Impl::finish_if_done() {
  double last_s = 0;
  for (const RankView& view : ranks_) {
    if (!view.bye) return;
    last_s = std::max(last_s, view.moved_s);
  }
  if (!evidence_.job && now_s_ < last_s + options_.end_s) return;
  const auto how = ending(ranks_, evidence_.job, history_);
  if (how) {
    conclude(*how);
  } else if (!evidence_.job) {
    open_incident(false);
  }
}

void Supervisor::Impl::conclude(const Ending& how) {
  if (how.exit == Exit::preempted && growing_ && !stopping_) {
    sweep({});
    return;
  }
  sweep({.end = how.exit});
}

void Supervisor::Impl::grow_if_possible() {
  if (!hosts_back_ || growing_ || stopping_ || state_ != State::running) return;
  growing_ = true;
  act(Report{cat("dltrain: hosts are back: going on with ", counted(wanted(), "rank", "ranks"),
                 " instead of ", ranks_.size(), "\n")});
  send_stop(-1);
}

void Supervisor::Impl::note_restart(std::int64_t from_step) {
  if (!restart_note_) return;
  steps_lost_ += std::max<std::int64_t>(0, progress_.furthest_step - from_step);
  log("restart", {{"from_step", from_step},
                  {"backoff_ms", restart_note_->backoff_s * 1e3},
                  {"ranks", static_cast<std::int64_t>(ranks_.size())}});
  restart_note_.reset();
}

void Supervisor::Impl::note_commit() {
  // Each host needs its part; ranks that never said so have none to say.
  std::int64_t all = std::numeric_limits<std::int64_t>::max();
  std::set<std::string_view> hosts;
  for (const RankView& view : ranks_) {
    if (view.memory_step < 0) continue;
    hosts.insert(view.host);
    all = std::min(all, view.memory_step);
  }
  const bool everywhere = std::all_of(placement_.begin(), placement_.end(),
                                      [&](const auto& host) { return hosts.contains(host.name); });
  if (!everywhere) all = -1;
  memory_step_ = std::max(memory_step_, all);
  progress_.committed_step = std::max({progress_.committed_step, memory_step_, disk_step_});
}

}  // namespace dlt::supervise
