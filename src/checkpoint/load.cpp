// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/load.h"

#include <algorithm>
#include <cerrno>
#include <exception>
#include <filesystem>
#include <iomanip>
#include <sstream>
#include <system_error>
#include <thread>

#include <sys/stat.h>
#include <unistd.h>

#include "base/checkpoint_folders.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/best.h"
#include "checkpoint/files.h"
#include "checkpoint/safetensors.h"

namespace dlt::checkpoint {
namespace {

std::string shown(const std::string& path) { return printable(path, 4096); }

[[noreturn]] void refuse_file(const std::string& path, const std::string& what) {
  throw Error(Exit::data, cat(shown(path), ": ", what));
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

void require_directory(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    throw Error(Exit::missing, cat(shown(path), ": no such checkpoint (",
                                   std::system_category().message(errno), ")"));
  }
  if (!S_ISDIR(status.st_mode)) {
    throw Error(Exit::data, cat(shown(path), ": not a folder"),
                "a checkpoint is a folder such as checkpoints/step-000000123");
  }
}

/// Bytes of a file of a checkpoint. Links are not followed: what they point to is not ours.
std::int64_t size_of(const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) {
    refuse_file(path, errno == ENOENT ? "missing" : std::system_category().message(errno));
  }
  if (S_ISLNK(status.st_mode)) refuse_file(path, "a symbolic link, want a regular file");
  if (!S_ISREG(status.st_mode)) refuse_file(path, "not a regular file");
  return status.st_size;
}

/// What is not there, or may not be opened, is a defect of the checkpoint here.
std::string read_whole(const std::string& path, std::uint64_t max_bytes) {
  try {
    return read_file(path, {.max_bytes = max_bytes, .nofollow = true});
  } catch (const Error& error) {
    throw Error(Exit::data, error.what(), error.hint());
  }
}

/// A sparse file can claim any size; reading one larger than the memory would end with the process.
void require_memory_for(const std::string& path, std::int64_t num_bytes) {
  const std::int64_t memory_bytes =
      std::int64_t{::sysconf(_SC_PHYS_PAGES)} * ::sysconf(_SC_PAGESIZE);
  if (num_bytes > memory_bytes) {
    refuse_file(
        path, cat(num_bytes, " bytes, more than the memory of this machine (", memory_bytes, ")"));
  }
}

std::string read_verified(const std::string& folder, const Manifest& manifest, const char* name) {
  const std::string path = cat(folder, "/", name);
  const FileFacts& facts = manifest.files.at(name);
  require_memory_for(path, facts.num_bytes);
  std::string bytes = read_whole(path, static_cast<std::uint64_t>(facts.num_bytes));
  if (bytes.size() != static_cast<std::size_t>(facts.num_bytes)) {
    refuse_file(path, cat(bytes.size(), " bytes, the manifest says ", facts.num_bytes));
  }
  const std::string found = sha256_hex(std::as_bytes(std::span(bytes)));
  if (found != facts.sha256) {
    refuse_file(path, cat("changed since it was written: SHA-256 is ", found.substr(0, 12),
                          "..., the manifest says ", facts.sha256.substr(0, 12), "..."));
  }
  return bytes;
}

tensor::StateDict read_tensors(const std::string& folder, const Manifest& manifest,
                               const char* name) {
  const std::string bytes = read_verified(folder, manifest, name);
  return decode(shown(cat(folder, "/", name)), std::as_bytes(std::span(bytes))).state;
}

std::string base_name(const std::string& path) {
  const std::filesystem::path normal = std::filesystem::path(path).lexically_normal();
  return (normal.has_filename() ? normal : normal.parent_path()).filename().string();
}

/// The folder's name and the manifest must agree on the step: folders may have been swapped.
void require_step(const std::string& folder, const Manifest& manifest) {
  std::string name = base_name(folder);
  if (name.starts_with(kReplacedCheckpoint)) name.erase(0, kReplacedCheckpoint.size());
  const std::int64_t step = checkpoint_step(name);
  if (step >= 0 && step != manifest.step) {
    refuse_file(folder,
                cat("holds the checkpoint of step ", manifest.step, ", its name says ", step));
  }
}

/// Those below a run folder or RUN/checkpoints; nothing for a checkpoint folder.
std::vector<CheckpointPlace> places_below(const std::string& path) {
  if (checkpoint_step(base_name(path)) >= 0) return {};
  const std::string checkpoints = path + "/checkpoints";
  return complete_in(is_directory(checkpoints) ? checkpoints : path);
}

bool looks_like_checkpoint(const std::string& path) {
  return checkpoint_step(base_name(path)) >= 0 || exists(cat(path, "/", kModelFile));
}

/// "accuracy 0.9722"
std::string text_of(const Best& best) {
  std::ostringstream out;
  out << printable(best.metric) << " " << std::setprecision(6) << best.value;
  return out.str();
}

[[noreturn]] void fail_none_below(const std::string& path) {
  throw Error(Exit::missing, cat(shown(path), ": no checkpoint in this folder"),
              "want a checkpoint folder (step-000000123), a run folder or its checkpoints folder");
}

}  // namespace

