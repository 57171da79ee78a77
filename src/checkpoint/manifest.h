// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace dlt::checkpoint {

inline constexpr std::int64_t kFormatVersion = 1;
inline constexpr std::uint64_t kMaxManifest_bytes = 16 << 20;

struct FileFacts {
  std::int64_t num_bytes = 0;
  std::string sha256;
  friend bool operator==(const FileFacts&, const FileFacts&) = default;
};

/// All that manifest.json says.
struct Manifest {
  std::int64_t step = 0, epoch = 0, epoch_samples = 0, leaves = 1;
  std::string config_fingerprint, config_yaml, weights_hash;
  std::map<std::string, FileFacts> files;  // the model's and the optimiser's
  std::int64_t created_wall_s = 0;         // seconds since 1970, for people
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

/// The text of manifest.json. It ends with "manifest_sha256", the SHA-256 of the text without those
/// 64 digits.
/// errors  Error(Exit::config) if the configuration is not UTF-8 or the text is too long to be read
[[nodiscard]] std::string encode_manifest(const Manifest& manifest);

/// Reads text that may be hostile. Its own hash is compared before it is parsed, so that a changed
/// byte is reported as such.
/// errors  Error(Exit::data), prefixed by source: a hash that does not fit, not JSON, nested too
///         deeply, another version, a key that is unknown, missing, there twice or of another type
[[nodiscard]] Manifest decode_manifest(const std::string& source, std::string_view text);

}  // namespace dlt::checkpoint
