// SPDX-License-Identifier: Apache-2.0
#include "launcher/commands.h"

namespace dlt::launcher {

std::vector<std::unique_ptr<Command>> make_commands() {
  std::vector<std::unique_ptr<Command>> out;
#define DLT_COMMAND(name) out.push_back(make_##name());
#include "launcher/commands.def"
#undef DLT_COMMAND
  return out;
}

}  // namespace dlt::launcher
