// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"
#include "checkpoint/draft.h"
#include "checkpoint/retention.h"
#include "tensor/tensor.h"

namespace dlt::checkpoint {

/// All that a run needs to go on.
struct Checkpoint {
  std::int64_t step = 0;   // optimiser updates done
  std::int64_t epoch = 0;  // position: epochs done, and samples of the current one
  std::int64_t epoch_samples = 0;
  std::int64_t leaves = 1;
  std::string config_fingerprint;
  std::string config_yaml;  // the resolved configuration
  tensor::StateDict model;
  tensor::StateDict optimizer;  // "m.dense_1.weight", ...
};

struct CommitResult {
  std::string path;
  std::int64_t num_bytes = 0;
  std::vector<std::string> warnings;  // older checkpoints or leftovers that could not be removed
};

struct StoreOptions {
  RetentionRule retention = {};      // its `best` is read from best.json
  std::int64_t generation = 0;       // of the writer; 0: not under dlrun
  std::function<void()> fence = {};  // called right before a checkpoint gets its name: throws if it
                                     // must not
};

/// The checkpoints of one run:
/// DIR/step-000000123/{model.safetensors,optimizer.safetensors,manifest.json}. Writing order: files
/// under DIR/.tmp-..., each synced, manifest last, folder synced, renamed, parent synced; only then
/// are older ones that the retention rule gives up removed. A folder of the final name is complete
/// by definition. manifest.json holds the SHA-256 of each file and, in "manifest_sha256", of itself
/// (computed with that field empty), so that a flipped bit anywhere is found. Byte-level:
/// docs/checkpoint_format.md.
class Store {
 public:
  /// fs must outlive the store. directory is RUN/checkpoints; made when first needed. keep is the
  /// number of checkpoints that commit() leaves, at least 1.
  Store(Fs& fs, std::string directory, int keep);
  Store(Fs& fs, std::string directory, StoreOptions options);
  /// Writes a checkpoint so that a crash at any instant leaves the old or the new state. A step
  /// that is there already is kept if it verifies and is the same, else replaced. Newer steps that
  /// do not verify are removed, those that do stay: never is the last good checkpoint given up.
  /// errors  Error(Exit::io) if it cannot be written, naming the path and the bytes it takes: what
  ///         was written of it is removed, and the others are all there;
  ///         Error(Exit::config) for names and texts that cannot be written (path-like, not UTF-8)
  CommitResult commit(const Checkpoint& checkpoint);

  // A checkpoint that several processes write, which is what commit() does alone: clean_up() once
  // per run, begin(), write_share() by each process, publish().

  /// Removes what interrupted writes left, of any process. What cannot be removed is a warning.
  void clean_up(std::vector<std::string>& warnings);
  /// errors  Error(Exit::io) if the disk has no room for so many bytes
  void begin(std::int64_t step, std::int64_t num_bytes);
  /// Writes and syncs stretches of the two files; any process, in any order, also before begin().
  /// errors  Error(Exit::io)
  void write_share(std::int64_t step, std::span<const Stretch> stretches);
  /// Verifies what all have written, by reading it, and makes it a checkpoint; then removes what
  /// the retention rule gives up.
  /// errors  as commit(), and what the fence throws
  CommitResult publish(Draft draft);
  /// Removes what was written of a checkpoint that will not be one. Never throws.
  void discard(std::int64_t step);
  /// On the file system of the checkpoints. errors  Error(Exit::io)
  [[nodiscard]] std::uint64_t free_bytes();

  /// Steps of the complete checkpoints, ascending. Ignores names of another form.
  [[nodiscard]] std::vector<std::int64_t> steps() const;
  [[nodiscard]] std::string path_of(std::int64_t step) const;
  /// The newest that verifies, skipping invalid ones (their errors are appended to problems). None
  /// if there is no checkpoint at all. errors  Error(Exit::data) if there are checkpoints and all
  /// are bad
  [[nodiscard]] std::optional<Checkpoint> load_newest(std::vector<std::string>& problems) const;
  /// Removes every checkpoint and leftover of an interrupted write.
  void clear();

 private:
  [[nodiscard]] std::string in_directory(std::string_view prefix, const std::string& name) const;
  [[nodiscard]] std::string writing_path(std::int64_t step) const;
  void give_name(std::int64_t step);
  void retire(std::int64_t committed, std::vector<std::string>& warnings);
  Fs* fs_;
  std::string directory_;
  StoreOptions options_;
};

/// Loads and verifies one checkpoint folder. Symlinks inside are refused.
/// errors  Error(Exit::missing) no such folder; Error(Exit::data) for every defect, naming the file
[[nodiscard]] Checkpoint load(const std::string& path);
/// A checkpoint folder, a run folder (its newest valid checkpoint) or RUN/checkpoints.
[[nodiscard]] Checkpoint load_any(const std::string& path);

/// What is known of a checkpoint, for `checkpoint list`.
struct Summary {
  std::string path;
  std::int64_t step = 0;
  std::int64_t num_bytes = 0;
  std::string weights_hash;  // "" if invalid
  std::string problem;       // "" if it verifies
  std::string best;          // "accuracy 0.97" for the best one of a run
};
[[nodiscard]] std::vector<Summary> list(const std::string& path);

}  // namespace dlt::checkpoint
