// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>

namespace dlt::launcher {

/// From now on SIGTERM, SIGINT and SIGUSR1 ask for an end with the state saved: they set the flag
/// that is returned, which lives as long as the process. A second SIGINT ends the process at once.
/// SIGPIPE no longer ends it: a closed terminal must not stop training.
[[nodiscard]] const std::atomic<bool>& watch_stop_signals();

/// As if one of these signals had come. Any thread.
void request_stop() noexcept;

/// From now on these signals end the process as they usually do: a failed rank has nothing to save,
/// and mpirun's SIGTERM must end it without another word.
void stop_watching();

}  // namespace dlt::launcher
