// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "base/clock.h"
#include "base/error.h"
#include "base/fs.h"
#include "launcher/supervise/setup.h"

namespace dlt::supervise {

/// Starts the job, keeps it alive as the supervisor decides, and removes what it left. Messages go
/// to stderr, what rank 0 prints to stdout.
/// errors  Error if dlrun itself cannot go on: a fixed control port in use, another dlrun on the
///         same run, the run's folder not writable. No process of the job is left then.
[[nodiscard]] Exit run_job(const JobSetup& setup, Fs& fs, const Clock& clock);

}  // namespace dlt::supervise
