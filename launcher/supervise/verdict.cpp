// SPDX-License-Identifier: Apache-2.0
#include "launcher/supervise/verdict.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iomanip>
#include <sstream>

#include "base/text.h"

namespace dlt::supervise {
namespace {

constexpr std::size_t kLogLines = 5;
constexpr std::size_t kLineChars = 160;
constexpr std::size_t kTextLines = 8;

std::string seconds(double s) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(s < 10 ? 1 : 0) << s << " s";
  return out.str();
}

/// "signal 11 (SIGSEGV, Segmentation fault)"
std::string signal_text(int signal) {
  const char* name = sigabbrev_np(signal);
  const char* description = sigdescr_np(signal);
  if (name == nullptr || description == nullptr) return cat("signal ", signal);
  return cat("signal ", signal, " (SIG", name, ", ", description, ")");
}

/// " in backward of step 812"
std::string place(const Fault& fault) {
  if (fault.rank < 0 || !fault.marked || fault.mark.phase == observe::Phase::start) {
    return fault.rank < 0 ? "" : " at its start";
  }
  if (fault.mark.phase == observe::Phase::end) return " at its end";
  const std::string bucket = fault.mark.phase == observe::Phase::reduce && fault.mark.bucket >= 0
                                 ? cat(" of bucket ", fault.mark.bucket)
                                 : std::string();
  return cat(" in ", name(fault.mark.phase), bucket, " of step ", fault.mark.step);
}

std::string how_it_ended(const Fault& fault) {
  if (fault.said) return cat("failed with code ", static_cast<int>(*fault.said));
  if (fault.signal) return cat("was ended by ", signal_text(*fault.signal));
  if (fault.exit_code && *fault.exit_code > 128) {
    return cat("was ended by ", signal_text(*fault.exit_code - 128));
  }
  if (fault.exit_code) return cat("ended with code ", *fault.exit_code, " before it was done");
  return "ended, and nobody saw how";
}

std::string what_happened(const Fault& fault) {
  switch (fault.kind) {
    case FaultKind::death:
    case FaultKind::crash_loop:
      return how_it_ended(fault);
    case FaultKind::out_of_memory:
      return "was killed by the kernel, out of memory";
    case FaultKind::disk_full:
      return "could not write the state";
    case FaultKind::hang:
      if (fault.stopped) return "is stopped (SIGSTOP, or a debugger)";
      if (!fault.connected_once) return cat("has not been heard of for ", seconds(fault.silent_s));
      return cat(fault.mark.phase == observe::Phase::reduce ? "and all others wait for each other, "
                                                            : "does nothing, ",
                 "for ", seconds(fault.silent_s));
    case FaultKind::host_lost:
      return "is gone";
    case FaultKind::partition:
      return cat("is cut off, for ", seconds(fault.silent_s));
    case FaultKind::desync:
      return "and others wait for each other at different steps";
  }
  return "failed";
}

/// Lines of a text that a rank made, each cut and escaped.
void add_lines(std::string& out, const std::string& text, const char* before) {
  std::size_t begin = 0;
  for (std::size_t line = 0; begin < text.size() && line < kTextLines; ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    if (end > begin) {
      const auto one = std::string_view(text).substr(begin, end - begin);
      out += cat(line == 0 ? before : "    ", printable(one, kLineChars), "\n");
    }
    begin = end + 1;
  }
}

std::string next_start(const Outlook& outlook) {
  if (outlook.awaits_hosts) return "  next: waiting for hosts, since too few ranks can be placed\n";
  std::string out = cat("  next: starting generation ", outlook.generation + 1);
  if (outlook.backoff_s > 0) out += cat(" in ", seconds(outlook.backoff_s));
  if (outlook.from) {
    out += cat(" from step ", outlook.from_step,
               *outlook.from == observe::SavedIn::memory ? " (memory)" : " (checkpoint)");
  } else {
    out += " from the newest checkpoint there is, if any";
  }
  out += cat(" on ", counted(outlook.ranks, "rank", "ranks"));
  if (outlook.ranks < outlook.of_ranks) out += cat(" instead of ", outlook.of_ranks);
  if (outlook.skip_step) out += cat("; step ", *outlook.skip_step, " will make no update");
  if (outlook.used > 0) {
    out += cat("; ", outlook.used, " of ", outlook.budget, " restarts without progress used");
  }
  return out + "\n";
}

}  // namespace

std::string culprit(const Fault& fault) {
  if (fault.kind == FaultKind::host_lost || fault.kind == FaultKind::partition) {
    std::vector<std::string> names;
    for (const std::string& host : fault.hosts) names.push_back(printable(host));
    return cat(names.size() == 1 ? "host " : "hosts ", join(names));
  }
  if (fault.rank < 0) return "the job";
  std::string out = cat("rank ", fault.rank);
  if (!fault.host.empty()) out += cat(" on ", printable(fault.host));
  if (fault.pid > 0) out += cat(" (process ", fault.pid, ")");
  return out;
}

std::string verdict(const Fault& fault, const Outlook& outlook) {
  std::string out = cat("dltrain: fault: ", culprit(fault), " ", what_happened(fault), place(fault),
                        ", generation ", outlook.generation, "\n");
  const bool of_rows = fault.mark.row >= 0 && fault.marked;
  if (of_rows && !fault.file.empty()) {
    out += cat("  data: ", printable(fault.file), ", from row ", fault.mark.row, " on\n");
  } else if (of_rows) {
    out += cat("  data: from row ", fault.mark.row, " of the training file on\n");
  }
  if (fault.kind == FaultKind::crash_loop) {
    out += "  the same rank failed in the same step before, and there was no progress since\n";
  }
  add_lines(out, fault.text, "  it said: ");
  const std::size_t skip =
      fault.log_lines.size() > kLogLines ? fault.log_lines.size() - kLogLines : 0;
  if (!fault.log_lines.empty()) {
    out += fault.rank < 0 ? "  last lines of the starter:\n" : "  last lines of its log:\n";
  }
  for (std::size_t i = skip; i < fault.log_lines.size(); ++i) {
    out += cat("    ", printable(fault.log_lines[i], kLineChars), "\n");
  }
  if (!outlook.ends) return out + next_start(outlook);
  out += cat("  next: the run ends with code ", static_cast<int>(*outlook.ends));
  if (!outlook.why.empty()) out += cat(": ", outlook.why);
  return out + "\n";
}

}  // namespace dlt::supervise
