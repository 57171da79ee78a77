// SPDX-License-Identifier: Apache-2.0
// What every communicator must do, whatever carries it. To be called by all ranks.
#pragma once

#include <array>
#include <cstring>
#include <numeric>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

#include "comm/communicator.h"

namespace dlt::comm {

template <typename T>
void check_allreduce(Communicator& comm, DType dtype) {
  const int world_size = comm.world_size();
  const auto run = [&](ReduceOp op) {
    std::vector<T> values(5);
    for (std::size_t i = 0; i < values.size(); ++i) {
      values[i] = static_cast<T>(static_cast<std::size_t>(comm.rank()) + i);
    }
    comm.allreduce({.data = values.data(), .count = 5, .dtype = dtype}, op);
    return values;
  };
  const auto of = [](int value) { return static_cast<T>(value); };
  EXPECT_EQ(run(ReduceOp::sum)[2], of(world_size * (world_size - 1) / 2 + 2 * world_size));
  EXPECT_EQ(run(ReduceOp::min)[3], of(3));
  EXPECT_EQ(run(ReduceOp::max)[4], of(world_size + 3));
}

inline void check_collectives(Communicator& comm) {
  const int world_size = comm.world_size();
  check_allreduce<float>(comm, DType::f32);
  check_allreduce<double>(comm, DType::f64);
  check_allreduce<std::int32_t>(comm, DType::i32);
  check_allreduce<std::int64_t>(comm, DType::i64);
  check_allreduce<std::uint8_t>(comm, DType::u8);
  comm.allreduce({.data = nullptr, .count = 0}, ReduceOp::sum);
  for (int root = 0; root < world_size; ++root) {
    std::array<int, 3> data{comm.rank(), comm.rank(), comm.rank()};
    comm.broadcast(data.data(), sizeof data, root);
    EXPECT_EQ(data[2], root);
  }
  const std::int64_t mine = comm.rank() + 100;
  std::vector<std::int64_t> all(static_cast<std::size_t>(world_size));
  comm.allgather(&mine, all.data(), sizeof mine);
  for (int r = 0; r < world_size; ++r) EXPECT_EQ(all[static_cast<std::size_t>(r)], r + 100);
  comm.barrier();
}

/// Rank s sends rank r one message of num_bytes(s, r) and then one number; all pairs at once.
template <typename NumBytes>
void check_exchange(Communicator& comm, NumBytes num_bytes) {
  const int me = comm.rank();
  const auto world_size = static_cast<std::size_t>(comm.world_size());
  const auto content = [](int from, int to) { return static_cast<char>('a' + from * 7 + to); };
  std::vector<std::vector<char>> outgoing(world_size);
  std::vector<std::vector<char>> incoming(world_size);
  std::vector<int> numbers(world_size, -1);
  std::vector<Send> sends;
  std::vector<Receive> receives;
  for (std::size_t r = 0; r < world_size; ++r) {
    const int peer = static_cast<int>(r);
    outgoing[r].assign(static_cast<std::size_t>(num_bytes(me, peer)), content(me, peer));
    incoming[r].assign(static_cast<std::size_t>(num_bytes(peer, me)), '?');
    sends.push_back({peer, outgoing[r].data(), num_bytes(me, peer)});
    sends.push_back({peer, &me, sizeof me});
    receives.push_back({peer, incoming[r].data(), num_bytes(peer, me)});
    receives.push_back({peer, &numbers[r], sizeof(int)});
  }
  comm.exchange(sends, receives);
  for (std::size_t r = 0; r < world_size; ++r) {
    const std::vector<char> expected(incoming[r].size(), content(static_cast<int>(r), me));
    EXPECT_TRUE(incoming[r] == expected) << "from rank " << r;
    EXPECT_EQ(numbers[r], static_cast<int>(r));
  }
}

/// Segments of sizes that differ, several times over; each rank writes on all of its host.
inline void check_shared_memory(Communicator& comm) {
  for (int round = 0; round < 3; ++round) {
    const std::int64_t mine = 1000 * (comm.local_rank() + 1);
    const auto memory = comm.share(mine);
    ASSERT_NE(memory, nullptr);
    const auto me = static_cast<std::size_t>(comm.local_rank());
    for (int r = 0; r < comm.local_size(); ++r) {
      EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory->segment(r)) % 4096, 0u);
      EXPECT_EQ(memory->segment(r)[999], std::byte{0});
    }
    comm.barrier();
    for (int r = 0; r < comm.local_size(); ++r) {
      memory->segment(r)[me] = static_cast<std::byte>(100 * comm.rank() % 256 + round + 1);
    }
    comm.barrier();
    for (const std::vector<int>& ranks : comm.hosts()) {
      if (ranks[me % ranks.size()] != comm.rank()) continue;
      for (std::size_t r = 0; r < ranks.size(); ++r) {
        EXPECT_EQ(memory->segment(comm.local_rank())[r],
                  static_cast<std::byte>(100 * ranks[r] % 256 + round + 1));
      }
    }
    comm.barrier();
  }
}

inline void check_communicator(Communicator& comm) {
  EXPECT_GE(comm.rank(), 0);
  EXPECT_LT(comm.rank(), comm.world_size());
  EXPECT_EQ(comm.local_rank(), comm.rank());
  EXPECT_EQ(comm.local_size(), comm.world_size());
  for (int round = 0; round < 3; ++round) {
    check_collectives(comm);
    check_exchange(comm, [](int from, int to) { return 1000 * from + 10 * to; });
    check_exchange(comm, [](int, int) { return 0; });
    comm.exchange({}, {});
  }
}

/// The two channels run different things at the same time; their messages never mix.
inline void check_duplicate_from_another_thread(Communicator& comm) {
  const auto other = comm.duplicate();
  EXPECT_EQ(other->rank(), comm.rank());
  EXPECT_EQ(other->world_size(), comm.world_size());
  EXPECT_EQ(other->name(), comm.name());
  std::jthread thread([&] {
    for (int round = 0; round < 100; ++round) {
      check_exchange(*other, [](int from, int to) { return 3000 * (from + to); });
    }
  });
  for (int round = 0; round < 100; ++round) check_collectives(comm);
}

}  // namespace dlt::comm
