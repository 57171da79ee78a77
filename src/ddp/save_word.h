// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>

namespace dlt::ddp {

/// What a rank says about saving in every step's control word, so that the ranks agree without a
/// message of their own. Over ranks: the largest of each field, and checksums added up.
struct SaveWord {
  std::int64_t writing = 0;         // 1: this rank's share of the checkpoint at hand is not written
  std::int64_t failed = 0;          // why that checkpoint will not be one; 0: no reason
  std::int64_t published = 0;       // rank 0: checkpoints of this process that have their names
  std::int64_t due = 0;             // rank 0: by the clock a checkpoint is due behind this step
  std::int64_t snapshot_every = 0;  // steps between snapshots in memory that this rank can afford
  std::int64_t snapshot_failed = 0;  // 1: this rank's part of the last snapshot is not there
  std::uint64_t checksum = 0;        // of this rank's share, once it is written

  void combine(const SaveWord& other) {
    writing = std::max(writing, other.writing);
    failed = std::max(failed, other.failed);
    published = std::max(published, other.published);
    due = std::max(due, other.due);
    snapshot_every = std::max(snapshot_every, other.snapshot_every);
    snapshot_failed = std::max(snapshot_failed, other.snapshot_failed);
    checksum += other.checksum;
  }
  friend bool operator==(const SaveWord&, const SaveWord&) = default;
};

}  // namespace dlt::ddp
