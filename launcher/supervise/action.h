// SPDX-License-Identifier: Apache-2.0
// What the supervisor wants done. dlrun does it in this order, without waiting for one before it
// begins the next; answers come as events.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "base/error.h"
#include "launcher/control/messages.h"
#include "launcher/supervise/host_slots.h"
#include "observe/events.h"

namespace dlt::supervise {

/// Raise the run's generation, then start the ranks. Answer: JobEnded, once the starter ends or
/// if it cannot be started at all.
struct Launch {
  std::int64_t generation = 0;
  std::int32_t ranks = 0;
  std::vector<HostSlots> hosts;          // slots: ranks on that host, which add up to ranks
  std::vector<std::int64_t> skip_steps;  // that make no update (fault.poison: skip), ascending
};

/// End every process of the generation on every host, and sweep what they leave. Answer: Swept,
/// each time. May come again when a sweep is not answered.
struct KillJob {
  std::int64_t generation = 0;
};

/// Tell ranks to finish the step, save and end.
struct SendStop {
  std::int32_t rank = -1;  // -1: all
  launcher::Stop stop;
};

/// Have every rank write the stacks of its threads to its log. Answer: StacksCollected.
struct CollectStacks {
  std::int64_t generation = 0;
};

/// Find out which hosts answer. Answer: HostsChecked.
struct CheckHosts {
  std::vector<std::string> hosts;
};

/// Read all flight rings, process states and last log lines. Answer: RingsRead.
struct ReadRings {
  std::int64_t generation = 0;
};

/// For people: some lines, the last one ended by a newline.
struct Report {
  std::string text;
};

/// A line of events.jsonl.
struct LogEvent {
  std::string name;
  observe::Fields fields;
};

/// dlrun ends with this code; nothing is left to do.
struct End {
  Exit exit = Exit::ok;
};

using Action = std::variant<Launch, KillJob, SendStop, CollectStacks, CheckHosts, ReadRings, Report,
                            LogEvent, End>;

}  // namespace dlt::supervise
