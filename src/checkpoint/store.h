// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/fs.h"
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

/// The checkpoints of one run:
/// DIR/step-000000123/{model.safetensors,optimizer.safetensors,manifest.json}. Writing order: files
/// under DIR/.tmp-..., each synced, manifest last, folder synced, renamed, parent synced; only then
/// are older ones beyond `keep` removed. A folder of the final name is complete by definition.
/// manifest.json holds the SHA-256 of each file and, in "manifest_sha256", of itself (computed with
/// that field empty), so that a flipped bit anywhere is found. Byte-level:
/// docs/checkpoint_format.md.
class Store {
 public:
  /// fs must outlive the store. directory is RUN/checkpoints; made when first needed. keep is the
  /// number of checkpoints that commit() leaves, at least 1.
  Store(Fs& fs, std::string directory, int keep);
  /// Writes a checkpoint so that a crash at any instant leaves the old or the new state. A step
  /// that is there already is kept if it verifies and is the same, else replaced. Newer steps that
  /// do not verify are removed, those that do stay: never is the last good checkpoint given up.
  /// errors  Error(Exit::io) if it cannot be written, naming the path and the bytes it takes: what
  ///         was written of it is removed, and the others are all there;
  ///         Error(Exit::config) for names and texts that cannot be written (path-like, not UTF-8)
  CommitResult commit(const Checkpoint& checkpoint);
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
  void clean(std::vector<std::string>& warnings);
  void require_room(const std::string& path, std::int64_t num_bytes);
  void publish(const std::string& name);
  void retire(std::int64_t committed, std::vector<std::string>& warnings);
  Fs* fs_;
  std::string directory_;
  int keep_;
};

/// Loads and verifies one checkpoint folder. Symlinks inside are refused.
/// errors  Error(Exit::missing) no such folder; Error(Exit::data) for every defect, naming the file
[[nodiscard]] Checkpoint load(const std::string& path);
/// A checkpoint folder, a run folder (its newest valid checkpoint) or RUN/checkpoints.
[[nodiscard]] Checkpoint load_any(const std::string& path);

/// What is known without loading tensors, for `checkpoint list`.
struct Summary {
  std::string path;
  std::int64_t step = 0;
  std::int64_t num_bytes = 0;
  std::string weights_hash;  // "" if invalid
  std::string problem;       // "" if it verifies
};
[[nodiscard]] std::vector<Summary> list(const std::string& path);

}  // namespace dlt::checkpoint
