// SPDX-License-Identifier: Apache-2.0
// NCCL that does what a test says, and no GPU's work. One for each rank.
#pragma once

#include <condition_variable>
#include <mutex>
#include <string>
#include <vector>

#include "base/clock.h"
#include "comm/nccl_library.h"

namespace dlt::comm {

/// Time goes on when somebody sleeps.
class SleepingClock final : public Clock {
 public:
  [[nodiscard]] double monotonic_s() const override { return now_s_; }
  [[nodiscard]] double wall_s() const override { return now_s_; }
  void sleep_s(double seconds) override { now_s_ += seconds; }

 private:
  double now_s_ = 0;
};

class FakeNccl final : public NcclLibrary {
 public:
  struct Script {
    int version = 22809;
    NcclStatus id_status = NcclStatus::success;
    NcclStatus init_status = NcclStatus::in_progress;
    NcclStatus ready = NcclStatus::success;  // what init comes to after some polls
    int polls = 3;                           // before a call is over; -1: for ever
    bool registers = true;
    bool abort_hangs = false;
  };
  explicit FakeNccl(const Script& what) : script(what) {}

  [[nodiscard]] int version() const override { return script.version; }
  [[nodiscard]] std::string text(NcclStatus, NcclHandle) const override { return "its words"; }
  NcclStatus get_unique_id(NcclId& id) override {
    log("get_unique_id");
    id.fill('7');
    return script.id_status;
  }
  NcclStatus init_rank(NcclHandle& comm, int, const NcclId& id, int) override {
    log("init_rank " + std::string(id.data(), 1));
    comm = this;
    polls_left_ = script.polls;
    return script.init_status;
  }
  NcclStatus state(NcclHandle) override {
    const std::lock_guard lock(mutex_);
    if (async_error != NcclStatus::success) return async_error;
    if (polls_left_ != 0) {
      if (polls_left_ > 0) --polls_left_;
      return NcclStatus::in_progress;
    }
    return script.ready;
  }
  NcclStatus finalize(NcclHandle) override { return call("finalize"); }
  NcclStatus destroy(NcclHandle) override { return log("destroy"); }
  NcclStatus abort(NcclHandle) override {
    log("abort");
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !script.abort_hangs; });
    return NcclStatus::success;
  }
  NcclStatus register_buffer(NcclHandle, void* data, std::int64_t, void*& buffer) override {
    buffer = data;
    log("register");
    return script.registers ? NcclStatus::success : NcclStatus::invalid_usage;
  }
  NcclStatus deregister(NcclHandle, void*) override { return log("deregister"); }
  NcclStatus all_reduce(NcclHandle, float*, std::int64_t, void*) override {
    return call("all_reduce");
  }
  NcclStatus reduce_scatter(NcclHandle, const float*, float*, std::int64_t, void*) override {
    return call("reduce_scatter");
  }
  NcclStatus all_gather(NcclHandle, const void*, void*, std::int64_t, void*) override {
    return call("all_gather");
  }
  NcclStatus exchange(NcclHandle, std::span<const Send>, std::span<const Receive>, void*) override {
    return call("exchange");
  }

  void let_abort_go() {
    const std::lock_guard lock(mutex_);
    script.abort_hangs = false;
    changed_.notify_all();
  }
  [[nodiscard]] std::vector<std::string> calls() const {
    const std::lock_guard lock(mutex_);
    return calls_;
  }

  Script script;
  NcclStatus async_error = NcclStatus::success;

 private:
  NcclStatus log(std::string name) {
    const std::lock_guard lock(mutex_);
    calls_.push_back(std::move(name));
    return NcclStatus::success;
  }
  NcclStatus call(std::string name) {
    log(std::move(name));
    const std::lock_guard lock(mutex_);
    polls_left_ = script.polls;
    return NcclStatus::in_progress;
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> calls_;
  int polls_left_ = 0;
};

}  // namespace dlt::comm
