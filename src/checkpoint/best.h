// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/fs.h"

namespace dlt::checkpoint {

/// Which of a run's checkpoints is the best, in checkpoints/best.json.
struct Best {
  std::int64_t step = 0;
  std::string metric;
  double value = 0;
};

/// None if there is no such file, or it is none of ours: then no checkpoint is the best.
[[nodiscard]] std::optional<Best> read_best(const std::string& directory);
/// errors  Error(Exit::io)
void write_best(Fs& fs, const std::string& directory, const Best& best);

}  // namespace dlt::checkpoint
