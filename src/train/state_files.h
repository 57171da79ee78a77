// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "checkpoint/draft.h"
#include "ddp/bucket_reduction.h"
#include "ddp/leaf_tree.h"
#include "tensor/storage.h"
#include "tensor/tensor.h"
#include "train/comm_plan.h"
#include "train/model_state.h"

namespace dlt::train {

/// Settled: every rank has all parameters and averages. With shards that takes a moment behind a
/// step; until then a rank has its own shard of them.
enum class Settled : std::uint8_t { yes, no };

/// What a run's state consists of, and which rank has which part of it.
struct StateSource {
  const ModelState& state;  // its average complete
  const CommPlan& plan;
  ddp::LeafDivision division;
  ddp::ReductionState reduction;
  int rank = 0, world_size = 1;
  Settled settled = Settled::yes;
};

/// A run's state as the files of a checkpoint, without copying any of it: where each stretch of
/// both files is. The same extents on every rank, whatever the number of ranks.
struct StateFiles {
  struct Piece {
    checkpoint::Extent at;
    const std::byte* data = nullptr;  // null where this rank does not have it
    int owner = kEveryRank;           // the rank that has it
  };
  static constexpr int kEveryRank = -1;

  std::array<std::string, 2> headers;
  tensor::StateDict small;  // what lies in no buffer
  std::array<std::int64_t, 2> num_bytes{};
  std::vector<Piece> pieces;  // all of both files, each file's in order
};

/// On the heap: pieces point into it.
[[nodiscard]] std::unique_ptr<StateFiles> state_files(const StateSource& source, std::int64_t step);

/// Who shares the work of writing what every rank has.
struct Member {
  int index = 0, count = 1;
};
/// What a rank is to write: all that it alone has, and its part of what every rank has, cut between
/// blocks (checkpoint::kBlock_bytes). Parts of less than a block are not made, so that a small
/// state is one member's.
[[nodiscard]] std::vector<checkpoint::Stretch> share_of(const StateFiles& files, int rank,
                                                        Member member);

/// A copy of a share. Its memory is kept from one to the next.
class ShareCopy {
 public:
  /// Takes memory for such a share before there is one, so that the first copy is as quick as the
  /// others.
  void reserve(const std::vector<checkpoint::Stretch>& share);
  void take(const std::vector<checkpoint::Stretch>& share);
  [[nodiscard]] const std::vector<checkpoint::Stretch>& stretches() const { return stretches_; }

 private:
  tensor::Storage bytes_;
  std::vector<checkpoint::Stretch> stretches_;
};

}  // namespace dlt::train
