// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "checkpoint/draft.h"

namespace dlt::checkpoint {

/// What a part of a snapshot says of the whole.
struct PartFacts {
  std::int64_t generation = 0, sequence = 0;  // which snapshot: the later the newer
  std::int64_t rank = 0, world_size = 1;      // whose part, of how many ranks
  std::int64_t step = 0, epoch = 0, epoch_samples = 0, leaves = 1;
  std::array<std::int64_t, 2> num_bytes{};  // of the files that all parts make up
  std::string config_fingerprint, config_yaml;
  friend bool operator==(const PartFacts&, const PartFacts&) = default;
};

/// One rank's part of a snapshot: stretches of the two files of a checkpoint.
struct MemoryPart {
  PartFacts facts;
  std::vector<Extent> extents;
  std::string bytes;  // of the extents, one behind the other
};

/// A part in a file that is mapped into memory, so that it outlives the process. It is of no value
/// from the begin of a write to its end.
class PartWriter {
 public:
  /// Replaces what is there; memory is taken with the first write.
  explicit PartWriter(std::string path);
  ~PartWriter();
  PartWriter(const PartWriter&) = delete;
  PartWriter& operator=(const PartWriter&) = delete;
  /// errors  Error(Exit::io) if there is no room for it
  void write(const PartFacts& facts, std::span<const Stretch> stretches);

 private:
  void reserve(std::size_t num_bytes);
  std::string path_;
  int fd_ = -1;
  std::byte* data_ = nullptr;
  std::size_t capacity_ = 0;
};

/// Reads what may be half written, damaged or none of ours.
/// errors  Error(Exit::data) naming the file if it does not verify
[[nodiscard]] MemoryPart read_part(const std::string& path);

}  // namespace dlt::checkpoint
