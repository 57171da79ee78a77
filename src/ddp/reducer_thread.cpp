// SPDX-License-Identifier: Apache-2.0
// A Reducer's communication thread.
#include <utility>

#include "base/thread_turn.h"
#include "ddp/reducer_impl.h"

namespace dlt::ddp {
namespace {

/// The thread may share its core with a worker that computes.
constexpr double kTurn_s = 1e-4;

}  // namespace

void Reducer::Impl::communicate(Impl* impl) {
  prefer_turns_of(kTurn_s);
  try {
    impl->carry_steps();
  } catch (...) {
    const std::lock_guard lock(impl->mutex_);
    impl->in_call_ = false;
    if (!impl->failure_) impl->failure_ = std::current_exception();
    impl->moved_.notify_all();
  }
  bool orphaned = false;
  {
    const std::lock_guard lock(impl->mutex_);
    orphaned = impl->orphaned_;
  }
  if (orphaned) delete impl;
}

void Reducer::Impl::carry_steps() {
  std::unique_lock lock(mutex_);
  while (wait_until(lock, [this] { return carrying_ || adding_ || gathers_left_ > 0; })) {
    if (gathers_left_ > 0) {
      gather_bucket(lock);
    } else if (adding_) {
      call(lock, [this] {
        comm_->allreduce({.data = numbers_.data(),
                          .count = static_cast<std::int64_t>(numbers_.size()),
                          .dtype = DType::f64},
                         comm::ReduceOp::sum);
      });
      adding_ = false;
      moved_.notify_all();
    } else {
      carry_step(lock);
    }
  }
}

/// Forward passes of the next step may be waiting for what it brings.
void Reducer::Impl::gather_bucket(std::unique_lock<std::mutex>& lock) {
  const std::size_t bucket = gathers_left_ - 1;
  auto* flat = reinterpret_cast<float*>(gathered_.data());
  call(lock, [&] { gather_->run(*comm_, flat, bucket); });
  gathers_left_ = bucket;
  gathered_from_.store(options_.buckets[bucket].begin, std::memory_order_release);
  moved_.notify_all();
}

/// Buckets in index order, then the message: the same order on every rank, whatever happens there.
void Reducer::Impl::carry_step(std::unique_lock<std::mutex>& lock) {
  for (int b = 0; b < num_buckets(); ++b) {
    const auto bucket = static_cast<std::size_t>(b);
    if (!wait_until(lock, [&] { return ready_[bucket] != 0 && (options_.overlap || closing_); })) {
      return;
    }
    times_[bucket].started_s = since_begin_s();
    call(lock, [&] {
      reduction_->reduce(*comm_, bucket);
      if (releases_) local_.release(bucket, options_.shards->slice(bucket, rank_));
    });
    times_[bucket].finished_s = since_begin_s();
    stage_ = b + 1;
    moved_.notify_all();
  }
  if (!wait_until(lock, [this] { return closing_; })) return;
  if (gather_ && !options_.everywhere.empty()) {
    call(lock, [this] { gather_->run(*comm_, reduced_, options_.everywhere); });
  }
  call(lock, [this] { message_.exchange(comm_.get()); });
  carrying_ = false;
  done_ = true;
  moved_.notify_all();
}

/// False: the reducer is being destroyed.
template <typename Ready>
bool Reducer::Impl::wait_until(std::unique_lock<std::mutex>& lock, Ready ready) {
  work_.wait(lock, [&] { return stop_ || ready(); });
  return !stop_;
}

template <typename Call>
void Reducer::Impl::call(std::unique_lock<std::mutex>& lock, Call call) {
  in_call_ = true;
  lock.unlock();
  call();
  lock.lock();
  in_call_ = false;
}

}  // namespace dlt::ddp
