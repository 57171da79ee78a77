// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "launcher/control/messages.h"
#include "observe/flight_ring.h"
#include "observe/pulse.h"

namespace dlt::launcher {

struct ClientOptions {
  Hello hello;
  std::string address;  // HOST:PORT, as Supervision::control
  std::string token;    // 64 hex digits
  double heartbeat_s = 0.5;
  double cut_off_s = 60;   // a rank that hears nothing for so long ends
  double gone_s = 1.5;     // refused for so long, it takes dlrun for gone
  double handshake_s = 5;  // one try to connect
};

/// Called from the client's thread.
struct ClientEvents {
  /// dlrun says Stop.
  std::function<void(const Stop&)> stop;
  /// Why this rank is to end (Exit::peer_lost); at most once, and it need not return.
  std::function<void(const Error&)> cut_off;
};

/// A rank's end of the control channel. mark() writes the flight ring and, where a beat is due,
/// sends it from the thread that made the mark: nothing else makes beats, so that a stuck loop
/// falls silent. It never waits; what a full socket does not take is left out.
///
/// A thread of its own reads, connects anew, sends once the newest mark that mark() had no leave to
/// send, and watches whether dlrun is there. Heard of counts what the system of dlrun's host
/// acknowledges: a dlrun that is stopped is not gone. Time for which this process was stopped does
/// not count.
class ControlClient final : public observe::Pulse {
 public:
  /// Connects and says Hello. ring outlives the client.
  /// errors  Error(Exit::denied) if the two sides do not hold the same token;
  ///         Error(Exit::peer_lost) if dlrun is gone or takes nobody of this generation;
  ///         Error(Exit::unavailable) if the address is none
  ControlClient(const ClientOptions& options, const Clock& clock, observe::FlightRing& ring,
                ClientEvents events);
  /// Nothing is said: without last words before, dlrun takes the rank for dead.
  ~ControlClient() override;

  /// What the configuration says, once it has been read.
  void set_times(double heartbeat_s, double cut_off_s);
  void mark(const observe::Mark& mark) noexcept override;
  void saved(observe::SavedIn where, std::int64_t step) noexcept override;
  /// The last words, of which the first call counts: sent, and taken by dlrun, within 0.5 s or
  /// given up. The connection is not used any more.
  void failed(const Failed& failed) noexcept;
  void bye(Exit exit) noexcept;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::launcher
