// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dlt::checkpoint {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kManifestFile = "manifest.json";
/// Beside the checkpoints: which of them is the best.
inline constexpr const char* kBestFile = "best.json";

/// Prefixes of what is not a checkpoint: one being written, one being removed, and one that is
/// being replaced, which counts as long as its successor has not got its name.
inline constexpr std::string_view kWriting = ".tmp-";
inline constexpr std::string_view kRemoving = ".trash-";
inline constexpr std::string_view kReplacing = ".old-";

/// "step-000000123"
[[nodiscard]] std::string folder_name(std::int64_t step);
/// The step of a checkpoint folder's name, -1 for a name of any other form.
[[nodiscard]] std::int64_t step_of(std::string_view name);

/// A checkpoint that is complete, by the name of its folder.
struct Place {
  std::int64_t step = 0;
  std::string path;
};
/// Those in a folder, ascending. Empty if there is no such folder.
[[nodiscard]] std::vector<Place> complete_in(const std::string& directory);

}  // namespace dlt::checkpoint
