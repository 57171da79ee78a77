// SPDX-License-Identifier: Apache-2.0
// Declares make_NAME() of every line of commands.def.
#pragma once

#include <memory>

#include "launcher/command.h"

namespace dlt::launcher {

#define DLT_COMMAND(name) [[nodiscard]] std::unique_ptr<Command> make_##name();
#include "launcher/commands.def"
#undef DLT_COMMAND

}  // namespace dlt::launcher
