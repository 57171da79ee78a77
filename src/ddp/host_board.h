// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ddp/host_wait.h"
#include "ddp/stamp.h"

namespace dlt::ddp {

/// What the ranks of a host tell each other through shared memory. Each writes on its own board and
/// reads the others': a stamp for each bucket that is final, a count of the slices it has summed,
/// and the step's message. Nothing is ever taken back, so no write may come before all peers have
/// read what it replaces. That holds because all of it is one step's round:
///   final(s+1) follows the writer's finish_step(s), which waited for all peers' slices of s, and a
///              peer counts a slice after it has read the stamps;
///   slices     only grow;
///   messages   alternate between two places: message(s+2) follows the writer's reading of all
///              messages(s+1), which their writers wrote after they had read all messages(s).
class HostBoard {
 public:
  struct Sizes {
    std::size_t num_buckets = 0;
    std::int64_t message_bytes = 0;
  };
  [[nodiscard]] static std::int64_t num_bytes(const Sizes& sizes);
  /// boards[i] is the zeroed board of ranks[i]; this rank's is boards[self]. Aligned to cache
  /// lines.
  HostBoard(std::vector<std::byte*> boards, std::vector<int> ranks, std::size_t self, Sizes sizes);

  [[nodiscard]] std::size_t num_ranks() const { return ranks_.size(); }
  [[nodiscard]] std::size_t self() const { return self_; }

  /// This rank's part of the bucket is final: what it wrote before is visible to who has waited.
  void post_final(const Stamp& stamp);
  /// errors  as HostWait::until(); Error(Exit::internal) if the peer posted another stamp
  void wait_final(std::size_t peer, const Stamp& stamp, const HostWait& wait) const;
  /// This rank's slice of the bucket is summed, and those of all buckets before it.
  void post_summed(const Stamp& stamp);
  void wait_summed(std::size_t peer, const Stamp& stamp, const HostWait& wait) const;
  /// From each rank message_bytes to recv, in the order of ranks. The last thing of a step.
  void allgather(const Stamp& stamp, const void* send, void* recv, const HostWait& wait);

 private:
  struct Line;
  [[nodiscard]] Line& final_line(std::size_t rank, std::int64_t bucket) const;
  [[nodiscard]] Line& summed_line(std::size_t rank) const;
  [[nodiscard]] Line& message_line(std::size_t rank, std::int64_t sequence) const;
  [[nodiscard]] std::byte* message(std::size_t rank, std::int64_t sequence) const;
  [[nodiscard]] std::int64_t num_summed(const Stamp& stamp) const;
  void wait_stamped(const Line& line, std::size_t peer, const Stamp& stamp,
                    const HostWait& wait) const;
  [[nodiscard]] std::string describe(const Stamp& stamp) const;

  std::vector<std::byte*> boards_;
  std::vector<int> ranks_;
  std::size_t self_;
  Sizes sizes_;
};

}  // namespace dlt::ddp
