// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>

namespace dlt {

/// T workers that run one function together. The caller is worker 0, so a pool of one has no
/// thread. Workers spin for a moment, then sleep; an exception of any worker is rethrown by run().
class ThreadPool {
 public:
  explicit ThreadPool(int num_workers);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  [[nodiscard]] int num_workers() const;
  /// Calls task(worker) once on each worker, 0 on the calling thread; returns when all are done.
  /// Allocates nothing. If several throw, the lowest worker's exception is rethrown.
  void run(const std::function<void(int worker)>& task);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt
