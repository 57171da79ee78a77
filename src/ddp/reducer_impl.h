// SPDX-License-Identifier: Apache-2.0
// What a Reducer is made of; for its own files only.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "ddp/host_memory.h"
#include "ddp/local_sums.h"
#include "ddp/reducer.h"
#include "ddp/shard_gather.h"
#include "ddp/step_message.h"

namespace dlt::ddp {

/// Main thread, workers and the communication thread meet here. Workers touch local_ and message_
/// (their own leaves); the communication thread reads a bucket once it is ready, and message_ once
/// the step is closing. All flags are guarded by mutex_.
struct Reducer::Impl {
  Impl(comm::Communicator& comm, ReducerOptions options);
  void place_result();
  void make_reduction();

  [[nodiscard]] int num_buckets() const { return static_cast<int>(options_.buckets.size()); }
  void check_worker(int worker, int index) const;
  void rank_final(std::size_t bucket);
  void keep_back(int worker, std::int64_t prefix);
  void close_step(const ControlWord& control);
  std::size_t wait_for_bucket(std::size_t bucket);
  const StepResult& finish_step();
  template <typename Moved>
  void wait(std::unique_lock<std::mutex>& lock, Moved moved);
  void add_up(std::span<double> values);
  [[nodiscard]] bool runs_inline() const { return reduction_ && reduction_->runs_inline(); }
  void reduce_here(std::size_t end);
  void exchange_here();
  template <typename Call>
  void call_here(Call call);
  void begin_gather(tensor::Storage flat);
  double wait_gathered(std::int64_t from);
  /// bucket: num_buckets() for the step's message.
  void mark_wait(int bucket) const {
    options_.pulse->mark({.phase = observe::Phase::reduce,
                          .step = step_,
                          .bucket = bucket < num_buckets() ? bucket : -1});
  }
  [[noreturn]] void throw_timeout(const std::string& what);
  [[nodiscard]] double since_begin_s() const { return clock_.monotonic_s() - begin_s_; }

  // Communication thread.
  static void communicate(Impl* impl);
  void carry_steps();
  void carry_step(std::unique_lock<std::mutex>& lock);
  void gather_bucket(std::unique_lock<std::mutex>& lock);
  template <typename Ready>
  bool wait_until(std::unique_lock<std::mutex>& lock, Ready ready);
  template <typename Call>
  void call(std::unique_lock<std::mutex>& lock, Call call);

  ReducerOptions options_;
  // What the clock's arithmetic can hold.
  std::chrono::duration<double> timeout_{std::min(options_.timeout_s, 1e6)};
  int rank_;
  LeafDivision division_;
  LeafRange leaves_;
  StepMessage message_;
  std::unique_ptr<comm::Communicator> comm_;  // the communication thread's; null with one rank
  std::unique_ptr<HostMemory> memory_;        // null: the buffers are this rank's alone
  HostWaitOptions host_wait_;
  LocalSums local_;
  SystemClock clock_;
  tensor::Storage own_reduced_;  // of a rank without leaves
  float* reduced_ = nullptr;
  double begin_s_ = 0;                          // of the step
  double exposed_s_ = 0;                        // so far in the step
  std::int64_t num_steps_ = 0;                  // begun so far
  std::unique_ptr<BucketReduction> reduction_;  // the communication thread's; null with one rank
  std::unique_ptr<ShardGather> gather_;         // null without shards
  tensor::Storage gathered_;                    // what is gathered, or was last
  std::vector<double> numbers_;                 // to be added up
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable work_;   // wakes the communication thread
  std::condition_variable moved_;  // wakes the main thread, and workers that wait for parameters
  std::int64_t step_ = 0;
  bool open_ = false;             // from begin_step to the end of finish_step
  bool carrying_ = false;         // the communication thread has messages of the step to carry
  bool closing_ = false;          // the workers are done, the control word is known
  bool done_ = false;             // all of the step's messages are through
  bool adding_ = false;           // numbers_ are to be added up
  std::size_t gathers_left_ = 0;  // buckets [0, this) are to be gathered
  std::atomic<std::int64_t> gathered_from_{
      0};  // elements from here on are; atomic to look in passing
  bool stop_ = false;
  bool in_call_ = false;   // the communication thread may be waiting for another rank
  bool orphaned_ = false;  // the reducer is gone: the communication thread owns this object
  int stage_ = 0;          // bucket under way; behind the last one: the message
  std::vector<char> ready_;
  std::vector<BucketTimes> times_;
  std::vector<double> stalled_s_;  // of each worker, which alone writes it
  bool releases_ = false;
  std::exception_ptr failure_;
};

}  // namespace dlt::ddp
