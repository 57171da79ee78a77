// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "checkpoint/memory_part.h"
#include "ddp/save_word.h"
#include "train/state_files.h"

namespace dlt::train {

/// Two slots of a host's memory that outlives its processes: the state lies in the one while the
/// other is being written. A slot holds a part of each rank of the host.
inline constexpr int kNum_slots = 2;
[[nodiscard]] std::string slot_path(const std::string& memory_dir, int slot);
[[nodiscard]] std::string part_name(std::int64_t rank);

/// Where the snapshots before lie; none: both slots are free.
struct SnapshotPlace {
  int slot = -1;
  std::int64_t sequence = 0;
};

struct MemorySnapshotOptions {
  std::string memory_dir;
  int rank = 0;
  std::vector<int> host_ranks;                   // all of this host, ascending
  std::optional<std::int64_t> every_steps = {};  // none: as often as costs under 1 % of the steps
  SnapshotPlace before = {};                     // what the run goes on from
};

/// Snapshots of a run's state in memory: a rank's part of the host's copy each, all of the same
/// step since the ranks agree on it in the step's control word.
class MemorySnapshots {
 public:
  /// The first rank of a host removes what lies in the slots that are free. If the folder cannot be
  /// used there are no snapshots, and take_problem() says why.
  MemorySnapshots(MemorySnapshotOptions options, const Clock& clock);

  /// What this rank says about snapshots in the next control word.
  void say(ddp::SaveWord& word) const;
  /// What all ranks have said; step_s is the time that the step took.
  void note(const ddp::SaveWord& all, double step_s);
  [[nodiscard]] bool due(std::int64_t steps_done) const;
  /// Writes this rank's part. False if the state is not finite, or there is no room: then
  /// problem() says so, once, and there is no further one.
  bool take(const StateFiles& files, checkpoint::PartFacts facts, double began_s);
  [[nodiscard]] std::string take_problem() { return std::exchange(problem_, {}); }

  /// Steps between snapshots that keep their cost under 1 %, at least 1.
  [[nodiscard]] static std::int64_t affordable_interval(double cost_s, double step_s);

 private:
  [[nodiscard]] int next_slot() const { return good_slot_ == 0 ? 1 : 0; }
  [[nodiscard]] Member member() const;
  void make_folders();
  void open_slot(int slot);

  MemorySnapshotOptions options_;
  const Clock* clock_;
  std::array<std::unique_ptr<checkpoint::PartWriter>, kNum_slots> writers_;
  int good_slot_;          // of the newest snapshot that all ranks have; -1: none
  int pending_slot_ = -1;  // of one that the others have not said of yet
  std::int64_t sequence_;
  std::int64_t last_step_ = -1;
  std::int64_t every_ = 0;          // as agreed; 0: not yet
  double cost_s_ = 0, step_s_ = 0;  // running means
  bool failed_ = false;             // the last one, on this rank
  bool gave_up_ = false;            // there is no room
  std::string problem_;
};

}  // namespace dlt::train
