// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "ddp/reducer.h"

namespace dlt::ddp {

/// What a rank's reducer will hold and send, known before any rank is started.
struct Cost {
  // As Reducer::buffer_bytes(); where reduced buckets are released, the most that is in use at
  // once.
  std::int64_t buffer_bytes = 0;
  // Sent in messages in one step. exact: to the byte, without the step's small message; fast: the
  // gradients of a ring, the library may differ.
  std::int64_t sent_bytes = 0;
  // Rounds of messages in one step, each to and from all other ranks (of a lane), one behind the
  // other; without the step's small message. fast: none.
  std::int64_t num_rounds = 0;
  // That the rank brings to the memory which the ranks of its host share.
  std::int64_t shared_bytes = 0;
};
/// Of Reduction::exact without compression, beside the nodes; of options.nodes the number counts,
/// and options.hosts where ranks share memory.
[[nodiscard]] Cost cost_of_exact_reduction(const BucketReductionOptions& options);
/// hosts: which ranks will share memory, if the options want it.
[[nodiscard]] Cost planned_cost(const ReducerOptions& options, const comm::Hosts& hosts, int rank);

}  // namespace dlt::ddp
