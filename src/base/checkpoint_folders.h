// SPDX-License-Identifier: Apache-2.0
// The names of a run's checkpoints, which tell those that are complete.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dlt {

/// Prefix of one that is being replaced, which counts as long as its successor has not got its
/// name.
inline constexpr std::string_view kReplacedCheckpoint = ".old-";

/// "step-000000123"
[[nodiscard]] std::string checkpoint_name(std::int64_t step);
/// The step of a checkpoint folder's name, -1 for a name of any other form.
[[nodiscard]] std::int64_t checkpoint_step(std::string_view name);

/// A checkpoint that is complete, by the name of its folder; whether it verifies is another matter.
struct CheckpointPlace {
  std::int64_t step = 0;
  std::string path;
};
/// Those in a folder, ascending. Empty if there is no such folder.
[[nodiscard]] std::vector<CheckpointPlace> complete_in(const std::string& directory);

}  // namespace dlt
