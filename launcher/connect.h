// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>

#include "base/error.h"
#include "comm/communicator.h"
#include "launcher/command.h"

namespace dlt::launcher {

/// Connects the ranks (`comm.backend`: auto, self or mpi), runs body on each and disconnects. A
/// rank without a starter stays alone and starts no MPI, which alone would cost more than a small
/// job.
///
/// A failure of body is reported here, and its exit code returned. body's contract is to fail on
/// all ranks alike; a rank that fails alone, or whose peers are gone, ends the whole job. errors
/// Error(Exit::config) self on several ranks; Error(Exit::unavailable) if MPI sees other ranks than
/// the environment tells
[[nodiscard]] Exit run_on_ranks(const Context& context, const std::string& backend,
                                const std::function<Exit(comm::Communicator&)>& body);

}  // namespace dlt::launcher
