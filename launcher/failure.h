// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <exception>
#include <string>

#include "base/clock.h"
#include "base/error.h"
#include "launcher/rank_env.h"

namespace dlt::launcher {

/// An exception as the user sees it.
struct Failure {
  Exit exit = Exit::internal;
  std::string text;  // complete lines
  int rank = -1;     // whose failure it is, where the ranks agreed on one
};

[[nodiscard]] Failure failure_of(const Error& error);
/// Call it in a catch block. Error gives its own code and message; all else is Exit::internal.
[[nodiscard]] Failure current_failure();

/// Prints it to stderr, as this rank's own where it is not rank 0.
void print_failure(const Failure& failure, const RankEnv& ranks);

/// Ends a rank that failed before the ranks were connected. All ranks usually fail alike, so rank 0
/// speaks and returns at once, whereupon mpirun ends the others. A rank that still lives 1.5 s
/// later failed alone: it speaks for itself. Returns the exit code.
[[nodiscard]] int end_unconnected(const Failure& failure, const RankEnv& ranks, Clock& clock);

}  // namespace dlt::launcher
