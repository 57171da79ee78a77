// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace dlt {

/// Asks the scheduler for short turns, and so for early ones, for the calling thread and those it
/// starts afterwards. For a thread that shares its core with one that computes without a pause, and
/// has little to do each time: it would else wait for the end of the other's turn, some
/// milliseconds, whenever it has yielded. The share of processor time stays the same. Linux 6.12
/// and later; elsewhere nothing happens.
/// units   turn_s: 0.0001 to 0.1 seconds
/// source  sched_setattr(2); Documentation/scheduler/sched-eevdf.rst of the kernel
void prefer_turns_of(double turn_s) noexcept;

}  // namespace dlt
