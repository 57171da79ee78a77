// SPDX-License-Identifier: Apache-2.0
#include "base/error.h"
#include "base/text.h"
#include "ddp/reducer.h"

namespace dlt::ddp {

void ReducerOptions::check() const {
  DLT_CHECK(
      num_leaves > 0 && num_workers > 0 && num_sums >= 0,
      cat("reducer: ", num_leaves, " leaves, ", num_workers, " workers, ", num_sums, " sums"));
  std::int64_t at = 0;
  for (const Bucket& bucket : buckets) {
    DLT_CHECK(bucket.begin == at && bucket.end > at, cat("reducer: no bucket begins at ", at));
    at = bucket.end;
  }
  DLT_CHECK(!release || shards, "reducer: only shards leave memory to be released");
  DLT_CHECK(at == total, cat("reducer: buckets end at ", at, " of ", total, " elements"));
}

bool ReducerOptions::wants_shared_memory(const comm::Hosts& hosts) const {
  return shared_memory && reduction == Reduction::exact && !compression.active() && !release &&
         comm::any_host_of_several(hosts) && (!shards || hosts.size() == 1);
}

}  // namespace dlt::ddp
