// SPDX-License-Identifier: Apache-2.0
// The files of a checkpoint and beside checkpoints.
#pragma once

#include <string_view>

namespace dlt::checkpoint {

inline constexpr const char* kModelFile = "model.safetensors";
inline constexpr const char* kOptimizerFile = "optimizer.safetensors";
inline constexpr const char* kManifestFile = "manifest.json";
/// Beside the checkpoints: which of them is the best.
inline constexpr const char* kBestFile = "best.json";

/// Prefixes of what is not a checkpoint: one being written, and one being removed.
inline constexpr std::string_view kWriting = ".tmp-";
inline constexpr std::string_view kRemoving = ".trash-";

}  // namespace dlt::checkpoint
