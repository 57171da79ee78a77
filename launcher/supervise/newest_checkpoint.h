// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace dlt::supervise {

/// The step of the newest checkpoint in RUN/checkpoints, by its name; -1: there is none. A folder
/// of such a name is complete by definition; whether it verifies is for the ranks to find out.
[[nodiscard]] std::int64_t newest_checkpoint(const std::string& run_dir);

}  // namespace dlt::supervise
