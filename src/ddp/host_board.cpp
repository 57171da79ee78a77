// SPDX-License-Identifier: Apache-2.0
#include "ddp/host_board.h"

#include <cstring>
#include <new>
#include <string>

#include "base/text.h"

namespace dlt::ddp {
namespace {

constexpr std::size_t kLine_bytes = 64;

std::size_t lines_of(std::int64_t num_bytes) {
  return (static_cast<std::size_t>(num_bytes) + kLine_bytes - 1) / kLine_bytes * kLine_bytes;
}

}  // namespace

/// One cache line, written by one rank. The stamp is plain memory: it is written before `count` and
/// read after it.
struct alignas(kLine_bytes) HostBoard::Line {
  std::atomic<std::int64_t> count{0};
  Stamp stamp;
};

std::int64_t HostBoard::num_bytes(const Sizes& sizes) {
  const std::size_t lines = sizes.num_buckets + 3;  // final, summed, two messages
  return static_cast<std::int64_t>(lines * sizeof(Line) + 2 * lines_of(sizes.message_bytes));
}

HostBoard::HostBoard(std::vector<std::byte*> boards, std::vector<int> ranks, std::size_t self,
                     Sizes sizes)
    : boards_(std::move(boards)), ranks_(std::move(ranks)), self_(self), sizes_(sizes) {
  static_assert(std::atomic<std::int64_t>::is_always_lock_free && sizeof(Line) == kLine_bytes);
}

HostBoard::Line& HostBoard::final_line(std::size_t rank, std::int64_t bucket) const {
  // Zeroed memory is a line of count 0; the objects live as long as the memory.
  return *std::launder(reinterpret_cast<Line*>(boards_[rank]) + bucket);
}

HostBoard::Line& HostBoard::summed_line(std::size_t rank) const {
  return final_line(rank, static_cast<std::int64_t>(sizes_.num_buckets));
}

HostBoard::Line& HostBoard::message_line(std::size_t rank, std::int64_t sequence) const {
  return final_line(rank, static_cast<std::int64_t>(sizes_.num_buckets) + 1 + sequence % 2);
}

std::byte* HostBoard::message(std::size_t rank, std::int64_t sequence) const {
  const std::size_t offset = (sizes_.num_buckets + 3) * sizeof(Line);
  const auto place = static_cast<std::size_t>(sequence % 2);
  return boards_[rank] + offset + place * lines_of(sizes_.message_bytes);
}

std::string HostBoard::describe(const Stamp& stamp) const {
  const bool sums = stamp.bucket == static_cast<std::int64_t>(sizes_.num_buckets);
  return cat(sums ? std::string("the sums") : cat("bucket ", stamp.bucket), " of step ",
             stamp.step);
}

void HostBoard::wait_stamped(const Line& line, std::size_t peer, const Stamp& stamp,
                             const HostWait& wait) const {
  wait.until([&] { return line.count.load(std::memory_order_acquire) >= stamp.sequence; },
             ranks_[peer], [&] { return describe(stamp); });
  require_expected(line.stamp, ranks_[peer], stamp, ranks_[self_]);
}

void HostBoard::post_final(const Stamp& stamp) {
  Line& line = final_line(self_, stamp.bucket);
  line.stamp = stamp;
  line.count.store(stamp.sequence, std::memory_order_release);
}

void HostBoard::wait_final(std::size_t peer, const Stamp& stamp, const HostWait& wait) const {
  wait_stamped(final_line(peer, stamp.bucket), peer, stamp, wait);
}

/// Slices summed since the start, once the stamp's is.
std::int64_t HostBoard::num_summed(const Stamp& stamp) const {
  return (stamp.sequence - 1) * static_cast<std::int64_t>(sizes_.num_buckets) + stamp.bucket + 1;
}

void HostBoard::post_summed(const Stamp& stamp) {
  summed_line(self_).count.store(num_summed(stamp), std::memory_order_release);
}

void HostBoard::wait_summed(std::size_t peer, const Stamp& stamp, const HostWait& wait) const {
  const Line& line = summed_line(peer);
  const std::int64_t wanted = num_summed(stamp);
  wait.until([&] { return line.count.load(std::memory_order_acquire) >= wanted; }, ranks_[peer],
             [&] { return describe(stamp); });
}

void HostBoard::allgather(const Stamp& stamp, const void* send, void* recv, const HostWait& wait) {
  const auto size = static_cast<std::size_t>(sizes_.message_bytes);
  std::memcpy(message(self_, stamp.sequence), send, size);
  Line& mine = message_line(self_, stamp.sequence);
  mine.stamp = stamp;
  mine.count.store(stamp.sequence, std::memory_order_release);
  for (std::size_t r = 0; r < num_ranks(); ++r) {
    wait_stamped(message_line(r, stamp.sequence), r, stamp, wait);
    std::memcpy(static_cast<std::byte*>(recv) + r * size, message(r, stamp.sequence), size);
  }
}

}  // namespace dlt::ddp
