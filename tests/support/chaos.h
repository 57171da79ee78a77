// SPDX-License-Identifier: Apache-2.0
// A communicator whose calls take any time they like: results must not depend on it.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/communicator.h"
#include "support/passing_communicator.h"

namespace dlt::test {

/// DLTRAIN_CHAOS_SEED, to see a failure again, else a new one each time; printed either way.
inline std::uint64_t chaos_seed() {
  const char* given = std::getenv("DLTRAIN_CHAOS_SEED");
  const std::uint64_t seed =
      given != nullptr ? std::strtoull(given, nullptr, 10) : std::random_device()();
  std::printf("DLTRAIN_CHAOS_SEED=%llu\n", static_cast<unsigned long long>(seed));
  return seed;
}

/// Passes every call on, after a pause that is often nothing, often long enough for all other
/// threads to run and now and then some hundred microseconds; pauses again before it returns. The
/// messages of an exchange are posted in another order (but for those of one pair of ranks, which
/// match in order). Pauses are a function of seed, rank and the count of calls.
class ChaosCommunicator final : public PassingCommunicator {
 public:
  ChaosCommunicator(std::unique_ptr<comm::Communicator> inner, std::uint64_t seed)
      : PassingCommunicator(std::move(inner)), random_(of_rank(seed)) {}
  ChaosCommunicator(comm::Communicator& inner, std::uint64_t seed)
      : PassingCommunicator(inner), random_(of_rank(seed)) {}

  void exchange(std::span<const comm::Send> sends,
                std::span<const comm::Receive> receives) override {
    PassingCommunicator::exchange(mixed(sends), mixed(receives));
  }

 private:
  [[nodiscard]] std::uint64_t of_rank(std::uint64_t seed) const {
    return seed * 1000003 + static_cast<std::uint64_t>(rank());
  }
  [[nodiscard]] std::unique_ptr<comm::Communicator> passing(
      std::unique_ptr<comm::Communicator> inner) override {
    return std::make_unique<ChaosCommunicator>(std::move(inner), random_());
  }
  void around_call() override { pause(); }

  void pause() {
    const std::uint64_t kind = random_() % 8;
    if (kind < 3) return;
    if (kind == 7) {
      std::this_thread::sleep_for(std::chrono::microseconds(random_() % 400));
      return;
    }
    for (std::uint64_t i = random_() % 50; i > 0; --i) std::this_thread::yield();
  }

  /// Peers in another order, each one's messages in theirs.
  template <typename Message>
  std::vector<Message> mixed(std::span<const Message> messages) {
    std::vector<std::uint64_t> place(static_cast<std::size_t>(world_size()));
    for (std::uint64_t& p : place) p = random_();
    std::vector<Message> out(messages.begin(), messages.end());
    std::stable_sort(out.begin(), out.end(), [&](const Message& a, const Message& b) {
      return place[static_cast<std::size_t>(a.peer)] < place[static_cast<std::size_t>(b.peer)];
    });
    return out;
  }

  std::mt19937_64 random_;
};

}  // namespace dlt::test
