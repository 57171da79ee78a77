// SPDX-License-Identifier: Apache-2.0
#include "base/thread_pool.h"

#include <atomic>
#include <stdexcept>
#include <thread>

#include <gtest/gtest.h>

#include "base/error.h"
#include "support/allocation_count.h"

namespace dlt {
namespace {

TEST(ThreadPool, CallsEveryWorkerOncePerRun) {
  for (const int workers : {1, 2, 3, 8}) {
    ThreadPool pool(workers);
    EXPECT_EQ(pool.num_workers(), workers);
    std::vector<int> calls(static_cast<std::size_t>(workers));
    const std::function<void(int)> task = [&](int w) { ++calls[static_cast<std::size_t>(w)]; };
    for (int run = 0; run < 500; ++run) pool.run(task);
    EXPECT_EQ(calls, std::vector<int>(static_cast<std::size_t>(workers), 500));
  }
}

TEST(ThreadPool, WorkerZeroIsTheCallerAndTheOthersKeepTheirThreads) {
  ThreadPool pool(3);
  std::vector<std::thread::id> first(3), second(3);
  pool.run([&](int w) { first[static_cast<std::size_t>(w)] = std::this_thread::get_id(); });
  pool.run([&](int w) { second[static_cast<std::size_t>(w)] = std::this_thread::get_id(); });
  EXPECT_EQ(first, second);
  EXPECT_EQ(first[0], std::this_thread::get_id());
  EXPECT_NE(first[1], first[2]);
  EXPECT_NE(first[0], first[1]);
}

TEST(ThreadPool, WhatOneRunWritesTheNextReads) {
  // Each worker reads what its neighbour wrote in the run before: a race if run() did not order.
  constexpr int kWorkers = 4;
  ThreadPool pool(kWorkers);
  std::vector<long> now(kWorkers, 1), next(kWorkers);
  for (int run = 0; run < 2000; ++run) {
    pool.run([&](int w) {
      const auto i = static_cast<std::size_t>(w);
      next[i] = now[(i + 1) % kWorkers] + 1;
    });
    now.swap(next);
  }
  EXPECT_EQ(now, std::vector<long>(kWorkers, 2001));
}

TEST(ThreadPool, RethrowsTheLowestWorkersExceptionAndGoesOn) {
  ThreadPool pool(4);
  std::atomic<int> calls{0};
  for (int run = 0; run < 50; ++run) {
    try {
      pool.run([&](int w) {
        ++calls;
        if (w >= 2) throw std::runtime_error("worker " + std::to_string(w));
      });
      FAIL() << "no exception";
    } catch (const std::runtime_error& error) {
      EXPECT_STREQ(error.what(), "worker 2");
    }
  }
  EXPECT_EQ(calls, 200);
  EXPECT_NO_THROW(pool.run([](int) {}));
}

TEST(ThreadPool, WaitsForTheOthersWhenTheCallerThrows) {
  ThreadPool pool(2);
  std::atomic<bool> thrown{false};
  bool other_ended = false;
  const auto task = [&](int w) {
    if (w == 0) {
      thrown = true;
      throw 7;
    }
    while (!thrown) std::this_thread::yield();
    other_ended = true;
  };
  EXPECT_THROW(pool.run(task), int);
  EXPECT_TRUE(other_ended);
}

TEST(ThreadPool, RunAllocatesNothing) {
  ThreadPool pool(3);
  std::atomic<int> sum{0};
  const std::function<void(int)> task = [&sum](int w) { sum += w; };
  pool.run(task);
  const long before = test::num_allocations();
  for (int run = 0; run < 100; ++run) pool.run(task);
  EXPECT_EQ(test::num_allocations() - before, 0);
  EXPECT_EQ(sum, 303);
}

TEST(ThreadPool, RefusesToRunInsideItself) {
  ThreadPool pool(2);
  EXPECT_THROW(pool.run([&](int w) {
    if (w == 1) pool.run([](int) {});
  }),
               Error);
  EXPECT_NO_THROW(pool.run([](int) {}));
}

TEST(ThreadPool, RefusesToHaveNoWorker) {
  EXPECT_THROW(ThreadPool(0), Error);
  EXPECT_THROW(ThreadPool(-3), Error);
}

TEST(ThreadPool, PoolsRunBesideEachOther) {
  std::atomic<long> sum{0};
  ThreadPool outer(3);
  outer.run([&](int) {
    ThreadPool inner(2);
    for (int run = 0; run < 200; ++run) inner.run([&](int w) { sum += w; });
  });
  EXPECT_EQ(sum, 600);
}

}  // namespace
}  // namespace dlt
