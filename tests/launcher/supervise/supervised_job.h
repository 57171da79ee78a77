// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <csignal>
#include <string>
#include <utility>
#include <vector>

#include "launcher/supervise/supervisor.h"

namespace dlt::supervise {

/// A Supervisor and, by hand, the world around it: its questions are answered at once, time goes on
/// when the test says so.
class SupervisedJob {
 public:
  explicit SupervisedJob(SupervisorOptions options) : options_(options), supervisor_(options) {
    for (const HostSlots& host : options.hosts) up.push_back(host.name);
    take(supervisor_.start(now_s));
  }

  static SupervisorOptions ranks(int num_ranks) {
    return {.ranks = num_ranks, .hosts = {{"a", num_ranks}}};
  }
  static SupervisorOptions two_hosts() { return {.ranks = 4, .hosts = {{"a", 2}, {"b", 2}}}; }

  void tell(Event event) { take(supervisor_.handle(now_s, event)); }
  void hear(int rank, launcher::FromRank message) {
    tell(Heard{.rank = rank, .generation = generation(), .message = std::move(message)});
  }
  /// All ranks connect.
  void connect() {
    for (int rank = 0; rank < launches.back().ranks; ++rank) {
      hear(rank, launcher::Hello{.rank = rank, .pid = 100 + rank, .host = host_of(rank)});
    }
  }
  void beat(int rank, observe::Phase phase, std::int64_t step) {
    hear(rank, launcher::Beat{
                   .mark = {.phase = phase, .step = step}, .mono_s = now_s, .marks = ++marks_});
  }
  void beat_all(observe::Phase phase, std::int64_t step) {
    for (int rank = 0; rank < launches.back().ranks; ++rank) beat(rank, phase, step);
  }
  /// All ranks connect and begin this step.
  void run(std::int64_t step = 0) {
    connect();
    beat_all(observe::Phase::data, step);
  }
  void saved(observe::SavedIn where, std::int64_t step) {
    for (int rank = 0; rank < launches.back().ranks; ++rank) {
      hear(rank, launcher::Saved{where, step});
    }
  }
  void bye_all(Exit exit) {
    for (int rank = 0; rank < launches.back().ranks; ++rank) hear(rank, launcher::Bye{exit});
  }
  void gone(int rank) { tell(ProcessGone{.rank = rank, .generation = generation()}); }
  void job_ended(int exit_code) {
    tell(JobEnded{.generation = generation(), .exit_code = exit_code});
  }
  /// Time goes on, with a Tick whenever one is due.
  void pass(double seconds) {
    const double until_s = now_s + seconds;
    while (!ended() && supervisor_.next_deadline_s() <= until_s) {
      now_s = std::max(now_s, supervisor_.next_deadline_s());
      tell(Tick{});
    }
    now_s = until_s;
  }
  /// Time goes on while dlrun stands still.
  void stand_still(double seconds) { now_s += seconds; }

  [[nodiscard]] bool ended() const { return !ends.empty(); }
  [[nodiscard]] std::int64_t generation() const { return launches.back().generation; }
  [[nodiscard]] const LogEvent* event(const std::string& name) const {
    for (auto one = events.rbegin(); one != events.rend(); ++one) {
      if (one->name == name) return &*one;
    }
    return nullptr;
  }
  [[nodiscard]] std::ptrdiff_t count(const std::string& name) const {
    return std::count_if(events.begin(), events.end(),
                         [&](const LogEvent& one) { return one.name == name; });
  }
  [[nodiscard]] std::string text(const std::string& name, const std::string& key) const {
    const observe::FieldValue* value = field(name, key);
    return value == nullptr ? "(none)" : std::get<std::string>(*value);
  }
  [[nodiscard]] double real(const std::string& name, const std::string& key) const {
    const observe::FieldValue* value = field(name, key);
    return value == nullptr ? -999 : std::get<double>(*value);
  }
  [[nodiscard]] std::int64_t number(const std::string& name, const std::string& key) const {
    const observe::FieldValue* value = field(name, key);
    return value == nullptr ? -999 : std::get<std::int64_t>(*value);
  }
  [[nodiscard]] std::string host_of(int rank) const {
    for (const HostSlots& host : launches.back().hosts) {
      if (rank < host.slots) return host.name;
      rank -= host.slots;
    }
    return {};
  }

  double now_s = 1000;
  std::vector<RankFinding> findings;  // answers
  std::vector<std::string> up;
  std::vector<std::string> unreachable;
  bool sweeps = true;

  std::vector<Launch> launches;  // what was done
  std::vector<SendStop> stops;
  std::vector<KillJob> kills;
  std::vector<std::string> reports;
  std::vector<LogEvent> events;
  std::vector<End> ends;
  int stacks = 0;

 private:
  [[nodiscard]] const observe::FieldValue* field(const std::string& name,
                                                 const std::string& key) const {
    const LogEvent* found = event(name);
    if (found == nullptr) return nullptr;
    for (const auto& [one, value] : found->fields) {
      if (one == key) return &value;
    }
    return nullptr;
  }
  void take(const std::vector<Action>& actions) {
    for (const Action& action : actions) {
      std::visit([this](const auto& one) { act(one); }, action);
    }
  }
  void act(const Launch& launch) {
    launches.push_back(launch);
    marks_ = 0;
  }
  void act(const KillJob& kill) {
    kills.push_back(kill);
    if (sweeps) tell(Swept{.generation = kill.generation, .unreachable = unreachable});
  }
  void act(const SendStop& stop) { stops.push_back(stop); }
  void act(const CollectStacks& collect) {
    ++stacks;
    tell(StacksCollected{.generation = collect.generation});
  }
  void act(const CheckHosts& check) {
    HostsChecked checked;
    for (const std::string& host : check.hosts) {
      if (std::find(up.begin(), up.end(), host) != up.end()) checked.up.push_back(host);
    }
    tell(checked);
  }
  void act(const ReadRings& read) {
    tell(RingsRead{.generation = read.generation, .ranks = findings});
  }
  void act(const Report& report) { reports.push_back(report.text); }
  void act(const LogEvent& event) { events.push_back(event); }
  void act(const End& end) { ends.push_back(end); }

  SupervisorOptions options_;
  Supervisor supervisor_;
  std::int64_t marks_ = 0;
};

}  // namespace dlt::supervise
