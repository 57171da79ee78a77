// SPDX-License-Identifier: Apache-2.0
// Ranks are threads in tests: run_ranks(4, [](comm::Communicator& comm) { ... });
#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "comm/communicator.h"

namespace dlt {

/// Runs body once on each rank of a thread group, rank r on host host_of[r], and waits for all of
/// them. If ranks throw, the others' calls end with Error(Exit::peer_lost), and the exception that
/// came first is rethrown.
inline void run_ranks(const std::vector<int>& host_of,
                      const std::function<void(comm::Communicator&)>& body) {
  std::mutex mutex;
  std::exception_ptr first;
  const auto run = [&](std::unique_ptr<comm::Communicator> comm) {
    try {
      body(*comm);
    } catch (...) {
      {
        const std::lock_guard lock(mutex);
        if (!first) first = std::current_exception();
      }
      try {
        comm->abort(1);
      } catch (...) {  // a thread group's abort() wakes the other ranks, then throws
      }
    }
  };
  {
    std::vector<std::jthread> threads;
    for (auto& comm : comm::make_thread_group(static_cast<int>(host_of.size()), host_of)) {
      threads.emplace_back([&run, rank = std::move(comm)]() mutable { run(std::move(rank)); });
    }
  }
  if (first) std::rethrow_exception(first);
}

/// All on one host.
inline void run_ranks(int world_size, const std::function<void(comm::Communicator&)>& body) {
  run_ranks(std::vector<int>(static_cast<std::size_t>(world_size), 0), body);
}

}  // namespace dlt
