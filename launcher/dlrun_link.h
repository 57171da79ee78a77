// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "config/fault_options.h"
#include "launcher/failure.h"
#include "launcher/rank_env.h"
#include "observe/pulse.h"

namespace dlt::launcher {

/// This rank's tie to the dlrun that started it: control channel and flight ring. Without dlrun
/// nothing happens. A rank that dlrun lost, or that lost dlrun, is ended from here with
/// Exit::peer_lost; what dlrun's Stop sets is the flag of signals.h.
class DlrunLink {
 public:
  /// Of a process that dlrun did not start.
  DlrunLink() = default;
  /// Says Hello. ranks and clock outlive it.
  /// errors  as ControlClient's, and Error(Exit::denied) for a memory folder that is not this
  ///         user's alone
  DlrunLink(const RankEnv& ranks, Clock& clock);
  ~DlrunLink();
  DlrunLink(const DlrunLink&) = delete;
  DlrunLink& operator=(const DlrunLink&) = delete;

  [[nodiscard]] observe::Pulse& pulse();
  /// What the configuration says, once it has been read.
  void configured(const config::FaultOptions& fault, const std::string& training_file);
  /// Last words, of which the first count.
  void failed(const Failure& failure);
  void ended(Exit exit);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;  // null without dlrun
};

}  // namespace dlt::launcher
