// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "launcher/supervise/dlrun_options.h"

namespace dlt::supervise {

/// Runs a job undisturbed, then again and again with faults at random moments until so many were
/// made, and compares the weights: in RUN-drill/reference and RUN-drill/faulted. Prints a table and
/// PASS or FAIL to stdout. Returns Exit::internal for FAIL.
/// errors  Error if the undisturbed job does not end well, with its code
[[nodiscard]] Exit run_drill(const DrillOptions& options, Fs& fs, Clock& clock);

}  // namespace dlt::supervise
