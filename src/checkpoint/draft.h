// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/best.h"
#include "checkpoint/files.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"

namespace dlt::checkpoint {

/// The files of a checkpoint beside its manifest, by their numbers here.
inline constexpr std::array<const char*, 2> kFiles{kModelFile, kOptimizerFile};

/// A stretch of one of a checkpoint's files.
struct Extent {
  int file = 0;  // of kFiles
  std::int64_t offset = 0, num_bytes = 0;
  friend bool operator==(const Extent&, const Extent&) = default;
};

/// Its bytes, on whoever has them.
struct Stretch {
  Extent at;
  const std::byte* data = nullptr;
};

/// A file is checked in blocks of so many bytes; no share of it begins or ends within one, unless
/// at the edge of an extent of the draft.
inline constexpr std::int64_t kBlock_bytes = 1 << 20;

/// Of bytes that belong into a file, wherever they are just now: the sum, over the blocks of the
/// file, of a hash of what each holds of them. Sums of parts add up to that of the whole.
[[nodiscard]] std::uint64_t checksum(const Stretch& stretch);

/// What a safetensors file of this program says of itself.
[[nodiscard]] Metadata file_metadata(std::int64_t step);

/// A checkpoint on its way to the disk. Several processes write, one publishes.
struct Draft {
  Manifest manifest;                        // without files and weights hash
  std::string model_header;                 // the first bytes of the model's file
  std::array<std::int64_t, 2> num_bytes{};  // of each file
  std::vector<Extent> extents;              // all of both files, each file's in order
  std::optional<Best> best = {};            // it is the best one: to be written down with it
  std::uint64_t checksum = 0;               // the sum over all extents, of those who had the bytes
  [[nodiscard]] std::int64_t total_bytes() const { return num_bytes[0] + num_bytes[1]; }
};

/// Reads back what was written, a thread a file, and completes the manifest with what is there.
/// errors  Error(Exit::io) naming the file if size or checksum are not those of the draft
void complete_manifest(const std::string& folder, Draft& draft);

}  // namespace dlt::checkpoint
