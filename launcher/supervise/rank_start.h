// SPDX-License-Identifier: Apache-2.0
// What a generation's ranks are started with: their command line and what their environment tells.
#pragma once

#include <string>

#include "launcher/supervise/action.h"
#include "launcher/supervise/setup.h"
#include "launcher/supervise/starter.h"
#include "launcher/supervise/supervisor.h"

namespace dlt::supervise {

/// How far this call's ranks have got.
struct Headway {
  bool progressed = false;  // beyond their start
  bool saved = false;
};

/// A later generation goes on with this run. Where the first got no further than its start, what an
/// earlier run left is still there.
[[nodiscard]] Words rank_words(const JobSetup& setup, const Headway& headway);

struct ControlPoint {
  std::string address, token;
};
/// The variables that `launcher/rank_env` reads.
[[nodiscard]] EnvChanges told_to_ranks(const ControlPoint& control, const std::string& memory_dir,
                                       const Launch& launch, const Status& status);

}  // namespace dlt::supervise
