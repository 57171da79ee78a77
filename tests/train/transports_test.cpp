// SPDX-License-Identifier: Apache-2.0
// The table of the first promise: the same weights hash for any number of ranks, any way in which
// their gradients travel, with and without overlap.
#include <map>

#include <gtest/gtest.h>

#include "base/text.h"
#include "train/small_job.h"

namespace dlt::train_test {
namespace {

struct Transport {
  std::string name;
  std::string setting;
  int hosts = 1;  // that the ranks are spread over
};

std::vector<int> blocks(int ranks, int hosts) {
  std::vector<int> host_of;
  for (int r = 0; r < ranks; ++r) host_of.push_back(r * hosts / ranks);
  return host_of;
}

TEST(Transports, GiveTheSameWeightsHash) {
  const TempFolder folder;
  const JobFiles files = write_small_job(folder, 47);
  const std::vector<Transport> transports{
      {"shared memory", "comm.shared_memory=auto", 1},
      {"shared memory for gradients alone", "comm.shared_memory=gradients", 1},
      {"point-to-point", "comm.shared_memory=off", 1},
      {"shared memory on each of two hosts, messages between them", "comm.shared_memory=auto", 2},
  };
  std::map<std::string, std::string> hashes;  // by row of the table
  for (const int ranks : {1, 2, 3, 4, 6, 8}) {
    for (const Transport& transport : transports) {
      if (transport.hosts > ranks) continue;
      for (const char* overlap : {"comm.overlap=true", "comm.overlap=false"}) {
        const train::RunSummary summary =
            run_job(files, {.ranks = ranks,
                            .overrides = {"train.leaves=8", "train.epochs=2", transport.setting,
                                          overlap, "comm.bucket_mb=0.0001"},
                            .resume = {.overwrite = true},
                            .host_of = blocks(ranks, transport.hosts)});
        EXPECT_EQ(summary.world_size, ranks);
        hashes[cat(ranks, " ranks, ", transport.name, ", ", overlap)] = summary.weights_hash;
      }
    }
  }
  EXPECT_EQ(hashes.size(), 6U * 2 * 4 - 2);
  for (const auto& [row, hash] : hashes) EXPECT_EQ(hash, hashes.begin()->second) << row;
}

}  // namespace
}  // namespace dlt::train_test
