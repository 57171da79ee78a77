// SPDX-License-Identifier: Apache-2.0
#include "base/background.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <utility>

#include "base/error.h"

namespace dlt {
namespace {

constexpr double kLongest_wait_s = 1e6;  // what the system's clock can add to now

}  // namespace

struct Background::Impl {
  std::mutex mutex;
  std::condition_variable changed;
  std::function<void()> task;
  bool busy = false;
  bool stop = false;
  std::exception_ptr failure;
};

Background::Background(double linger_s) : linger_s_(linger_s), impl_(std::make_shared<Impl>()) {}

Background::~Background() {
  if (!thread_.joinable()) return;
  const bool ended = wait(linger_s_);
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stop = true;
  }
  impl_->changed.notify_all();
  if (ended) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

void Background::run(const std::shared_ptr<Impl>& impl) {
  std::unique_lock lock(impl->mutex);
  for (;;) {
    impl->changed.wait(lock, [&] { return impl->stop || impl->task; });
    if (impl->stop) return;
    std::function<void()> task = std::move(impl->task);
    impl->task = nullptr;
    lock.unlock();
    std::exception_ptr failure;
    try {
      task();
    } catch (...) {
      failure = std::current_exception();
    }
    task = nullptr;  // what it holds goes before anybody hears that it is done
    lock.lock();
    impl->failure = failure;
    impl->busy = false;
    impl->changed.notify_all();
  }
}

void Background::start(std::function<void()> task) {
  {
    const std::lock_guard lock(impl_->mutex);
    DLT_CHECK(!impl_->busy, "background: a task is under way");
    impl_->task = std::move(task);
    impl_->busy = true;
    impl_->failure = nullptr;
  }
  if (!thread_.joinable()) {
    thread_ = std::thread([impl = impl_] { run(impl); });
  }
  impl_->changed.notify_all();
}

bool Background::idle() const {
  const std::lock_guard lock(impl_->mutex);
  return !impl_->busy;
}

bool Background::wait(double timeout_s) const {
  std::unique_lock lock(impl_->mutex);
  return impl_->changed.wait_for(
      lock, std::chrono::duration<double>(std::min(timeout_s, kLongest_wait_s)),
      [&] { return !impl_->busy; });
}

void Background::rethrow() {
  std::exception_ptr failure;
  {
    const std::lock_guard lock(impl_->mutex);
    std::swap(failure, impl_->failure);
  }
  if (failure) std::rethrow_exception(failure);
}

}  // namespace dlt
