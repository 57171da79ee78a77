// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdlib>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "comm/communicator.h"

namespace dlt::test {

/// Passes every call on to another communicator, for tests that change or count some of them.
class PassingCommunicator : public comm::Communicator {
 public:
  /// inner must outlive this.
  explicit PassingCommunicator(comm::Communicator& inner) : inner_(&inner) {}
  explicit PassingCommunicator(std::unique_ptr<comm::Communicator> inner)
      : owned_(std::move(inner)), inner_(owned_.get()) {}

  [[nodiscard]] int rank() const override { return inner_->rank(); }
  [[nodiscard]] int world_size() const override { return inner_->world_size(); }
  [[nodiscard]] int local_rank() const override { return inner_->local_rank(); }
  [[nodiscard]] int local_size() const override { return inner_->local_size(); }
  [[nodiscard]] comm::Hosts hosts() const override { return inner_->hosts(); }
  [[nodiscard]] bool knows_lost(int peer) const override { return inner_->knows_lost(peer); }
  [[nodiscard]] std::string name() const override { return inner_->name(); }
  [[nodiscard]] std::unique_ptr<comm::SharedMemory> share(std::int64_t num_bytes,
                                                          std::int64_t room_bytes) override {
    const Around around(*this);
    return inner_->share(num_bytes, room_bytes);
  }
  void allreduce(comm::Buffer buffer, comm::ReduceOp op) override {
    const Around around(*this);
    inner_->allreduce(buffer, op);
  }
  void broadcast(void* data, std::int64_t num_bytes, int root) override {
    const Around around(*this);
    inner_->broadcast(data, num_bytes, root);
  }
  void allgather(const void* send, void* recv, std::int64_t num_bytes) override {
    const Around around(*this);
    inner_->allgather(send, recv, num_bytes);
  }
  void barrier() override {
    const Around around(*this);
    inner_->barrier();
  }
  void exchange(std::span<const comm::Send> sends,
                std::span<const comm::Receive> receives) override {
    const Around around(*this);
    inner_->exchange(sends, receives);
  }
  [[nodiscard]] std::unique_ptr<comm::Communicator> duplicate() override {
    const Around around(*this);
    return passing(inner_->duplicate());
  }
  [[noreturn]] void abort(int exit_code) override {
    inner_->abort(exit_code);
    std::abort();  // not reached
  }

 protected:
  /// Of a duplicate, which is to behave as this one does.
  [[nodiscard]] virtual std::unique_ptr<comm::Communicator> passing(
      std::unique_ptr<comm::Communicator> inner) = 0;
  /// Before and after each call that talks to other ranks.
  virtual void around_call() {}

 private:
  struct Around {
    explicit Around(PassingCommunicator& of) : of_(of) { of_.around_call(); }
    ~Around() { of_.around_call(); }
    Around(const Around&) = delete;
    Around& operator=(const Around&) = delete;
    PassingCommunicator& of_;
  };

  std::unique_ptr<comm::Communicator> owned_;
  comm::Communicator* inner_;
};

}  // namespace dlt::test
