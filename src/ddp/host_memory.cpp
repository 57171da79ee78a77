// SPDX-License-Identifier: Apache-2.0
#include "ddp/host_memory.h"

#include <array>
#include <cstring>

#include "base/error.h"
#include "base/text.h"

namespace dlt::ddp {
namespace {

constexpr std::int64_t kPage_bytes = 4096;
/// Between results and buffers as between buffers: see buffer_stride_bytes().
constexpr std::int64_t kOffset_bytes = 64;
constexpr std::size_t kMost_nodes = 127;

/// How far behind the directory's own place each of a rank's nodes begins.
struct Directory {
  std::int64_t num_nodes = 0;
  std::array<std::int64_t, kMost_nodes> offset_bytes{};
};

std::int64_t whole_pages(std::int64_t num_bytes) {
  return (num_bytes + kPage_bytes - 1) / kPage_bytes * kPage_bytes;
}

std::int64_t board_bytes(const HostMemory::Sizes& sizes) {
  return whole_pages(HostBoard::num_bytes(sizes.board));
}

std::int64_t result_bytes(const HostMemory::Sizes& sizes) {
  return whole_pages(sizes.result_bytes + kOffset_bytes);
}

HostBoard make_board(const comm::SharedMemory& memory, const comm::Communicator& comm,
                     const HostBoard::Sizes& sizes) {
  std::vector<std::byte*> boards;
  for (int r = 0; r < comm.local_size(); ++r) boards.push_back(memory.segment(r));
  return {std::move(boards), comm::ranks_of_host(comm), static_cast<std::size_t>(comm.local_rank()),
          sizes};
}

}  // namespace

std::unique_ptr<HostMemory> HostMemory::share(comm::Communicator& comm, const Sizes& sizes) {
  std::int64_t num_bytes = board_bytes(sizes) + kPage_bytes + whole_pages(sizes.buffers_bytes);
  if (comm.local_rank() == 0) num_bytes += result_bytes(sizes);
  auto memory = comm.share(num_bytes);
  if (!memory) return nullptr;
  return std::unique_ptr<HostMemory>(new HostMemory(std::move(memory), comm, sizes));
}

HostMemory::HostMemory(std::unique_ptr<comm::SharedMemory> memory, const comm::Communicator& comm,
                       const Sizes& sizes)
    : memory_(std::move(memory)),
      sizes_(sizes),
      local_rank_(comm.local_rank()),
      local_size_(comm.local_size()),
      board_(make_board(*memory_, comm, sizes.board)) {
  static_assert(sizeof(Directory) <= kPage_bytes);
}

std::byte* HostMemory::after_board(int local_rank) const {
  return memory_->segment(local_rank) + board_bytes(sizes_);
}

float* HostMemory::result() const {
  return reinterpret_cast<float*>(after_board(0) + kPage_bytes + kOffset_bytes);
}

std::byte* HostMemory::buffers() const {
  std::byte* first = after_board(local_rank_) + kPage_bytes;
  return local_rank_ == 0 ? first + result_bytes(sizes_) : first;
}

void HostMemory::publish(comm::Communicator& comm, const std::vector<float*>& nodes) {
  DLT_CHECK(nodes.size() <= kMost_nodes, cat(nodes.size(), " nodes of a rank"));
  Directory mine{.num_nodes = static_cast<std::int64_t>(nodes.size()), .offset_bytes = {}};
  std::byte* here = after_board(local_rank_);
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    mine.offset_bytes[i] = reinterpret_cast<std::byte*>(nodes[i]) - here;
  }
  std::memcpy(here, &mine, sizeof mine);
  comm.barrier();
  for (int r = 0; r < local_size_; ++r) {
    Directory theirs;
    std::memcpy(&theirs, after_board(r), sizeof theirs);
    nodes_.emplace_back();
    for (std::int64_t i = 0; i < theirs.num_nodes; ++i) {
      nodes_.back().push_back(reinterpret_cast<const float*>(
          after_board(r) + theirs.offset_bytes[static_cast<std::size_t>(i)]));
    }
  }
}

}  // namespace dlt::ddp