Manifest load_manifest(const std::string& folder) {
  require_directory(folder);
  const std::string path = cat(folder, "/", kManifestFile);
  (void)size_of(path);
  Manifest manifest = decode_manifest(shown(path), read_whole(path, kMaxManifest_bytes));
  require_step(folder, manifest);
  for (const auto& [name, facts] : manifest.files) {
    const std::string file = cat(folder, "/", name);
    const std::int64_t num_bytes = size_of(file);
    if (num_bytes != facts.num_bytes) {
      refuse_file(file, cat(num_bytes, " bytes, the manifest says ", facts.num_bytes));
    }
  }
  return manifest;
}

void verify_files(const std::string& folder, const Manifest& manifest) {
  for (const auto& [name, facts] : manifest.files) {
    (void)read_verified(folder, manifest, name.c_str());
  }
}

Checkpoint load(const std::string& path) {
  const Manifest manifest = load_manifest(path);
  Checkpoint out;
  out.step = manifest.step;
  out.epoch = manifest.epoch;
  out.epoch_samples = manifest.epoch_samples;
  out.leaves = manifest.leaves;
  out.config_fingerprint = manifest.config_fingerprint;
  out.config_yaml = manifest.config_yaml;
  std::exception_ptr failure;
  {
    const std::jthread optimizer([&] {  // a thread a file: hashing takes most of the time
      try {
        out.optimizer = read_tensors(path, manifest, kOptimizerFile);
      } catch (...) {
        failure = std::current_exception();
      }
    });
    out.model = read_tensors(path, manifest, kModelFile);
  }
  if (failure) std::rethrow_exception(failure);
  const std::string hash = weights_hash(out.model);
  if (hash != manifest.weights_hash) {
    refuse_file(path, cat("weights hash is ", hash.substr(0, 12), "..., the manifest says ",
                          manifest.weights_hash.substr(0, 12), "..."));
  }
  return out;
}

std::optional<Checkpoint> load_newest_of(const std::vector<CheckpointPlace>& places,
                                         std::vector<std::string>& problems) {
  std::string found;
  for (auto place = places.rbegin(); place != places.rend(); ++place) {
    try {
      return load(place->path);
    } catch (const Error& error) {
      if (error.exit() != Exit::data && error.exit() != Exit::missing) throw;
      problems.emplace_back(error.what());
      found += cat(found.empty() ? "" : "; ", error.what());
    }
  }
  if (places.empty()) return std::nullopt;
  throw Error(Exit::data,
              cat("no checkpoint is valid (", places.size(), " tried): ", printable(found, 2000)),
              "restore one from a copy, or start anew with --overwrite");
}

Checkpoint load_any(const std::string& path) {
  require_directory(path);
  const std::vector<CheckpointPlace> places = places_below(path);
  if (places.empty()) {
    if (!looks_like_checkpoint(path)) fail_none_below(path);
    return load(path);
  }
  std::vector<std::string> problems;
  return *load_newest_of(places, problems);
}

std::vector<Summary> list(const std::string& path) {
  require_directory(path);
  std::vector<CheckpointPlace> places = places_below(path);
  if (places.empty() && looks_like_checkpoint(path)) {
    places.push_back({std::max<std::int64_t>(checkpoint_step(base_name(path)), 0), path});
  }
  std::optional<Best> best;
  if (!places.empty())
    best = read_best(std::filesystem::path(places[0].path).parent_path().string());
  std::vector<Summary> out;
  for (const CheckpointPlace& place : places) {
    Summary summary;
    if (best && best->step == place.step) summary.best = text_of(*best);
    summary.path = place.path;
    summary.step = place.step;
    try {
      const Manifest manifest = load_manifest(place.path);
      summary.step = manifest.step;
      summary.num_bytes = size_of(cat(place.path, "/", kManifestFile));
      for (const auto& [name, facts] : manifest.files) summary.num_bytes += facts.num_bytes;
      (void)load(place.path);
      summary.weights_hash = manifest.weights_hash;
    } catch (const Error& error) {
      summary.problem = error.what();
    }
    out.push_back(std::move(summary));
  }
  return out;
}

}  // namespace dlt::checkpoint
