// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/store.h"

#include <algorithm>
#include <tuple>
#include <utility>

#include <sys/stat.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/folders.h"
#include "checkpoint/load.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"

namespace dlt::checkpoint {
namespace {

/// A checkpoint as bytes, ready to be written.
struct Prepared {
  Encoded model, optimizer;
  Manifest manifest;
  std::string manifest_text;
  std::int64_t num_bytes = 0;
};

FileFacts facts_of(const Encoded& encoded) {
  Sha256 hash;
  for (const auto& piece : encoded.pieces) hash.update(piece);
  return {.num_bytes = encoded.num_bytes, .sha256 = hash.hex()};
}

Prepared prepare(const Checkpoint& checkpoint) {
  const Metadata metadata{{"format", "dltrain"}, {"step", std::to_string(checkpoint.step)}};
  Prepared out;
  out.model = encode(checkpoint.model, metadata);
  out.optimizer = encode(checkpoint.optimizer, metadata);
  out.manifest.step = checkpoint.step;
  out.manifest.epoch = checkpoint.epoch;
  out.manifest.epoch_samples = checkpoint.epoch_samples;
  out.manifest.leaves = checkpoint.leaves;
  out.manifest.config_fingerprint = checkpoint.config_fingerprint;
  out.manifest.config_yaml = checkpoint.config_yaml;
  out.manifest.weights_hash = weights_hash(checkpoint.model);
  out.manifest.files = {{kModelFile, facts_of(out.model)},
                        {kOptimizerFile, facts_of(out.optimizer)}};
  out.manifest.created_wall_s = static_cast<std::int64_t>(SystemClock().wall_s());
  out.manifest_text = encode_manifest(out.manifest);
  out.num_bytes = out.model.num_bytes + out.optimizer.num_bytes +
                  static_cast<std::int64_t>(out.manifest_text.size());
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
    : fs_(&fs), directory_(std::move(directory)), keep_(keep) {
  DLT_CHECK(keep >= 1, cat("keep ", keep));
}

std::string Store::in_directory(std::string_view prefix, const std::string& name) const {
  return cat(directory_, "/", prefix, name);
}

std::vector<std::int64_t> Store::steps() const {
  std::vector<std::int64_t> steps;
  for (const Place& place : complete_in(directory_)) steps.push_back(place.step);
  return steps;
}

std::string Store::path_of(std::int64_t step) const {
  for (const Place& place : complete_in(directory_)) {
    if (place.step == step) return place.path;
  }
  return in_directory("", folder_name(step));
}

std::optional<Checkpoint> Store::load_newest(std::vector<std::string>& problems) const {
  return load_newest_of(complete_in(directory_), problems);
}

CommitResult Store::commit(const Checkpoint& checkpoint) {
  DLT_CHECK(checkpoint.step >= 0, cat("step ", checkpoint.step));
  const Prepared prepared = prepare(checkpoint);
  const std::string name = folder_name(checkpoint.step);
  const std::string temporary = in_directory(kWriting, name);
  CommitResult result;
  result.path = in_directory("", name);
  result.num_bytes = prepared.num_bytes;
  try {
    fs_->create_directories(directory_);
    clean(result.warnings);
    if (holds(result.path, prepared.manifest)) {
      fs_->sync_directory(directory_);  // it may have been renamed just before a crash
    } else {
      require_room(result.path, prepared.num_bytes);
      fs_->create_directories(temporary);
      fs_->write_synced(cat(temporary, "/", kModelFile), prepared.model.pieces);
      fs_->write_synced(cat(temporary, "/", kOptimizerFile), prepared.optimizer.pieces);
      const auto manifest_bytes = std::as_bytes(std::span(prepared.manifest_text));
      fs_->write_synced(cat(temporary, "/", kManifestFile), {&manifest_bytes, 1});
      fs_->sync_directory(temporary);
      publish(name);
    }
  } catch (const Error& error) {
    std::vector<std::string> ignored;  // the write's own failure is the news
    if (is_there(temporary)) attempt(ignored, [&] { fs_->remove_tree(temporary); });
    throw Error(error.exit(),
                cat(error.what(), " (", result.path, " takes ", result.num_bytes, " bytes)"),
                error.hint());
  }
  retire(checkpoint.step, result.warnings);
  return result;
}

/// A full disk is better found before a file is half written.
void Store::require_room(const std::string& path, std::int64_t num_bytes) {
  const std::uint64_t free_bytes = fs_->free_bytes(directory_);
  if (free_bytes < static_cast<std::uint64_t>(num_bytes)) {
    throw Error(Exit::io, cat(path, ": not enough room: ", free_bytes, " bytes are free"),
                "free some space, or lower checkpoint.keep");
  }
}

/// A folder cannot be renamed over another: the old one steps aside under a name that load_newest()
/// still takes for this step until the new one is in place.
void Store::publish(const std::string& name) {
  const std::string final_path = in_directory("", name);
  const std::string old_path = in_directory(kReplacing, name);
  const bool replaces = is_there(final_path);
  if (replaces) fs_->rename(final_path, old_path);
  try {
    fs_->rename(in_directory(kWriting, name), final_path);
  } catch (const Error&) {
    std::vector<std::string> ignored;  // if it cannot go back, it is found under its other name
    if (replaces) attempt(ignored, [&] { fs_->rename(old_path, final_path); });
    throw;
  }
  fs_->sync_directory(directory_);
}

/// Finishes what a crash has interrupted.
void Store::clean(std::vector<std::string>& warnings) {
  for (const std::string& name : list_directory(directory_)) {
    if (name.starts_with(kWriting) || name.starts_with(kRemoving)) {
      attempt(warnings, [&] { fs_->remove_tree(in_directory("", name)); });
    } else if (name.starts_with(kReplacing)) {
      const std::string original = name.substr(kReplacing.size());
      if (step_of(original) < 0) continue;  // not ours
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

/// Keeps the checkpoint just committed, every newer one that verifies, and of the older ones as
/// many as `keep` leaves room for, the newest that look valid first.
void Store::retire(std::int64_t committed, std::vector<std::string>& warnings) {
  attempt(warnings, [&] { clean(warnings); });  // the one that was replaced
  std::vector<std::tuple<bool, std::int64_t, std::string>> older;
  std::vector<std::string> surplus;
  auto room = static_cast<std::size_t>(keep_) - 1;
  for (const Place& place : complete_in(directory_)) {
    if (place.step < committed) {
      older.emplace_back(seems_valid(place.path), place.step, place.path);
    } else if (place.step > committed) {
      if (!is_valid(place.path)) {
        surplus.push_back(place.path);
      } else if (room > 0) {
        --room;
      }
    }
  }
  std::sort(older.rbegin(), older.rend());
  for (std::size_t i = room; i < older.size(); ++i) surplus.push_back(std::get<2>(older[i]));
  for (const std::string& path : surplus) {
    attempt(warnings, [&] {
      // A folder that is half removed must never have a checkpoint's name.
      const std::string trash = in_directory(kRemoving, path.substr(path.rfind('/') + 1));
      fs_->rename(path, trash);
      fs_->remove_tree(trash);
    });
  }
}

void Store::clear() {
  std::vector<std::string> trash;
  for (const std::string& name : list_directory(directory_)) {
    if (name.starts_with(kWriting) || name.starts_with(kRemoving)) {
      trash.push_back(in_directory("", name));
    } else if (step_of(name) >= 0 ||
               (name.starts_with(kReplacing) && step_of(name.substr(kReplacing.size())) >= 0)) {
      trash.push_back(in_directory(kRemoving, name));
      fs_->rename(in_directory("", name), trash.back());
    }
  }
  for (const std::string& path : trash) fs_->remove_tree(path);
}

}  // namespace dlt::checkpoint
