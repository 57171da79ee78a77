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
class ChaosCommunicator final : public comm::Communicator {
 public:
  ChaosCommunicator(std::unique_ptr<comm::Communicator> inner, std::uint64_t seed)
      : ChaosCommunicator(*inner, seed) {
    owned_ = std::move(inner);
  }
  ChaosCommunicator(comm::Communicator& inner, std::uint64_t seed)
      : inner_(&inner), random_(seed * 1000003 + static_cast<std::uint64_t>(inner.rank())) {}

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int world_size() const override { return inner_->world_size(); }
  [[nodiscard]] int local_rank() const override { return inner_->local_rank(); }
  [[nodiscard]] int local_size() const override { return inner_->local_size(); }
  [[nodiscard]] comm::Hosts hosts() const override { return inner_->hosts(); }
  [[nodiscard]] bool knows_lost(int peer) const override { return inner_->knows_lost(peer); }
  [[nodiscard]] std::string name() const override { return inner_->name(); }
  [[nodiscard]] std::unique_ptr<comm::SharedMemory> share(std::int64_t num_bytes) override {
    const Pauses around(*this);
    return inner_->share(num_bytes);
  }
  void allreduce(comm::Buffer buffer, comm::ReduceOp op) override {
    const Pauses around(*this);
    inner_->allreduce(buffer, op);
  }
  void broadcast(void* data, std::int64_t num_bytes, int root) override {
    const Pauses around(*this);
    inner_->broadcast(data, num_bytes, root);
  }
  void allgather(const void* send, void* recv, std::int64_t num_bytes) override {
    const Pauses around(*this);
    inner_->allgather(send, recv, num_bytes);
  }
  void barrier() override {
    const Pauses around(*this);
    inner_->barrier();
  }
  void exchange(std::span<const comm::Send> sends,
                std::span<const comm::Receive> receives) override {
    const Pauses around(*this);
    const std::vector<comm::Send> mixed_sends = mixed(sends);
    const std::vector<comm::Receive> mixed_receives = mixed(receives);
    inner_->exchange(mixed_sends, mixed_receives);
  }
  [[nodiscard]] std::unique_ptr<comm::Communicator> duplicate() override {
    const Pauses around(*this);
    return std::make_unique<ChaosCommunicator>(inner_->duplicate(), random_());
  }
  [[noreturn]] void abort(int exit_code) override {
    inner_->abort(exit_code);
    std::abort();  // not reached
  }

 private:
  struct Pauses {
    explicit Pauses(ChaosCommunicator& of) : of_(of) { of_.pause(); }
    ~Pauses() { of_.pause(); }
    Pauses(const Pauses&) = delete;
    Pauses& operator=(const Pauses&) = delete;
    ChaosCommunicator& of_;
  };

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

  std::unique_ptr<comm::Communicator> owned_;
  comm::Communicator* inner_;
  std::mt19937_64 random_;
};

}  // namespace dlt::test
