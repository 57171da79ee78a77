// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/exit_rules.h"

#include <algorithm>

namespace dlt::supervise {
namespace {

bool final(Exit exit, const History& history) {
  return never_retried(exit) || exit == Exit::io ||
         (exit == Exit::unavailable && !history.ever_stepped);
}

/// The first code that counts, by the time it was heard of.
std::optional<Ending> first_final(const std::vector<RankView>& ranks, const History& history) {
  std::optional<Ending> first;
  double first_s = RankView::kNever;
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const RankView& view = ranks[rank];
    const auto take = [&](Exit exit, double at_s) {
      if (!final(exit, history) || (first && at_s >= first_s)) return;
      first = Ending{.exit = exit, .rank = static_cast<std::int32_t>(rank)};
      first_s = at_s;
    };
    if (view.failed) take(view.failed->exit, view.failed_at_s);
    if (view.bye) take(*view.bye, view.gone_at_s);
  }
  return first;
}

/// Without one word of a rank in this run.
std::optional<Ending> never_started(const JobEnded& job) {
  constexpr int kKilledUpTo = 128 + 64;  // somebody killed a rank; what is above is mpirun's own
  const bool killed = job.exit_code > 128 && job.exit_code <= kKilledUpTo;
  if (job.signal != 0 || killed) return std::nullopt;
  const Exit exit = exit_of(job.exit_code).value_or(Exit::unavailable);
  if (exit == Exit::peer_lost || exit == Exit::budget) return std::nullopt;
  return Ending{.exit = exit == Exit::ok ? Exit::internal : exit, .starter = true};
}

}  // namespace

bool never_retried(Exit exit) {
  switch (exit) {
    case Exit::usage:
    case Exit::data:
    case Exit::missing:
    case Exit::denied:
    case Exit::config:
    case Exit::numerics:
      return true;
    case Exit::ok:
    case Exit::unavailable:
    case Exit::internal:
    case Exit::io:
    case Exit::preempted:
    case Exit::peer_lost:
    case Exit::budget:
      return false;
  }
  return false;
}

std::optional<Ending> ending(const std::vector<RankView>& ranks, const std::optional<JobEnded>& job,
                             const History& history) {
  if (const auto first = first_final(ranks, history)) return first;
  const auto said = [&](Exit exit) {
    return [exit](const RankView& view) { return view.bye == exit; };
  };
  if (std::any_of(ranks.begin(), ranks.end(), said(Exit::preempted))) {
    return Ending{.exit = Exit::preempted};
  }
  if (std::all_of(ranks.begin(), ranks.end(), said(Exit::ok))) return Ending{};
  if (!job || job->signal != 0) return std::nullopt;
  const auto code = exit_of(job->exit_code);
  if (code && (final(*code, history) || code == Exit::preempted)) return Ending{.exit = *code};
  if (!history.ever_spoke) return never_started(*job);
  // A farewell may be lost with the connection of a process that ends.
  const bool all_at_end = std::all_of(ranks.begin(), ranks.end(), [](const RankView& view) {
    return view.bye == Exit::ok || view.mark.phase == observe::Phase::end;
  });
  if (code == Exit::ok && all_at_end) return Ending{};
  return std::nullopt;
}

const char* meaning(Exit exit) {
  switch (exit) {
    case Exit::ok:
      return "done";
    case Exit::usage:
      return "wrong command line";
    case Exit::data:
      return "bad content of data or checkpoint";
    case Exit::missing:
      return "an input is missing";
    case Exit::unavailable:
      return "port, host or device unavailable";
    case Exit::internal:
      return "internal error";
    case Exit::io:
      return "the final checkpoint could not be written";
    case Exit::preempted:
      return "pre-empted, state saved";
    case Exit::denied:
      return "permission or token";
    case Exit::config:
      return "configuration";
    case Exit::numerics:
      return "non-finite numbers, by policy";
    case Exit::peer_lost:
      return "a peer was lost or hung";
    case Exit::budget:
      return "restart budget spent";
  }
  return "";
}

}  // namespace dlt::supervise
