// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "checkpoint/store.h"

namespace dlt::checkpoint {

inline constexpr std::int64_t kFormatVersion = 1;

struct FileFacts {
  std::int64_t num_bytes = 0;
  std::string sha256;
};

/// What manifest.json says, beside the tensors themselves.
struct Manifest {
  std::int64_t step = 0, epoch = 0, epoch_samples = 0, leaves = 1;
  std::string config_fingerprint, config_yaml, weights_hash;
  std::map<std::string, FileFacts> files;
};

/// JSON text that ends in "manifest_sha256": the hash of this very text with 64 zeros in that
/// place.
[[nodiscard]] std::string manifest_text(const Manifest& manifest);

/// errors  Error(Exit::data), prefixed by source: not JSON, another format version, a field that is
/// missing
///         or of another type, a hash that does not fit the text
[[nodiscard]] Manifest read_manifest(const std::string& source, const std::string& text);

}  // namespace dlt::checkpoint
