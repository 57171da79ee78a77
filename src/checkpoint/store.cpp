// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/store.h"

#include <array>
#include <map>
#include <utility>

#include <sys/stat.h>

#include "base/checkpoint_folders.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "checkpoint/best.h"
#include "checkpoint/files.h"
#include "checkpoint/load.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"

namespace dlt::checkpoint {
namespace {

/// A checkpoint as bytes, all of it here.
struct Whole {
  std::array<Encoded, 2> files;
  Draft draft;
  std::vector<Stretch> stretches;
};

Whole whole_of(const Checkpoint& checkpoint) {
  const Metadata metadata = file_metadata(checkpoint.step);
  Whole out;
  out.files = {encode(checkpoint.model, metadata), encode(checkpoint.optimizer, metadata)};
  out.draft.model_header = out.files[0].header;
  for (std::size_t file = 0; file < out.files.size(); ++file) {
    // The header may have moved with its string.
    out.files[file].pieces[0] = std::as_bytes(std::span(out.files[file].header));
    out.draft.num_bytes[file] = out.files[file].num_bytes;
    std::int64_t at = 0;
    for (const auto& piece : out.files[file].pieces) {
      const Extent extent{.file = static_cast<int>(file),
                          .offset = at,
                          .num_bytes = static_cast<std::int64_t>(piece.size())};
      at += extent.num_bytes;
      out.draft.extents.push_back(extent);
      out.stretches.push_back({.at = extent, .data = piece.data()});
      out.draft.checksum += checksum(out.stretches.back());
    }
  }
  Manifest& manifest = out.draft.manifest;
  manifest.step = checkpoint.step;
  manifest.epoch = checkpoint.epoch;
  manifest.epoch_samples = checkpoint.epoch_samples;
  manifest.leaves = checkpoint.leaves;
  manifest.config_fingerprint = checkpoint.config_fingerprint;
  manifest.config_yaml = checkpoint.config_yaml;
  (void)encode_manifest(manifest);  // a text that cannot be written is better found before the rest
  return out;
}

/// Unlike exists(), also for a link that points nowhere.
bool is_there(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0;
}

bool is_valid(const std::string& folder) {
  try {
    verify_files(folder, load_manifest(folder));
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// By its manifest and the sizes of its files alone.
bool seems_valid(const std::string& folder) {
  try {
    (void)load_manifest(folder);
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// Whether the folder holds what would be written, bit for bit but for the time.
bool holds(const std::string& folder, Manifest wanted) {
  try {
    const Manifest found = load_manifest(folder);
    wanted.created_wall_s = found.created_wall_s;
    if (found != wanted) return false;
    verify_files(folder, found);
    return true;
  } catch (const Error&) {
    return false;  // damaged: write it again
  }
}

/// Work that may fail without harm: the error becomes a warning.
template <typename Action>
void attempt(std::vector<std::string>& warnings, Action action) {
  try {
    action();
  } catch (const Error& error) {
    warnings.emplace_back(error.what());
  }
}

}  // namespace

Store::Store(Fs& fs, std::string directory, int keep)
    : Store(fs, std::move(directory), StoreOptions{.retention = {.keep = keep}}) {}

Store::Store(Fs& fs, std::string directory, StoreOptions options)
    : fs_(&fs), directory_(std::move(directory)), options_(std::move(options)) {
  DLT_CHECK(options_.retention.keep >= 1, cat("keep ", options_.retention.keep));
}

std::string Store::in_directory(std::string_view prefix, const std::string& name) const {
  return cat(directory_, "/", prefix, name);
}

/// Another name in each generation: should a process of an earlier one still write, it writes
/// elsewhere.
std::string Store::writing_path(std::int64_t step) const {
  return in_directory(kWriting, options_.generation > 0
                                    ? cat(checkpoint_name(step), ".g", options_.generation)
                                    : checkpoint_name(step));
}

std::vector<std::int64_t> Store::steps() const {
  std::vector<std::int64_t> steps;
  for (const CheckpointPlace& place : complete_in(directory_)) steps.push_back(place.step);
  return steps;
}

std::string Store::path_of(std::int64_t step) const {
  for (const CheckpointPlace& place : complete_in(directory_)) {
    if (place.step == step) return place.path;
  }
  return in_directory("", checkpoint_name(step));
}

std::optional<Checkpoint> Store::load_newest(std::vector<std::string>& problems) const {
  return load_newest_of(complete_in(directory_), problems);
}

CommitResult Store::commit(const Checkpoint& checkpoint) {
  DLT_CHECK(checkpoint.step >= 0, cat("step ", checkpoint.step));
  const Whole whole = whole_of(checkpoint);
  std::vector<std::string> warnings;
  try {
    clean_up(warnings);
    begin(checkpoint.step, whole.draft.total_bytes());
    write_share(checkpoint.step, whole.stretches);
  } catch (const Error& error) {
    discard(checkpoint.step);
    throw Error(error.exit(),
                cat(error.what(), " (", in_directory("", checkpoint_name(checkpoint.step)),
                    " takes ", whole.draft.total_bytes(), " bytes)"),
                error.hint());
  }
  CommitResult result = publish(whole.draft);
  result.warnings.insert(result.warnings.begin(), warnings.begin(), warnings.end());
  return result;
}

/// A full disk is better found before a file is half written.
void Store::begin(std::int64_t step, std::int64_t num_bytes) {
  fs_->create_directories(directory_);
  const std::uint64_t free_bytes = fs_->free_bytes(directory_);
  if (free_bytes < static_cast<std::uint64_t>(num_bytes)) {
    throw Error(Exit::io,
                cat(in_directory("", checkpoint_name(step)), ": not enough room: ", free_bytes,
                    " bytes are free"),
                "free some space, or lower checkpoint.keep");
  }
}

void Store::write_share(std::int64_t step, std::span<const Stretch> stretches) {
  const std::string temporary = writing_path(step);
  fs_->create_directories(temporary);
  for (std::size_t file = 0; file < kFiles.size(); ++file) {
    std::vector<FileRange> ranges;
    for (const Stretch& stretch : stretches) {
      if (stretch.at.file != static_cast<int>(file)) continue;
      ranges.push_back({.offset = stretch.at.offset,
                        .bytes = {stretch.data, static_cast<std::size_t>(stretch.at.num_bytes)}});
    }
    if (!ranges.empty()) fs_->write_ranges_synced(cat(temporary, "/", kFiles[file]), ranges);
  }
}

CommitResult Store::publish(Draft draft) {
  const std::int64_t step = draft.manifest.step;
  const std::string temporary = writing_path(step);
  CommitResult result;
  result.path = in_directory("", checkpoint_name(step));
  result.num_bytes = draft.total_bytes();
  try {
    complete_manifest(temporary, draft);
    draft.manifest.created_wall_s = static_cast<std::int64_t>(SystemClock().wall_s());
    const std::string text = encode_manifest(draft.manifest);
    result.num_bytes += static_cast<std::int64_t>(text.size());
    if (options_.fence) options_.fence();
    if (holds(result.path, draft.manifest)) {
      discard(step);
      fs_->sync_directory(directory_);  // it may have been renamed just before a crash
    } else {
      const auto bytes = std::as_bytes(std::span(text));
      fs_->write_synced(cat(temporary, "/", kManifestFile), {&bytes, 1});
      fs_->sync_directory(temporary);
      give_name(step);
    }
    if (draft.best) write_best(*fs_, directory_, *draft.best);
  } catch (const Error& error) {
    discard(step);
    throw Error(error.exit(),
                cat(error.what(), " (", result.path, " takes ", result.num_bytes, " bytes)"),
                error.hint());
  }
  retire(step, result.warnings);
  return result;
}

std::uint64_t Store::free_bytes() { return fs_->free_bytes(directory_); }

void Store::discard(std::int64_t step) {
  std::vector<std::string> ignored;  // the write's own failure is the news
  const std::string temporary = writing_path(step);
  if (is_there(temporary)) attempt(ignored, [&] { fs_->remove_tree(temporary); });
}

/// A folder cannot be renamed over another: the old one steps aside under a name that load_newest()
/// still takes for this step until the new one is in place.
void Store::give_name(std::int64_t step) {
  const std::string final_path = in_directory("", checkpoint_name(step));
  const std::string old_path = in_directory(kReplacedCheckpoint, checkpoint_name(step));
  const bool replaces = is_there(final_path);
  if (replaces) fs_->rename(final_path, old_path);
  try {
    fs_->rename(writing_path(step), final_path);
  } catch (const Error&) {
    std::vector<std::string> ignored;  // if it cannot go back, it is found under its other name
    if (replaces) attempt(ignored, [&] { fs_->rename(old_path, final_path); });
    throw;
  }
  fs_->sync_directory(directory_);
}

/// Finishes what a crash has interrupted.
void Store::clean_up(std::vector<std::string>& warnings) {
  for (const std::string& name : list_directory(directory_)) {
    if (name.starts_with(kWriting) || name.starts_with(kRemoving)) {
      attempt(warnings, [&] { fs_->remove_tree(in_directory("", name)); });
    } else if (name.starts_with(kReplacedCheckpoint)) {
      const std::string original = name.substr(kReplacedCheckpoint.size());
      if (checkpoint_step(original) < 0) continue;  // not ours
      if (is_there(in_directory("", original))) {
        // First a name that is no checkpoint's: should the successor be removed while this folder
        // is half gone, it must not count again.
        attempt(warnings, [&] {
          const std::string trash = in_directory(kRemoving, original);
          fs_->rename(in_directory("", name), trash);
          fs_->remove_tree(trash);
        });
      } else {
        fs_->rename(in_directory("", name), in_directory("", original));
      }
    }
  }
}

/// Removes what the retention rule gives up, now that the checkpoint just committed is verified.
void Store::retire(std::int64_t committed, std::vector<std::string>& warnings) {
  attempt(warnings, [&] { clean_up(warnings); });  // the one that was replaced
  RetentionRule rule = options_.retention;
  if (const std::optional<Best> best = read_best(directory_)) rule.best = best->step;
  std::vector<Candidate> there;
  std::map<std::int64_t, std::string> paths;
  for (const CheckpointPlace& place : complete_in(directory_)) {
    const bool valid = place.step == committed  ? true
                       : place.step > committed ? is_valid(place.path)
                                                : seems_valid(place.path);
    there.push_back({.step = place.step, .valid = valid});
    paths[place.step] = place.path;
  }
  for (const std::int64_t step : steps_to_remove(there, committed, rule)) {
    attempt(warnings, [&] {
      // A folder that is half removed must never have a checkpoint's name.
      const std::string& path = paths[step];
      const std::string trash = in_directory(kRemoving, path.substr(path.rfind('/') + 1));
      fs_->rename(path, trash);
      fs_->remove_tree(trash);
    });
  }
}

void Store::clear() {
  std::vector<std::string> trash;
  for (const std::string& name : list_directory(directory_)) {
    if (name.starts_with(kWriting) || name.starts_with(kRemoving) || name == kBestFile) {
      trash.push_back(in_directory("", name));
    } else if (checkpoint_step(name) >= 0 ||
               (name.starts_with(kReplacedCheckpoint) &&
                checkpoint_step(name.substr(kReplacedCheckpoint.size())) >= 0)) {
      trash.push_back(in_directory(kRemoving, name));
      fs_->rename(in_directory("", name), trash.back());
    }
  }
  for (const std::string& path : trash) fs_->remove_tree(path);
}

}  // namespace dlt::checkpoint
