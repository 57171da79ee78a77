// SPDX-License-Identifier: Apache-2.0
#include "checkpoint/store.h"

#include <algorithm>
#include <cstdio>

#include <sys/stat.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/text.h"
#include "checkpoint/manifest.h"
#include "checkpoint/safetensors.h"

namespace dlt::checkpoint {
namespace {

constexpr const char* kModelFile = "model.safetensors";
constexpr const char* kOptimizerFile = "optimizer.safetensors";
constexpr const char* kManifestFile = "manifest.json";
constexpr std::string_view kPrefix = "step-";
constexpr std::string_view kTemporary = ".tmp-";
constexpr std::string_view kTrash = ".trash-";
constexpr std::size_t kStepDigits = 9;
constexpr std::uint64_t kMaxManifest_bytes = 16 << 20;

std::string folder_name(std::int64_t step) {
  std::string digits = std::to_string(step);
  if (digits.size() < kStepDigits) digits.insert(0, kStepDigits - digits.size(), '0');
  return cat(kPrefix, digits);
}

/// The step of a checkpoint folder's name, or -1 for any other name.
std::int64_t step_of(const std::string& name) {
  if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + kStepDigits || name.size() > 24)
    return -1;
  const std::string digits = name.substr(kPrefix.size());
  if (digits.find_first_not_of("0123456789") != std::string::npos) return -1;
  const std::int64_t step = std::stoll(digits);
  return folder_name(step) == name ? step : -1;
}

FileFacts facts_of(const Encoded& encoded) {
  Sha256 hash;
  for (const auto piece : encoded.pieces) hash.update(piece);
  return {.num_bytes = encoded.num_bytes, .sha256 = hash.hex()};
}

bool is_folder(const std::string& path) {
  struct stat status {};
  return ::lstat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

/// A file of a checkpoint; one that is not there is a defect of the checkpoint, not a missing
/// input.
std::string read_part(const std::string& path, std::uint64_t max_bytes) {
  try {
    return read_file(path, {.max_bytes = max_bytes, .nofollow = true});
  } catch (const Error& error) {
    throw Error(Exit::data, error.what(), error.hint());
  }
}

Manifest read_manifest_of(const std::string& folder) {
  struct stat status {};
  if (::lstat(folder.c_str(), &status) != 0)
    throw Error(Exit::missing, cat(folder, ": no such checkpoint"));
  if (!S_ISDIR(status.st_mode)) throw Error(Exit::data, cat(folder, ": expected a folder"));
  const std::string path = cat(folder, "/", kManifestFile);
  Manifest manifest = read_manifest(path, read_part(path, kMaxManifest_bytes));
  const bool complete = manifest.files.size() == 2 && manifest.files.contains(kModelFile) &&
                        manifest.files.contains(kOptimizerFile);
  if (!complete)
    throw Error(Exit::data, cat(path, ": expected exactly ", kModelFile, " and ", kOptimizerFile));
  return manifest;
}

tensor::StateDict read_tensors(const std::string& folder, const Manifest& manifest,
                               const char* name) {
  const std::string path = cat(folder, "/", name);
  const FileFacts& facts = manifest.files.at(name);
  const std::string bytes = read_part(path, static_cast<std::uint64_t>(facts.num_bytes));
  if (bytes.size() != static_cast<std::size_t>(facts.num_bytes)) {
    throw Error(Exit::data, cat(path, ": ", bytes.size(), " bytes, expected ", facts.num_bytes));
  }
  const auto span = std::as_bytes(std::span<const char>(bytes));
  const std::string found = sha256_hex(span);
  if (found != facts.sha256) {
    throw Error(Exit::data, cat(path, ": its SHA-256 is ", found.substr(0, 12), "..., expected ",
                                printable(facts.sha256.substr(0, 12)), "..."));
  }
  return decode(path, span).state;
}

/// Steps of the complete checkpoints below a folder, ascending.
std::vector<std::int64_t> steps_in(const std::string& directory) {
  std::vector<std::int64_t> steps;
  for (const std::string& name : list_directory(directory)) {
    const std::int64_t step = step_of(name);
    if (step >= 0) steps.push_back(step);
  }
  std::sort(steps.begin(), steps.end());
  return steps;
}

/// Where the checkpoints of RUN, RUN/checkpoints lie; "" if the path is a checkpoint itself.
std::string checkpoints_below(const std::string& path) {
  if (is_folder(path + "/checkpoints")) return path + "/checkpoints";
  return steps_in(path).empty() ? "" : path;
}

}  // namespace

Store::Store(Fs& fs, std::string directory, int keep)
    : fs_(&fs), directory_(std::move(directory)), keep_(keep) {}

std::vector<std::int64_t> Store::steps() const { return steps_in(directory_); }

std::string Store::path_of(std::int64_t step) const {
  return cat(directory_, "/", folder_name(step));
}

CommitResult Store::commit(const Checkpoint& checkpoint) {
  const std::string name = folder_name(checkpoint.step);
  const std::string final_path = path_of(checkpoint.step);
  const Encoded model =
      encode(checkpoint.model, {{"format", "dltrain"}, {"step", std::to_string(checkpoint.step)}});
  const Encoded optimizer =
      encode(checkpoint.optimizer, {{"step", std::to_string(checkpoint.step)}});
  const Manifest manifest{
      .step = checkpoint.step,
      .epoch = checkpoint.epoch,
      .epoch_samples = checkpoint.epoch_samples,
      .leaves = checkpoint.leaves,
      .config_fingerprint = checkpoint.config_fingerprint,
      .config_yaml = checkpoint.config_yaml,
      .weights_hash = weights_hash(checkpoint.model),
      .files = {{kModelFile, facts_of(model)}, {kOptimizerFile, facts_of(optimizer)}}};
  const std::string text = manifest_text(manifest);
  const auto num_text = static_cast<std::int64_t>(text.size());
  const CommitResult result{.path = final_path,
                            .num_bytes = model.num_bytes + optimizer.num_bytes + num_text};

  fs_->create_directories(directory_);
  remove_leftovers();
  const std::string temporary = cat(directory_, "/", kTemporary, name);
  try {
    fs_->create_directories(temporary);
    fs_->write_synced(cat(temporary, "/", kModelFile), model.pieces);
    fs_->write_synced(cat(temporary, "/", kOptimizerFile), optimizer.pieces);
    const std::span<const std::byte> manifest_bytes = std::as_bytes(std::span<const char>(text));
    fs_->write_synced(cat(temporary, "/", kManifestFile), {&manifest_bytes, 1});
    fs_->sync_directory(temporary);
    // A resumed run may write a step a second time; the old one steps aside first.
    if (exists(final_path)) fs_->rename(final_path, cat(directory_, "/", kTrash, name));
    fs_->rename(temporary, final_path);
    fs_->sync_directory(directory_);
  } catch (const Error& error) {
    try {
      fs_->remove_tree(temporary);
    } catch (const Error&) {
      // The write's own failure is the news; the next commit removes what is left.
    }
    throw Error(error.exit(), cat(error.what(), " (a checkpoint of ", result.num_bytes, " bytes)"),
                error.hint());
  }
  retire(checkpoint.step);
  return result;
}

void Store::remove_leftovers() {
  for (const std::string& name : list_directory(directory_)) {
    const bool leftover = name.starts_with(kTemporary) || name.starts_with(kTrash);
    if (!leftover) continue;
    // An interrupted replacement: the step that stepped aside is the only copy.
    const std::string original = name.starts_with(kTrash) ? name.substr(kTrash.size()) : "";
    if (step_of(original) >= 0 && steps().empty()) {
      fs_->rename(cat(directory_, "/", name), cat(directory_, "/", original));
    } else {
      fs_->remove_tree(cat(directory_, "/", name));
    }
  }
}

void Store::retire(std::int64_t newest) {
  std::vector<std::int64_t> old = steps();
  std::erase(old, newest);
  const auto excess = static_cast<std::int64_t>(old.size()) - (keep_ - 1);
  for (std::int64_t i = 0; i < excess; ++i) {
    const std::string name = folder_name(old[static_cast<std::size_t>(i)]);
    // A half-removed folder must never have a checkpoint's name.
    fs_->rename(cat(directory_, "/", name), cat(directory_, "/", kTrash, name));
  }
  for (const std::string& name : list_directory(directory_)) {
    if (name.starts_with(kTrash)) fs_->remove_tree(cat(directory_, "/", name));
  }
}

std::optional<Checkpoint> Store::load_newest(std::vector<std::string>& problems) const {
  const std::vector<std::int64_t> all = steps();
  for (auto it = all.rbegin(); it != all.rend(); ++it) {
    try {
      return load(path_of(*it));
    } catch (const Error& error) {
      if (error.exit() != Exit::data && error.exit() != Exit::missing) throw;
      problems.emplace_back(error.what());
    }
  }
  if (all.empty()) return std::nullopt;
  throw Error(Exit::data,
              cat(directory_, ": all ", all.size(),
                  " checkpoints are damaged; the newest: ", problems.front()),
              "restore one from a copy, or start anew with --overwrite");
}

void Store::clear() {
  if (exists(directory_)) fs_->remove_tree(directory_);
}

Checkpoint load(const std::string& path) {
  const Manifest manifest = read_manifest_of(path);
  Checkpoint out{.step = manifest.step,
                 .epoch = manifest.epoch,
                 .epoch_samples = manifest.epoch_samples,
                 .leaves = manifest.leaves,
                 .config_fingerprint = manifest.config_fingerprint,
                 .config_yaml = manifest.config_yaml,
                 .model = read_tensors(path, manifest, kModelFile),
                 .optimizer = read_tensors(path, manifest, kOptimizerFile)};
  if (weights_hash(out.model) != manifest.weights_hash) {
    throw Error(Exit::data, cat(path, ": the weights do not have the manifest's weights_hash"));
  }
  return out;
}

Checkpoint load_any(const std::string& path) {
  if (!exists(path)) throw Error(Exit::missing, cat(path, ": no such checkpoint or run folder"));
  const std::string below = checkpoints_below(path);
  if (below.empty()) return load(path);
  SystemFs fs;
  std::vector<std::string> problems;
  auto newest = Store(fs, below, 1).load_newest(problems);
  if (!newest) throw Error(Exit::missing, cat(below, ": there is no checkpoint"));
  return std::move(*newest);
}

std::vector<Summary> list(const std::string& path) {
  if (!exists(path)) throw Error(Exit::missing, cat(path, ": no such checkpoint or run folder"));
  const std::string below = checkpoints_below(path);
  std::vector<std::string> folders;
  for (const std::int64_t step : steps_in(below))
    folders.push_back(cat(below, "/", folder_name(step)));
  if (below.empty()) folders.push_back(path);
  std::vector<Summary> out;
  for (const std::string& folder : folders) {
    Summary summary{.path = folder};
    try {
      const Manifest manifest = read_manifest_of(folder);
      summary.step = manifest.step;
      for (const auto& [name, facts] : manifest.files) summary.num_bytes += facts.num_bytes;
      summary.weights_hash = weights_hash(load(folder).model);
    } catch (const Error& error) {
      summary.problem = error.what();
    }
    out.push_back(std::move(summary));
  }
  return out;
}

}  // namespace dlt::checkpoint
