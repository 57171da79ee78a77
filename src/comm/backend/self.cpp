// SPDX-License-Identifier: Apache-2.0
// One rank: every collective is a copy, a message to oneself is one, too.
#include <cstdlib>
#include <cstring>

#include "base/error.h"
#include "base/text.h"
#include "comm/communicator.h"

namespace dlt::comm {
namespace {

void copy(void* to, const void* from, std::int64_t num_bytes) {
  if (num_bytes > 0 && to != from) std::memmove(to, from, static_cast<std::size_t>(num_bytes));
}

class SelfCommunicator final : public Communicator {
 public:
  [[nodiscard]] int rank() const override { return 0; }
  [[nodiscard]] int world_size() const override { return 1; }
  [[nodiscard]] int local_rank() const override { return 0; }
  [[nodiscard]] int local_size() const override { return 1; }
  [[nodiscard]] std::string name() const override { return "self"; }

  void allreduce(Buffer /*buffer*/, ReduceOp /*op*/) override {}
  void broadcast(void* /*data*/, std::int64_t /*num_bytes*/, int root) override {
    DLT_CHECK(root == 0, "broadcast: the only rank is 0");
  }
  void allgather(const void* send, void* recv, std::int64_t num_bytes) override {
    copy(recv, send, num_bytes);
  }
  void barrier() override {}
  void exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    DLT_CHECK(sends.size() == receives.size(), "exchange: every message to oneself is received");
    for (std::size_t i = 0; i < sends.size(); ++i) {
      DLT_CHECK(sends[i].peer == 0 && receives[i].peer == 0, "exchange: the only rank is 0");
      DLT_CHECK(
          sends[i].num_bytes == receives[i].num_bytes,
          cat("exchange: sends ", sends[i].num_bytes, " bytes, receives ", receives[i].num_bytes));
      copy(receives[i].data, sends[i].data, sends[i].num_bytes);
    }
  }
  [[nodiscard]] std::unique_ptr<Communicator> duplicate() override { return make_self(); }
  [[noreturn]] void abort(int exit_code) override { std::_Exit(exit_code); }
};

}  // namespace

std::unique_ptr<Communicator> make_self() { return std::make_unique<SelfCommunicator>(); }

}  // namespace dlt::comm
