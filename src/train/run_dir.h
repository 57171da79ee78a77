// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/fs.h"
#include "checkpoint/store.h"
#include "train/memory_snapshots.h"
#include "train/run_config.h"

namespace dlt::train {

enum class ResumeMode : std::uint8_t { automatic, never, path };

struct ResumeOptions {
  ResumeMode mode = ResumeMode::automatic;
  std::string path;        // ResumeMode::path: a checkpoint, or a run's folder
  bool overwrite = false;  // start anew whatever the run's folder holds
};

/// What is to be done with a run's folder, decided before any rank does work. Reads only.
struct ResumeDecision {
  std::optional<checkpoint::Checkpoint> checkpoint;  // where to go on; none: from the start
  std::optional<SnapshotPlace> memory;               // ... that state was found in memory
  bool clear = false;                                // remove what an earlier run left there
  std::vector<std::string> warnings;                 // damaged checkpoints that were passed over
};

/// errors  Error(Exit::config) if the configuration differs from the run's in a key that may not
/// change,
///         naming the first such key; Error(Exit::data) if there are checkpoints and all are
///         damaged; Error(Exit::missing) if the path to resume from is not there
[[nodiscard]] ResumeDecision decide_resume(const RunConfig& config, const ResumeOptions& options,
                                           Fs& fs);

/// errors  as decide_resume() where a run's configuration (before_yaml, of dir) is another
void require_same_config(const RunConfig& config, const std::string& before_yaml,
                         const std::string& dir);

/// Paths of CONTRACT.md, "A run directory".
struct RunPaths {
  explicit RunPaths(const std::string& folder)
      : dir(folder),
        config(folder + "/config.resolved.yaml"),
        manifest(folder + "/manifest.json"),
        events(folder + "/events.jsonl"),
        checkpoints(folder + "/checkpoints"),
        hashes(folder + "/hashes.jsonl"),
        logs(folder + "/logs"),
        summary(folder + "/summary.json") {}
  std::string dir, config, manifest, events, checkpoints, hashes, logs, summary;
};

/// Seconds since 1970 at which the run first began, by its first event; now if there is none.
[[nodiscard]] double first_start_wall_s(const std::string& events_path);

/// YAML text of every key with its value.
[[nodiscard]] std::string resolved_yaml(const RunConfig& config);

/// Whether a run that starts anew goes on with the events of the one before.
enum class Events : std::uint8_t { remove, keep };

/// Removes what a run wrote (and nothing else that may lie in the folder).
void clear_run(const RunPaths& paths, Fs& fs, Events events = Events::remove);

}  // namespace dlt::train
