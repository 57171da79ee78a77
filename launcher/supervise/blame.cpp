// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/blame.h"

#include <algorithm>
#include <csignal>
#include <tuple>

#include "base/text.h"

namespace dlt::supervise {
namespace {

using observe::Phase;

/// What a starter or a peer's end may bring about counts as late.
constexpr double kPerhapsKilled_s = 0.25;
constexpr double kConsequence_s = 1e6;
constexpr double kSaysPeerLost_s = 2e6;
/// A rank's end and its peers' noticing it are heard of within this time.
constexpr double kLostAtOnce_s = 0.25;

/// When a rank ended by itself, as far as it is known, with consequences moved to the end.
struct Ended {
  std::size_t rank = 0;
  double at_s = RankView::kNever;
  double lateness_s = 0;
  [[nodiscard]] double order() const { return at_s + lateness_s; }
  [[nodiscard]] bool consequence() const { return lateness_s >= kConsequence_s; }
};

std::optional<Ended> ended(const RankView& view, std::size_t rank) {
  if (view.bye) return std::nullopt;
  // Of a process on another host the end of its connection is all that is seen.
  const double gone_s = std::min(view.gone_at_s, view.cut_at_s);
  if (view.failed) {
    const bool peer = view.failed->exit == Exit::peer_lost;
    return Ended{rank, std::min(view.failed_at_s, gone_s), peer ? kSaysPeerLost_s : 0};
  }
  if (gone_s == RankView::kNever) return std::nullopt;
  return Ended{rank, gone_s, kPerhapsKilled_s};
}

/// The first that ended; of equals the one with the least progress.
std::optional<Ended> first_ended(const Evidence& evidence) {
  double peer_lost_s = RankView::kNever;  // when the first rank said that it lost a peer
  for (const RankView& view : evidence.ranks) {
    if (view.failed && view.failed->exit == Exit::peer_lost) {
      peer_lost_s = std::min(peer_lost_s, view.failed_at_s);
    }
  }
  std::optional<Ended> first;
  for (std::size_t rank = 0; rank < evidence.ranks.size(); ++rank) {
    auto one = ended(evidence.ranks[rank], rank);
    if (!one) continue;
    // Killed by whom? A peer that is lost by its death is lost at once.
    if (one->lateness_s == kPerhapsKilled_s && one->at_s > peer_lost_s + kLostAtOnce_s) {
      one->lateness_s = kConsequence_s;
    }
    const auto key = [&](const Ended& e) {
      const RankView& view = evidence.ranks[e.rank];
      return std::tuple(e.order(), view.mark.step, view.mark.phase);
    };
    if (!first || key(*one) < key(*first)) first = one;
  }
  return first;
}

const RankFinding* finding(const Evidence& evidence, std::size_t rank) {
  for (const RankFinding& found : evidence.findings) {
    if (found.rank == static_cast<std::int32_t>(rank)) return &found;
  }
  return nullptr;
}

char process_state(const Evidence& evidence, std::size_t rank) {
  const RankFinding* found = finding(evidence, rank);
  return found != nullptr ? found->process_state : ' ';
}

bool stopped(const Evidence& evidence, std::size_t rank) {
  const char state = process_state(evidence, rank);
  return state == 'T' || state == 't';
}

/// Gone without anybody's telling so, when nothing else had ended.
bool gone_unseen(const Evidence& evidence, std::size_t rank) {
  const char state = process_state(evidence, rank);
  const bool first = !evidence.job &&
                     std::none_of(evidence.ranks.begin(), evidence.ranks.end(),
                                  [](const RankView& view) { return view.failed || view.gone(); });
  return first && (state == 'X' || state == 'Z');
}

/// Who did not come, of those that are still there.
std::optional<std::size_t> missed(const Evidence& evidence) {
  std::optional<std::size_t> worst;
  const auto key = [&](std::size_t rank) {
    const RankView& view = evidence.ranks[rank];
    const bool cannot_come = stopped(evidence, rank) || gone_unseen(evidence, rank);
    return std::tuple(!cannot_come, !view.overdue, view.waits(), view.mark.step, view.mark.phase,
                      view.moved_s);
  };
  for (std::size_t rank = 0; rank < evidence.ranks.size(); ++rank) {
    const RankView& view = evidence.ranks[rank];
    if (view.bye || view.failed || view.gone_at_s < evidence.noticed_s) continue;
    if (!worst || key(rank) < key(*worst)) worst = rank;
  }
  return worst;
}

/// All wait for others, and not at the same step: each would wait for ever.
bool out_of_step(const Evidence& evidence) {
  bool differ = false;
  for (std::size_t rank = 0; rank < evidence.ranks.size(); ++rank) {
    const RankView& view = evidence.ranks[rank];
    const RankFinding* found = finding(evidence, rank);
    const bool exact = found != nullptr && found->ring && !stopped(evidence, rank);
    if (!exact || !view.waits()) return false;
    differ = differ || view.mark.step != evidence.ranks.front().mark.step;
  }
  return differ;
}

bool killed_for_memory(const Evidence& evidence, const Fault& fault) {
  if (fault.signal.value_or(SIGKILL) != SIGKILL || fault.said) return false;
  return std::any_of(
      evidence.out_of_memory.begin(), evidence.out_of_memory.end(), [&](const OutOfMemory& event) {
        return event.rank == fault.rank || (event.rank < 0 && event.host == fault.host);
      });
}

void describe_rank(const Evidence& evidence, std::size_t rank, Fault& fault) {
  const RankView& view = evidence.ranks[rank];
  fault.rank = static_cast<std::int32_t>(rank);
  fault.host = view.host;
  fault.pid = view.pid;
  fault.mark = view.mark;
  fault.marked = view.marks > 0;
  fault.connected_once = view.spoke;
  fault.silent_s = view.silent_s;
  fault.stopped = stopped(evidence, rank);
  if (view.failed) {
    fault.said = view.failed->exit;
    fault.text = view.failed->text;
  }
  if (const RankFinding* found = finding(evidence, rank)) {
    fault.log_lines = found->log_lines;
    if (found->ring) {
      fault.file = found->ring->file;
      if (fault.pid == 0) fault.pid = found->ring->owner.pid;
      if (fault.text.empty()) fault.text = found->ring->failure;
    }
  }
}

/// A rank on each of the hosts went with it; the one with the least progress stands for them.
Fault host_fault(const Evidence& evidence, FaultKind kind, std::vector<std::string> hosts) {
  Fault fault;
  std::optional<std::size_t> worst;
  for (std::size_t rank = 0; rank < evidence.ranks.size(); ++rank) {
    const RankView& view = evidence.ranks[rank];
    if (view.host != hosts.front()) continue;
    if (!worst || std::tie(view.mark.step, view.mark.phase) <
                      std::tie(evidence.ranks[*worst].mark.step, evidence.ranks[*worst].mark.phase))
      worst = rank;
  }
  if (worst) describe_rank(evidence, *worst, fault);
  fault.kind = kind;
  fault.host = hosts.front();
  fault.hosts = std::move(hosts);
  return fault;
}

Fault death(const Evidence& evidence, const Ended& first) {
  Fault fault;
  fault.kind = FaultKind::death;
  std::size_t rank = first.rank;
  const auto& failed = evidence.ranks[rank].failed;
  // The ranks agreed on who it was.
  if (failed && failed->origin_rank >= 0 &&
      static_cast<std::size_t>(failed->origin_rank) < evidence.ranks.size()) {
    rank = static_cast<std::size_t>(failed->origin_rank);
  }
  describe_rank(evidence, rank, fault);
  if (failed && fault.text.empty()) fault.text = failed->text;
  if (failed && !fault.said) fault.said = failed->exit;
  if (!fault.said && evidence.job && evidence.job->exit_code > 128) {
    fault.signal = evidence.job->exit_code - 128;
  }
  if (fault.said == Exit::io) fault.kind = FaultKind::disk_full;
  if (killed_for_memory(evidence, fault)) fault.kind = FaultKind::out_of_memory;
  return fault;
}

Fault silence(const Evidence& evidence, std::size_t rank) {
  Fault fault;
  describe_rank(evidence, rank, fault);
  const RankView& view = evidence.ranks[rank];
  const bool unseen = finding(evidence, rank) == nullptr;
  if (gone_unseen(evidence, rank)) {
    fault.kind = FaultKind::death;
  } else if (out_of_step(evidence)) {
    fault.kind = FaultKind::desync;
  } else if (view.spoke && !view.connected && unseen && evidence.hosts.size() > 1) {
    fault.kind = FaultKind::partition;
    fault.hosts = {view.host};
  } else {
    fault.kind = FaultKind::hang;
  }
  return fault;
}

}  // namespace

std::vector<std::string> hosts_down(const Evidence& evidence) {
  if (!evidence.hosts_up) return {};
  std::vector<std::string> down;
  for (const std::string& host : evidence.hosts) {
    const auto& up = *evidence.hosts_up;
    if (std::find(up.begin(), up.end(), host) == up.end()) down.push_back(host);
  }
  return down.size() == evidence.hosts.size() ? std::vector<std::string>{} : down;
}

void take_findings(Evidence& evidence) {
  for (const RankFinding& found : evidence.findings) {
    const auto rank = static_cast<std::size_t>(found.rank);
    if (found.rank < 0 || rank >= evidence.ranks.size() || !found.ring) continue;
    RankView& view = evidence.ranks[rank];
    for (auto event = found.ring->events.rbegin(); event != found.ring->events.rend(); ++event) {
      if (event->kind != observe::RingEventKind::mark) continue;
      const double moved_s = evidence.read_s - std::max(0.0, found.read_mono_s - event->mono_s);
      view.silent_s = std::min(view.silent_s, std::max(0.0, evidence.noticed_s - moved_s));
      // The same clock as the beats': those may have been read late, by a dlrun that stood still.
      const bool newer = event->mono_s >= view.rank_clock_s;
      if (newer || moved_s >= view.moved_s || view.marks == 0) {
        view.mark = event->mark;
        view.moved_s = std::max(view.moved_s, moved_s);
        view.marks = std::max<std::int64_t>(view.marks, 1);
        view.stepped = view.stepped || event->mark.phase != Phase::start;
      }
      break;
    }
  }
}

Fault blame(const Evidence& evidence) {
  const auto first = evidence.silence ? std::nullopt : first_ended(evidence);
  const std::vector<std::string> down = hosts_down(evidence);
  // What ended on a host that answers is no consequence of one that does not.
  const bool died_elsewhere =
      first && !first->consequence() &&
      std::find(down.begin(), down.end(), evidence.ranks[first->rank].host) == down.end();
  if (!down.empty() && !died_elsewhere) {
    const FaultKind kind =
        evidence.job && !evidence.silence ? FaultKind::host_lost : FaultKind::partition;
    return host_fault(evidence, kind, down);
  }
  if (first && !first->consequence()) return death(evidence, *first);
  const bool peer_missed = first && evidence.ranks[first->rank].failed;
  if (evidence.silence || peer_missed || !evidence.job) {
    if (const auto rank = missed(evidence)) return silence(evidence, *rank);
  }
  if (first) return death(evidence, *first);
  Fault fault;  // nobody's end was seen: that of the starter itself, or of a rank that never spoke
  if (evidence.job) {
    if (evidence.job->signal != 0) {
      fault.signal = evidence.job->signal;
    } else {
      fault.exit_code = evidence.job->exit_code;
    }
    fault.log_lines = evidence.job->last_lines;
  }
  return fault;
}

}  // namespace dlt::supervise
