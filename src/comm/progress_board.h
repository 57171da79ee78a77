// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "comm/communicator.h"

namespace dlt::comm {

/// How far the ranks of this host are, for messages about those that did not arrive. Looking asks
/// nobody, so it works when nobody answers.
class ProgressBoard {
 public:
  /// Collective. `host` must outlive the board.
  explicit ProgressBoard(Communicator& host);
  void post(std::int64_t step);
  /// Who has not come as far as this rank: "rank 2 is at step 811, rank 3 has begun no step".
  [[nodiscard]] std::string behind() const;

 private:
  [[nodiscard]] std::atomic_ref<std::int64_t> word(int local_rank) const;

  Communicator* host_;
  std::vector<int> ranks_;                // of this host
  std::unique_ptr<SharedMemory> memory_;  // null where ranks cannot share any
  std::int64_t step_ = -1;
};

}  // namespace dlt::comm
