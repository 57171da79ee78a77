// SPDX-License-Identifier: Apache-2.0
#include "launcher/dlrun_link.h"

#include <cstdio>
#include <optional>
#include <utility>

#include <unistd.h>

#include "base/text.h"
#include "launcher/control/client.h"
#include "launcher/signals.h"

namespace dlt::launcher {
namespace {

constexpr double kOthers_first_s = 1.5;  // rank 0 speaks, and mpirun ends the others meanwhile

/// A rank trains on without a file for its ring, say when the memory is full.
std::unique_ptr<observe::FlightRing> make_ring(const Supervision& supervision,
                                               const RankEnv& ranks) {
  const observe::RingOwner owner{.rank = ranks.rank,
                                 .pid = ::getpid(),
                                 .generation = supervision.generation,
                                 .host = ranks.host};
  if (supervision.memory_dir.empty()) return std::make_unique<observe::FlightRing>(owner);
  try {
    return std::make_unique<observe::FlightRing>(supervision.memory_dir, owner);
  } catch (const Error& error) {
    if (error.exit() != Exit::io) throw;
    const std::string text = cat("dltrain: warning: rank ", ranks.rank, " (", ranks.host,
                                 "): no flight ring outlives it: ", error.what(), "\n");
    std::fwrite(text.data(), 1, text.size(), stderr);
    return std::make_unique<observe::FlightRing>(owner);
  }
}

}  // namespace

struct DlrunLink::Impl {
  Impl(const RankEnv& its_ranks, Clock& its_clock)
      : ranks(&its_ranks), clock(&its_clock), ring(make_ring(*its_ranks.supervision, its_ranks)) {
    const Supervision& supervision = *ranks->supervision;
    ControlClient& made =
        client.emplace(ClientOptions{.hello = {.rank = ranks->rank,
                                               .world_size = ranks->world_size,
                                               .local_rank = ranks->local_rank,
                                               .pid = ::getpid(),
                                               .generation = supervision.generation,
                                               .host = ranks->host},
                                     .address = supervision.control,
                                     .token = supervision.token},
                       *clock, *ring,
                       ClientEvents{.stop = [](const Stop&) { request_stop(); },
                                    .cut_off = [this](const Error& error) { end(error); }});
    made.mark({});
  }

  /// Called from the client's thread; the main thread may wait for ever for other ranks.
  [[noreturn]] void end(const Error& error) {
    ring->set_failure(error.what());
    stop_watching();  // mpirun's SIGTERM is to end a rank that waits here
    const Failure failure = failure_of(error);
    if (!ranks->root()) clock->sleep_s(kOthers_first_s);
    print_failure(failure, *ranks);
    ::_exit(static_cast<int>(failure.exit));
  }

  const RankEnv* ranks;
  Clock* clock;
  std::unique_ptr<observe::FlightRing> ring;
  std::optional<ControlClient> client;  // goes before the ring
};

DlrunLink::DlrunLink(const RankEnv& ranks, Clock& clock)
    : impl_(ranks.supervision ? std::make_unique<Impl>(ranks, clock) : nullptr) {}

DlrunLink::~DlrunLink() = default;

observe::Pulse& DlrunLink::pulse() {
  return impl_ ? static_cast<observe::Pulse&>(*impl_->client) : observe::silent_pulse();
}

void DlrunLink::configured(const config::FaultOptions& fault, const std::string& training_file) {
  if (!impl_) return;
  impl_->client->set_times(fault.heartbeat_s, 2 * fault.hang_timeout_s);
  impl_->ring->set_file(training_file);
}

void DlrunLink::failed(const Failure& failure) {
  if (!impl_) return;
  impl_->client->failed({.exit = failure.exit, .origin_rank = failure.rank, .text = failure.text});
}

void DlrunLink::ended(Exit exit) {
  if (impl_) impl_->client->bye(exit);
}

}  // namespace dlt::launcher
