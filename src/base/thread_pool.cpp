// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

#include <immintrin.h>

#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt {

namespace {

/// An event counter that one side raises and the other waits for: spins, then sleeps.
/// Invariant: a waiter announces itself in sleepers_ before it looks at the value a last time, and
/// the raiser looks at sleepers_ after it has changed the value; both sequentially consistent, so
/// one of the two sees the other and no wake-up is lost.
class Event {
 public:
  void raise(std::uint32_t by = 1) {
    value_.fetch_add(by, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
      { const std::lock_guard<std::mutex> lock(mutex_); }
      condition_.notify_all();
    }
  }

  /// Returns once the value is target (it is raised by small steps and wraps around).
  void wait_for(std::uint32_t target, bool crowded) {
    const auto reached = [&] {
      return static_cast<std::int32_t>(value_.load(std::memory_order_seq_cst) - target) >= 0;
    };
    const int tries = crowded ? 16 : 256;  // either way a few microseconds
    for (int i = 0; i < tries; ++i) {
      if (reached()) return;
      if (crowded) {
        std::this_thread::yield();
      } else {
        _mm_pause();
      }
    }
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    {
      std::unique_lock<std::mutex> lock(mutex_);
      condition_.wait(lock, reached);
    }
    sleepers_.fetch_sub(1, std::memory_order_seq_cst);
  }

 private:
  alignas(64) std::atomic<std::uint32_t> value_{0};
  std::atomic<std::uint32_t> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable condition_;
};

}  // namespace

struct ThreadPool::Impl {
  const std::function<void(int)>* task = nullptr;  // written before started is raised
  bool stop = false;                               // the same
  Event started;                                   // once a run
  Event finished;                                  // once a worker and run
  std::uint32_t runs = 0;                          // touched by the caller only
  std::atomic<bool> running{false};
  bool crowded = false;
  std::vector<std::exception_ptr> failures;  // of worker i, written by it alone
  std::vector<std::thread> threads;          // of workers 1, 2, ...

  void call(int worker) {
    try {
      (*task)(worker);
    } catch (...) {
      failures[static_cast<std::size_t>(worker)] = std::current_exception();
    }
  }

  void work(int worker) {
    for (std::uint32_t run = 1;; ++run) {
      started.wait_for(run, crowded);
      if (stop) return;
      call(worker);
      finished.raise();
    }
  }

  void end() {
    stop = true;
    started.raise();
    for (std::thread& thread : threads) thread.join();
  }
};

ThreadPool::ThreadPool(int num_workers) : impl_(std::make_unique<Impl>()) {
  DLT_CHECK(num_workers >= 1, cat("a pool of ", num_workers, " workers"));
  impl_->crowded = static_cast<std::size_t>(num_workers) > allowed_cores().size();
  impl_->failures.resize(static_cast<std::size_t>(num_workers));
  impl_->threads.reserve(static_cast<std::size_t>(num_workers) - 1);
  try {
    for (int worker = 1; worker < num_workers; ++worker) {
      impl_->threads.emplace_back([impl = impl_.get(), worker] { impl->work(worker); });
    }
  } catch (const std::system_error& failure) {
    impl_->end();
    throw Error(Exit::unavailable, cat("thread ", impl_->threads.size() + 1, " of ", num_workers,
                                       " cannot be started: ", failure.what()));
  }
}

ThreadPool::~ThreadPool() { impl_->end(); }

int ThreadPool::num_workers() const { return static_cast<int>(impl_->failures.size()); }

void ThreadPool::run(const std::function<void(int worker)>& task) {
  Impl& pool = *impl_;
  DLT_CHECK(!pool.running.exchange(true), "run() inside or beside run() of the same pool");
  pool.task = &task;
  ++pool.runs;
  pool.started.raise();
  pool.call(0);
  // The failures and all that the workers wrote are visible here: each raised finished after it.
  pool.finished.wait_for(pool.runs * static_cast<std::uint32_t>(pool.threads.size()), pool.crowded);
  std::exception_ptr first;
  for (std::exception_ptr& failure : pool.failures) {
    if (failure && !first) first = failure;
    failure = nullptr;
  }
  pool.running = false;
  if (first) std::rethrow_exception(first);
}

}  // namespace dlt
