// SPDX-License-Identifier: Apache-2.0
#include "comm/communicator.h"

#include <algorithm>

#include "base/error.h"
#include "base/text.h"

namespace dlt::comm {

Hosts lone_hosts(int world_size) {
  Hosts hosts;
  for (int r = 0; r < world_size; ++r) hosts.push_back({r});
  return hosts;
}

bool any_host_of_several(const Hosts& hosts) {
  return std::any_of(hosts.begin(), hosts.end(),
                     [](const std::vector<int>& ranks) { return ranks.size() > 1; });
}

std::vector<int> ranks_of_host(const Communicator& comm) {
  for (const std::vector<int>& ranks : comm.hosts()) {
    if (std::find(ranks.begin(), ranks.end(), comm.rank()) != ranks.end()) return ranks;
  }
  throw Error(Exit::internal, cat("rank ", comm.rank(), " is on no host"));
}

std::unique_ptr<SharedMemory> Communicator::share(std::int64_t /*num_bytes*/,
                                                  std::int64_t /*room_bytes*/) {
  return nullptr;
}

bool Communicator::knows_lost(int /*peer*/) const { return false; }

std::vector<std::string> allgather_text(Communicator& comm, const std::string& text) {
  const auto world_size = static_cast<std::size_t>(comm.world_size());
  const auto mine = static_cast<std::int64_t>(text.size());
  std::vector<std::int64_t> sizes(world_size);
  comm.allgather(&mine, sizes.data(), static_cast<std::int64_t>(sizeof mine));

  // Every rank sees the same sizes, so all of them throw or none does.
  std::int64_t longest = 0;
  for (std::size_t r = 0; r < world_size; ++r) {
    if (sizes[r] < 0 || sizes[r] > kMaxText_bytes) {
      throw Error(Exit::internal, cat("rank ", r, ": a text of ", sizes[r],
                                      " bytes for all ranks, expected at most ", kMaxText_bytes));
    }
    longest = std::max(longest, sizes[r]);
  }
  const auto stride = static_cast<std::size_t>(longest);
  std::string padded = text;
  padded.resize(stride);
  std::string all(world_size * stride, '\0');
  if (longest > 0) comm.allgather(padded.data(), all.data(), longest);

  std::vector<std::string> texts;
  texts.reserve(world_size);
  for (std::size_t r = 0; r < world_size; ++r) {
    texts.push_back(all.substr(r * stride, static_cast<std::size_t>(sizes[r])));
  }
  return texts;
}

}  // namespace dlt::comm
