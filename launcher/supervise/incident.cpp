// SPDX-License-Identifier: Apache-2.0
// A supervisor's incidents: from the first sign of a fault to its verdict.
#include <algorithm>
#include <utility>

#include "base/text.h"
#include "launcher/supervise/supervisor_impl.h"

namespace dlt::supervise {

using observe::Phase;
namespace {
/// Ranks that agreed on an end are through with it by then.
constexpr double kAgreedEnd_s = 5;
}  // namespace

double Supervisor::Impl::find_overdue(std::vector<RankView>& ranks) const {
  const double cut_off_s = options_.fault.hang_timeout_s;
  double first_s = RankView::kNever;
  bool somebody_works = false;  // or did: whoever waits, waits for them
  double newest_s = -1;
  for (RankView& view : ranks) {
    view.overdue = false;
    if (view.failed || (view.gone() && !view.bye)) somebody_works = true;
    if (view.bye || view.failed || view.gone()) continue;
    newest_s = std::max(newest_s, view.moved_s);
    const bool cut = view.spoke && !view.connected;
    const bool left_behind = view.waits() && view.mark.step + 1 < progress_.furthest_step;
    if (view.waits() && !cut && !left_behind) continue;
    somebody_works = true;
    double allowed_s = times_.allowed_s(view.mark.phase);
    if (cut || left_behind) allowed_s = std::max(allowed_s, cut_off_s);
    // A rank that waited when its connection went was heard of until then.
    const double since_s =
        view.waits() && cut ? std::max(view.moved_s, view.cut_at_s) : view.moved_s;
    view.overdue = now_s_ >= since_s + allowed_s;
    first_s = std::min(first_s, since_s + allowed_s);
  }
  if (somebody_works || newest_s < 0) return first_s;
  // All wait for others. The newest mark of all tells when that began.
  first_s = newest_s + times_.allowed_s(Phase::reduce);
  for (RankView& view : ranks) view.overdue = now_s_ >= first_s && !view.bye;
  return first_s;
}

void Supervisor::Impl::open_incident(bool silence) {
  evidence_.silence = silence;
  evidence_.noticed_s = now_s_;
  for (RankView& view : ranks_) view.silent_s = now_s_ - view.moved_s;
  state_ = State::settling;
  due_s_ = now_s_ + (silence ? 0 : options_.settle_s);
  if (agreed_to_end() && !ranks_.front().gone() && !evidence_.job) due_s_ = now_s_ + kAgreedEnd_s;
  if (silence) ask();
}

bool Supervisor::Impl::agreed_to_end() const {
  return std::any_of(ranks_.begin(), ranks_.end(), [](const RankView& view) {
    return view.failed && never_retried(view.failed->exit);
  });
}

void Supervisor::Impl::ask() {
  state_ = State::asking;
  due_s_ = now_s_ + options_.answer_s;
  rings_due_ = true;
  stacks_due_ = evidence_.silence;
  hosts_due_ = placement_.size() > 1;
  act(ReadRings{generation_});
  if (stacks_due_) act(CollectStacks{generation_});
  if (hosts_due_) act(CheckHosts{evidence_.hosts});
}

void Supervisor::Impl::judge_if_answered() {
  if (!rings_due_ && !stacks_due_ && !hosts_due_) judge();
}

bool Supervisor::Impl::nothing_ended() const {
  return !evidence_.job && std::none_of(ranks_.begin(), ranks_.end(), [](const RankView& view) {
    return (view.gone() && !view.bye) || view.failed;
  });
}

void Supervisor::Impl::judge() {
  rings_due_ = stacks_due_ = hosts_due_ = false;
  evidence_.ranks = ranks_;
  take_findings(evidence_);
  for (std::size_t rank = 0; rank < ranks_.size(); ++rank) {
    ranks_[rank].moved_s = evidence_.ranks[rank].moved_s;
    if (evidence_.ranks[rank].stepped) {
      progress_.furthest_step = std::max(progress_.furthest_step, evidence_.ranks[rank].mark.step);
    }
  }
  const bool overdue = now_s_ >= find_overdue(evidence_.ranks);
  if (nothing_ended() && !overdue) {
    resume();
    return;
  }
  if (const auto how = ending(evidence_.ranks, evidence_.job, history_)) {
    conclude_told(*how);
    return;
  }
  Fault fault = blame(evidence_);
  const double patience_s = options_.fault.hang_timeout_s;
  if (fault.kind == FaultKind::partition && nothing_ended() && fault.silent_s < patience_s) {
    resume();
    look_again_s_ = now_s_ + patience_s - fault.silent_s;
    return;
  }
  restart_after(std::move(fault));
}

void Supervisor::Impl::resume() {
  state_ = State::running;
  next_look_s_ = now_s_;
  evidence_.silence = false;
  evidence_.findings.clear();
  evidence_.hosts_up.reset();
  if (stopping_) send_stop(-1);
}

Outlook Supervisor::Impl::outlook() const {
  Outlook out{.generation = generation_,
              .of_ranks = static_cast<std::int32_t>(ranks_.size()),
              .ranks = wanted(),
              .used = policy_.without_progress(),
              .budget = options_.fault.max_restarts,
              .awaits_hosts = pool_.room() < options_.fault.min_ranks};
  const bool memory = lost_hosts_.empty() && memory_step_ >= 0;
  if (memory && memory_step_ >= disk_step_) {
    out.from = observe::SavedIn::memory;
    out.from_step = memory_step_;
  } else if (disk_step_ >= 0) {
    out.from = observe::SavedIn::disk;
    out.from_step = disk_step_;
  }
  return out;
}

void Supervisor::Impl::log_fault(const Fault& fault) {
  log("fault", {{"kind", std::string(name(fault.kind))},
                {"rank", std::int64_t{fault.rank}},
                {"host", fault.host},
                {"pid", fault.pid},
                {"phase", std::string(observe::name(fault.mark.phase))},
                {"step", fault.mark.step},
                {"detect_ms", fault.silent_s * 1e3}});
}

/// The ranks' or the starter's own word decides.
void Supervisor::Impl::conclude_told(const Ending& how) {
  const int code = static_cast<int>(how.exit);
  if (how.exit == Exit::io) {
    const Fault fault = blame(evidence_);
    log_fault(fault);
    Outlook out = outlook();
    out.ends = how.exit;
    out.why = meaning(how.exit);
    act(Report{verdict(fault, out)});
  } else if (how.starter) {
    std::string text =
        cat("dltrain: error: dlrun: the ranks could not be started: expected them to connect, got "
            "code ",
            evidence_.job->exit_code, " of the starter\n");
    for (const std::string& host : hosts_down(evidence_)) {
      text += cat("    host ", printable(host), " does not answer\n");
    }
    for (const std::string& line : evidence_.job->last_lines) {
      text += cat("    ", printable(line, 160), "\n");
    }
    act(Report{text + "  hint: try the command above by hand; hosts must be reachable without a "
                      "password and hold the same program\n"});
  } else if (how.rank >= 0 && rank_view(how.rank).failed) {
    // It has said itself what is wrong, in a message that is the only one.
  } else if (never_retried(how.exit) || how.exit == Exit::unavailable) {
    const std::string who = how.rank >= 0 ? cat("rank ", how.rank) : std::string("the job");
    act(Report{cat("dltrain: ", who, " ended with code ", code, " (", meaning(how.exit),
                   "): another try would end the same way, so there is none\n")});
  }
  conclude(how);
}

void Supervisor::Impl::restart_after(Fault fault) {
  for (const std::string& host : fault.hosts) pool_.failed(host);
  lost_hosts_ = {fault.hosts.begin(), fault.hosts.end()};
  if (fault.kind == FaultKind::hang && fault.marked && fault.mark.phase != Phase::start) {
    times_.took_for_hung();
  }
  const bool in_stop = stopping_.has_value();
  const RestartPolicy::Choice choice = policy_.choose(fault, progress_);
  if (choice.crash_loop) fault.kind = FaultKind::crash_loop;
  Outlook out = outlook();
  out.backoff_s = choice.backoff_s;
  out.skip_step = choice.skip_step;
  if (in_stop) {
    out.ends = stopped_exit();
    out.why = "it was asked to stop";
  } else if (!choice.restart) {
    out.ends = Exit::budget;
    if (choice.crash_loop) {
      out.why = "another try would fail there, too; fault.poison: skip leaves such a step out";
    } else if (options_.fault.max_restarts == 0) {
      out.why = "fault.max_restarts is 0";
    } else {
      out.why = cat(counted(options_.fault.max_restarts, "restart", "restarts"),
                    " without progress are used up (fault.max_restarts)");
    }
  }
  log_fault(fault);
  act(Report{verdict(fault, out)});
  sweep({.end = out.ends, .backoff_s = choice.backoff_s, .counts = true});
  if (!out.ends) {
    restart_note_ = RestartNote{.expected_step = out.from_step, .backoff_s = choice.backoff_s};
  }
}

}  // namespace dlt::supervise
