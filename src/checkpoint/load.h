// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/checkpoint_folders.h"
#include "checkpoint/manifest.h"
#include "checkpoint/store.h"

namespace dlt::checkpoint {

/// The manifest of a checkpoint folder, with the sizes and kinds of its files compared but nothing
/// of them read. errors  as load()
[[nodiscard]] Manifest load_manifest(const std::string& folder);

/// Whether the bytes of both files are those that the manifest names. errors  as load()
void verify_files(const std::string& folder, const Manifest& manifest);

/// The newest that verifies; what is wrong with the newer ones is appended to problems.
/// errors  Error(Exit::data) if there are some and all are bad
[[nodiscard]] std::optional<Checkpoint> load_newest_of(const std::vector<CheckpointPlace>& places,
                                                       std::vector<std::string>& problems);

}  // namespace dlt::checkpoint
