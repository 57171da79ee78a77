// SPDX-License-Identifier: Apache-2.0
#include "train/memory_snapshots.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "base/error.h"
#include "base/fs.h"
#include "base/kill_point.h"
#include "base/private_dir.h"
#include "base/text.h"
#include "data/convert.h"

namespace dlt::train {
namespace {

constexpr double kShare_of_steps = 0.01;
constexpr double kSmoothing = 0.2;  // of means of times: the last five or so count
constexpr std::int64_t kNever = std::int64_t{1} << 40;

double smoothed(double mean, double value) {
  return mean <= 0 ? value : mean + kSmoothing * (value - mean);
}

/// Whether parameters among these stretches hold a NaN or an infinity. The file's header is text.
bool any_bad(const StateFiles& files, const std::vector<checkpoint::Stretch>& share) {
  const auto header = static_cast<std::int64_t>(files.headers[0].size());
  return std::any_of(share.begin(), share.end(), [&](const checkpoint::Stretch& stretch) {
    if (stretch.at.file != 0 || stretch.at.offset < header) return false;
    const auto count = stretch.at.num_bytes / static_cast<std::int64_t>(sizeof(float));
    return data::find_non_finite(reinterpret_cast<const float*>(stretch.data), count) >= 0;
  });
}

}  // namespace

std::string slot_path(const std::string& memory_dir, int slot) {
  return cat(memory_dir, "/snapshot-", slot);
}

std::string part_name(std::int64_t rank) { return cat("part-", rank); }

MemorySnapshots::MemorySnapshots(MemorySnapshotOptions options, const Clock& clock)
    : options_(std::move(options)),
      clock_(&clock),
      good_slot_(options_.before.slot),
      sequence_(options_.before.sequence) {
  if (member().index != 0) return;
  try {
    make_folders();
  } catch (const Error& error) {
    gave_up_ = true;
    problem_ = cat("no snapshots in memory: ", error.what());
  }
}

void MemorySnapshots::make_folders() {
  SystemFs fs;
  fs.create_directories(std::filesystem::path(options_.memory_dir).parent_path().string());
  make_private_directory(options_.memory_dir);
  for (int slot = 0; slot < kNum_slots; ++slot) {
    if (slot == good_slot_) continue;
    fs.remove_tree(slot_path(options_.memory_dir, slot));
    make_private_directory(slot_path(options_.memory_dir, slot));
  }
}

void MemorySnapshots::say(ddp::SaveWord& word) const {
  word.snapshot_failed = failed_ ? 1 : 0;
  if (gave_up_) {
    word.snapshot_every = kNever;
  } else if (options_.every_steps) {
    word.snapshot_every = *options_.every_steps > 0 ? *options_.every_steps : kNever;
  } else {
    word.snapshot_every = affordable_interval(cost_s_, step_s_);
  }
}

void MemorySnapshots::note(const ddp::SaveWord& all, double step_s) {
  step_s_ = smoothed(step_s_, step_s);
  every_ = all.snapshot_every;
  if (pending_slot_ < 0) return;
  if (all.snapshot_failed == 0) good_slot_ = pending_slot_;
  pending_slot_ = -1;
}

bool MemorySnapshots::due(std::int64_t steps_done) const {
  if (every_ <= 0 || every_ >= kNever) return false;
  if (options_.every_steps) return steps_done % every_ == 0;
  return last_step_ < 0 || steps_done < last_step_ || steps_done - last_step_ >= every_;
}

std::int64_t MemorySnapshots::affordable_interval(double cost_s, double step_s) {
  if (step_s <= 0) return 1;
  return std::max<std::int64_t>(
      1, static_cast<std::int64_t>(std::ceil(cost_s / (kShare_of_steps * step_s))));
}

Member MemorySnapshots::member() const {
  const auto& ranks = options_.host_ranks;
  const auto at = std::find(ranks.begin(), ranks.end(), options_.rank) - ranks.begin();
  return {.index = static_cast<int>(at), .count = static_cast<int>(ranks.size())};
}

/// The first rank of a host also removes the parts of ranks that the host no longer has.
void MemorySnapshots::open_slot(int slot) {
  const std::string path = slot_path(options_.memory_dir, slot);
  if (member().index == 0) {
    std::set<std::string> live;
    for (const int rank : options_.host_ranks) live.insert(part_name(rank));
    SystemFs fs;
    for (const std::string& name : list_directory(path)) {
      if (!live.contains(name)) fs.remove_tree(cat(path, "/", name));
    }
  }
  writers_[static_cast<std::size_t>(slot)] =
      std::make_unique<checkpoint::PartWriter>(cat(path, "/", part_name(options_.rank)));
}

bool MemorySnapshots::take(const StateFiles& files, checkpoint::PartFacts facts, double began_s) {
  const int slot = next_slot();
  last_step_ = facts.step;
  failed_ = true;
  pending_slot_ = slot;
  const std::vector<checkpoint::Stretch> share = share_of(files, options_.rank, member());
  // Memory is taken with the first part of each slot: that costs once.
  const bool typical = writers_[static_cast<std::size_t>(slot)] != nullptr;
  if (!any_bad(files, share)) {
    try {
      if (!writers_[static_cast<std::size_t>(slot)]) open_slot(slot);
      facts.sequence = ++sequence_;
      facts.rank = options_.rank;
      DLT_KILL_POINT(snapshot_before);
      writers_[static_cast<std::size_t>(slot)]->write(facts, share);
      DLT_KILL_POINT(snapshot_after);
      failed_ = false;
    } catch (const Error& error) {
      gave_up_ = true;
      problem_ = cat("no more snapshots in memory: ", error.what());
    }
  }
  if (typical) cost_s_ = smoothed(cost_s_, clock_->monotonic_s() - began_s);
  return !failed_;
}

}  // namespace dlt::train
