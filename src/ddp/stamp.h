// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>

namespace dlt::ddp {

/// Which of a run's messages this is. Travels with every message; both sides know what to expect.
struct Stamp {
  std::int64_t generation = 0;  // of the supervisor's start, 0 without one
  std::int64_t step = 0;
  std::int64_t bucket = 0;    // the number of buckets: the step's message behind the last one
  std::int64_t sequence = 0;  // steps that the reducer has begun: tells equal step numbers apart
  friend bool operator==(const Stamp&, const Stamp&) = default;
};

/// errors  Error(Exit::internal) "rank 1 sent step 4 bucket 2, rank 0 expected step 4 bucket 3";
///         generation and sequence are named where they differ
void require_expected(const Stamp& got, int from, const Stamp& expected, int self);

}  // namespace dlt::ddp
