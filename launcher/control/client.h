// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
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
  double cut_off_s = 60;  // a rank that hears nothing for so long ends
  double gone_s = 2;      // so long after the first of refusals only dlrun is taken for gone
};

/// A rank's end of the control channel. mark() writes the flight ring and, where a beat is due,
/// sends it from the thread that made the mark: nothing else makes beats, so that a stuck loop
/// falls silent. It never waits; what a full socket does not take is left out. A thread of its own
/// reads, connects anew, sends once the newest mark that mark() had no leave to send, and watches
/// whether dlrun is there.
class ControlClient final : public observe::Pulse {
 public:
  /// Connects and says Hello. ring may be null. stop is set when dlrun says Stop. cut_off is called
  /// at most once, from the client's thread, with the reason why this rank is to end
  /// (Exit::peer_lost); it need not return.
  /// errors  Error(Exit::denied) if the two sides do not hold the same token;
  ///         Error(Exit::peer_lost) if dlrun is gone;
  ///         Error(Exit::unavailable) if the address is none
  ControlClient(const ClientOptions& options, const Clock& clock, observe::FlightRing* ring,
                std::atomic<bool>& stop, std::function<void(const Error&)> cut_off);
  /// Says Bye if nothing else was said last.
  ~ControlClient() override;

  /// What the configuration says, once it has been read.
  void set_times(double heartbeat_s, double cut_off_s);
  void mark(const observe::Mark& mark) noexcept override;
  void saved(observe::SavedIn where, std::int64_t step) noexcept override;
  /// The last words, sent within 0.5 s or not at all. The first call counts.
  void failed(const Failed& failed) noexcept;
  void bye(Exit exit) noexcept;
  /// What dlrun said, if it did.
  [[nodiscard]] std::optional<Stop> stop_request() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::launcher
