// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace dlt {

/// Places of the code at which a test may end the process as if by SIGKILL. They exist only where
/// DLTRAIN_KILL_POINTS is defined: in the debug preset, and in the program dltrain_killable that
/// the tests build of the files that have some.
enum class KillPoint : std::uint8_t {
#define DLT_KILL_POINT_NAME(name) name,
#include "base/kill_points.def"
#undef DLT_KILL_POINT_NAME
};

/// What this process is to do at its kill points: "fs_before_sync:3" ends it when it comes to that
/// one for the third time; "record:PATH" appends the name of each one it comes to to a file, once.
/// Empty: nothing. Once, before any thread starts.
/// errors  Error(Exit::usage) for a plan of another form
void arm_kill_points(const std::string& plan);

/// Use DLT_KILL_POINT.
void reach_kill_point(KillPoint point) noexcept;

}  // namespace dlt

#ifdef DLTRAIN_KILL_POINTS
#define DLT_KILL_POINT(name) ::dlt::reach_kill_point(::dlt::KillPoint::name)
#else
#define DLT_KILL_POINT(name) static_cast<void>(0)
#endif
