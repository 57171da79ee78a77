// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <thread>

namespace dlt {

/// One task at a time on a thread of its own, which is made when first needed. A task that is stuck
/// is left behind with all that it holds, so it must own what it uses, or share it.
class Background {
 public:
  /// linger_s: how long the destructor waits for a task to end before it leaves it behind.
  explicit Background(double linger_s);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  /// There must be no task under way.
  void start(std::function<void()> task);
  /// No task is under way.
  [[nodiscard]] bool idle() const;
  /// Waits until there is none; false if that takes longer.
  [[nodiscard]] bool wait(double timeout_s) const;
  /// Throws what the last task has thrown, once.
  void rethrow();

 private:
  struct Impl;
  static void run(const std::shared_ptr<Impl>& impl);
  double linger_s_;
  std::shared_ptr<Impl> impl_;
  std::thread thread_;
};

}  // namespace dlt
