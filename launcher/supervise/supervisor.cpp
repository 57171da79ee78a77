// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/supervisor.h"

#include <algorithm>
#include <csignal>
#include <limits>

#include "base/error.h"
#include "base/text.h"
#include "launcher/supervise/host_list.h"
#include "launcher/supervise/supervisor_impl.h"

namespace dlt::supervise {

using observe::Phase;
namespace {

SupervisorOptions checked(SupervisorOptions options) {
  if (options.ranks < 1) {
    throw Error(Exit::usage, cat("dlrun: ranks: expected at least 1, got ", options.ranks));
  }
  const std::int64_t room = total_slots(options.hosts);
  const std::int64_t least =
      std::min<std::int64_t>(options.fault.min_ranks, std::int64_t{options.ranks});
  if (room < least) {
    throw Error(Exit::usage,
                cat("dlrun: hosts: expected room for ", counted(least, "rank", "ranks"),
                    " at least, got ", room),
                "see -n, --hosts and fault.min_ranks");
  }
  options.fault.min_ranks = least;
  return options;
}

Allowances allowances(const SupervisorOptions& options) {
  return {.step_s = options.fault.hang_timeout_s,
          .heartbeat_s = options.fault.heartbeat_s,
          .start_s = options.start_s,
          .checkpoint_s = options.checkpoint_s,
          .eval_s = options.eval_s,
          .end_s = options.end_s};
}

/// The pool's name of a host that calls itself so: the same, or the same up to the domain.
const HostSlots* same_host(const std::vector<HostSlots>& hosts, std::string_view name) {
  const auto up_to_dot = [](std::string_view text) { return text.substr(0, text.find('.')); };
  for (const HostSlots& host : hosts) {
    if (host.name == name) return &host;
  }
  for (const HostSlots& host : hosts) {
    if (up_to_dot(host.name) == up_to_dot(name)) return &host;
  }
  return nullptr;
}

}  // namespace

Supervisor::Impl::Impl(SupervisorOptions given)
    : options_(checked(std::move(given))),
      policy_(options_.fault, {.committed_step = options_.saved_step,
                               .furthest_step = std::max<std::int64_t>(0, options_.saved_step)}),
      pool_(options_.hosts, static_cast<std::int32_t>(options_.fault.min_ranks)),
      times_(allowances(options_)),
      generation_(options_.first_generation - 1),
      disk_step_(options_.saved_step) {
  progress_.committed_step = options_.saved_step;
}

Supervisor::Supervisor(SupervisorOptions options)
    : impl_(std::make_unique<Impl>(std::move(options))) {}
Supervisor::~Supervisor() = default;

std::vector<Action> Supervisor::start(double now_s) {
  impl_->now_s_ = impl_->pauses_.advance(now_s);
  impl_->started_s_ = impl_->now_s_;
  impl_->launch_or_seek();
  impl_->pauses_.promise(impl_->next_due_s());
  return std::exchange(impl_->out_, {});
}

std::vector<Action> Supervisor::handle(double now_s, const Event& event) {
  if (impl_->state_ == Impl::State::ended) return {};
  impl_->now_s_ = impl_->pauses_.advance(now_s);
  std::visit([this](const auto& one) { impl_->on(one); }, event);
  impl_->look();
  impl_->pauses_.promise(impl_->next_due_s());
  return std::exchange(impl_->out_, {});
}

double Supervisor::next_deadline_s() const { return impl_->pauses_.promised_s(); }

Status Supervisor::status() const {
  const Impl& impl = *impl_;
  return {.step = std::max<std::int64_t>(0, impl.progress_.furthest_step),
          .restarts = impl.restarts_,
          .steps_lost = impl.steps_lost_,
          .elapsed_s = impl.now_s_ - impl.started_s_,
          .stepping_s = impl.stepping_s_};
}

double Supervisor::Impl::next_due_s() const {
  switch (state_) {
    case State::idle:
    case State::ended:
      return std::numeric_limits<double>::infinity();
    case State::running:
      return std::max(now_s_, next_look_s_);
    case State::settling:
    case State::asking:
    case State::sweeping:
    case State::backing_off:
    case State::seeking:
      return std::max(now_s_, due_s_);
  }
  return now_s_;
}

void Supervisor::Impl::look() {
  if (state_ == State::running) {
    if (now_s_ >= next_look_s_) look_at_running();
    return;
  }
  if (now_s_ < due_s_) return;
  switch (state_) {
    case State::settling:
      ask();
      break;
    case State::asking:
      judge();
      break;
    case State::sweeping:
      sweep(plan_);
      break;
    case State::backing_off:
      launch_or_seek();
      break;
    case State::seeking:
      seek();
      break;
    case State::idle:
    case State::running:
    case State::ended:
      break;
  }
}

void Supervisor::Impl::look_at_running() {
  if (stopping_ && now_s_ >= stopping_->deadline_s) {
    stop_now("the ranks did not save within the time they had");
    return;
  }
  finish_if_done();
  if (state_ != State::running) return;
  const double overdue_s = std::max(look_again_s_, find_overdue(ranks_));
  if (now_s_ >= overdue_s) {
    open_incident(true);
    return;
  }
  if (now_s_ >= growth_look_s_) {
    growth_look_s_ = now_s_ + options_.growth_check_s;
    asked_ = pool_.awaited();
    if (!asked_.empty()) act(CheckHosts{asked_});
  }
  next_look_s_ = std::min({now_s_ + OwnPauses::kLookEvery_s, overdue_s,
                           stopping_ ? stopping_->deadline_s : RankView::kNever});
}

void Supervisor::Impl::on(const Tick&) {}

void Supervisor::Impl::on(const Heard& event) {
  if (!current(event.generation) || !has_rank(event.rank)) return;
  RankView& view = rank_view(event.rank);
  if (!view.spoke) view.moved_s = now_s_;
  view.spoke = history_.ever_spoke = true;
  std::visit([&](const auto& message) { hear(event.rank, message); }, event.message);
}

void Supervisor::Impl::hear(std::int32_t rank, const launcher::Hello& hello) {
  RankView& view = rank_view(rank);
  view.connected = true;
  view.cut_at_s = RankView::kNever;
  view.pid = hello.pid;
  if (const HostSlots* host = same_host(placement_, hello.host)) view.host = host->name;
  if (state_ == State::running && (stopping_ || growing_)) send_stop(rank);
}

void Supervisor::Impl::hear(std::int32_t rank, const launcher::Beat& beat) {
  RankView& view = rank_view(rank);
  if (beat.marks <= view.marks) return;
  if (view.rank_clock_s > 0) {
    times_.seen(view.mark.phase, beat.mono_s - view.rank_clock_s);
  }
  view.marks = beat.marks;
  view.mark = beat.mark;
  view.rank_clock_s = beat.mono_s;
  view.moved_s = now_s_;
  if (beat.mark.phase == Phase::start) return;
  if (steps_began_s_ == RankView::kNever) {
    steps_began_s_ = now_s_;
    note_restart(beat.mark.step);
  }
  view.stepped = history_.ever_stepped = true;
  progress_.furthest_step = std::max(progress_.furthest_step, beat.mark.step);
  for (const Straggler& slow : stragglers_.heard(now_s_, rank, beat)) {
    const RankView& who = ranks_[static_cast<std::size_t>(slow.rank)];
    log("straggler", {{"rank", std::int64_t{slow.rank}},
                      {"host", who.host},
                      {"ratio", slow.ratio},
                      {"phase", std::string(observe::name(slow.phase))}});
  }
}

void Supervisor::Impl::hear(std::int32_t rank, const launcher::Saved& saved) {
  if (saved.where == observe::SavedIn::disk) {
    if (rank == 0) disk_step_ = std::max(disk_step_, saved.step);
  } else {
    RankView& view = rank_view(rank);
    view.memory_step = std::max(view.memory_step, saved.step);
    if (saved.step <= memory_step_) return;
  }
  note_commit();
  if (saved.where == observe::SavedIn::disk) grow_if_possible();
}

void Supervisor::Impl::hear(std::int32_t rank, const launcher::Failed& failed) {
  RankView& view = rank_view(rank);
  if (view.failed || view.bye) return;
  view.failed = failed;
  view.failed_at_s = now_s_;
  if (state_ == State::running) open_incident(false);
}

void Supervisor::Impl::hear(std::int32_t rank, const launcher::Bye& bye) {
  RankView& view = rank_view(rank);
  view.bye = bye.exit;
  view.moved_s = now_s_;
  next_look_s_ = now_s_;
}

void Supervisor::Impl::on(const Disconnected& event) {
  if (!current(event.generation) || !has_rank(event.rank)) return;
  RankView& view = rank_view(event.rank);
  view.connected = false;
  view.cut_at_s = std::min(view.cut_at_s, now_s_);
  view.rank_clock_s = 0;  // the silence until it is back says nothing about its work
}

void Supervisor::Impl::on(const ProcessGone& event) {
  if (!current(event.generation) || !has_rank(event.rank)) return;
  RankView& view = rank_view(event.rank);
  view.gone_at_s = std::min(view.gone_at_s, now_s_);
  if (state_ == State::running && !view.bye) open_incident(false);
  // Rank 0 speaks for all; the others only wait to be ended.
  const bool spoken = event.rank == 0 && state_ == State::settling && agreed_to_end();
  if (spoken) due_s_ = std::min(due_s_, now_s_ + options_.settle_s);
}

void Supervisor::Impl::on(const JobEnded& event) {
  if (!current(event.generation) || !lives()) return;
  evidence_.job = event;
  if (state_ == State::running) {
    finish_if_done();
    if (state_ == State::running) open_incident(false);
  } else if (state_ == State::settling) {
    due_s_ = std::min(due_s_, now_s_ + options_.settle_s);
  }
}

void Supervisor::Impl::on(const Swept& event) {
  if (!current(event.generation) || state_ != State::sweeping) return;
  for (const std::string& name : event.unreachable) {
    const HostSlots* host = same_host(placement_, name);
    if (host == nullptr || !lost_hosts_.insert(host->name).second) continue;
    pool_.failed(host->name);
  }
  after_sweep();
}

void Supervisor::Impl::on(const StopAsked& event) {
  if (stopping_ && event.signal == SIGINT) {
    stop_now("asked again by SIGINT");
    return;
  }
  if (stopping_) return;
  const double told_s = event.grace_s;
  const double grace_s = told_s > 0 ? told_s - std::min(2.0, 0.1 * told_s) : options_.stop_grace_s;
  stopping_ =
      Stopping{.stop = {.reason = event.reason, .grace_s = told_s}, .deadline_s = now_s_ + grace_s};
  next_look_s_ = now_s_;
  const bool limit = event.reason == launcher::Stop::Reason::time_limit;
  log("preempt", {{"reason", std::string(limit ? "time_limit" : "signal")},
                  {"signal", std::int64_t{event.signal}},
                  {"grace_s", grace_s}});
  if (state_ == State::running) {
    send_stop(-1);
  } else if (!lives()) {
    end(stopped_exit());
  }
}

void Supervisor::Impl::on(const HostsChecked& event) {
  if (state_ == State::asking && hosts_due_) {
    hosts_due_ = false;
    std::vector<std::string> up;
    for (const std::string& name : event.up) {
      if (const HostSlots* host = same_host(options_.hosts, name)) up.push_back(host->name);
    }
    evidence_.hosts_up = std::move(up);
    judge_if_answered();
    return;
  }
  if (state_ != State::seeking && state_ != State::running) return;
  pool_.looked(asked_, event.up);
  asked_.clear();
  if (state_ == State::seeking && pool_.room() >= options_.fault.min_ranks) {
    launch_or_seek();
  } else if (state_ == State::running) {
    hosts_back_ = wanted() > static_cast<std::int32_t>(ranks_.size());
  }
}

void Supervisor::Impl::on(const StacksCollected& event) {
  if (state_ != State::asking || !current(event.generation)) return;
  stacks_due_ = false;
  judge_if_answered();
}

void Supervisor::Impl::on(const RingsRead& event) {
  if (state_ != State::asking || !current(event.generation)) return;
  rings_due_ = false;
  evidence_.read_s = now_s_;
  evidence_.findings = event.ranks;
  for (RankFinding& found : evidence_.findings) {
    if (found.ring && found.ring->owner.generation != generation_) found.ring.reset();
  }
  judge_if_answered();
}

void Supervisor::Impl::on(const OutOfMemory& event) {
  if (lives()) evidence_.out_of_memory.push_back(event);
}

}  // namespace dlt::supervise
