// SPDX-License-Identifier: Apache-2.0
#include "ddp/reducer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <exception>
#include <mutex>
#include <thread>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"
#include "base/thread_turn.h"
#include "ddp/host_memory.h"
#include "ddp/local_sums.h"
#include "ddp/shard_gather.h"
#include "ddp/step_message.h"

namespace dlt::ddp {
namespace {

/// Of the communication thread, which may share its core with a worker that computes.
constexpr double kTurn_s = 1e-4;
constexpr double kLongest_wait_s = 1e6;  // a deadline that the clock's arithmetic can hold

LocalSums::Options local_options(const ReducerOptions& options, const LeafRange& leaves,
                                 HostMemory* memory = nullptr) {
  return {.total = options.total,
          .buckets = options.buckets,
          .num_leaves = options.num_leaves,
          .leaves = leaves,
          .num_workers = options.num_workers,
          .releases = options.release,
          .one_sum = options.reduction != Reduction::exact,
          .memory = memory != nullptr ? memory->buffers() : nullptr};
}

/// Null where the ranks have no use for shared memory, or none is to be had. Collective.
std::unique_ptr<HostMemory> share_memory(comm::Communicator* comm, const ReducerOptions& options,
                                         const LeafRange& leaves, std::int64_t message_bytes) {
  if (comm == nullptr || !options.wants_shared_memory(comm->hosts())) return {};
  return HostMemory::share(
      *comm, {.board = {.num_buckets = options.buckets.size(), .message_bytes = message_bytes},
              .buffers_bytes = LocalSums::planned_bytes(local_options(options, leaves)),
              .result_bytes = options.flat_bytes()});
}

}  // namespace

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
  std::chrono::duration<double> timeout_{std::min(options_.timeout_s, kLongest_wait_s)};
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

Reducer::Impl::Impl(comm::Communicator& comm, ReducerOptions options)
    : options_(std::move(options)),
      rank_(comm.rank()),
      division_(options_.division(comm.world_size())),
      leaves_(division_.of(rank_)),
      message_(rank_, division_, options_.num_sums),
      comm_(comm.world_size() > 1 ? comm.duplicate() : nullptr),
      memory_(share_memory(comm_.get(), options_, leaves_, message_.num_bytes())),
      local_(local_options(options_, leaves_, memory_.get())),
      ready_(options_.buckets.size(), 0) {
  place_result();
  if (!comm_) return;
  times_.resize(options_.buckets.size());
  make_reduction();
  stalled_s_.assign(static_cast<std::size_t>(options_.num_workers), 0.0);
  releases_ = options_.release && options_.overlap && local_.written_once();
  if (options_.shards) gather_ = std::make_unique<ShardGather>(*options_.shards, rank_);
}

void Reducer::Impl::place_result() {
  if (memory_) {
    reduced_ = memory_->result();
  } else if (!local_.results().empty()) {
    reduced_ = local_.results()[0];
  } else {
    own_reduced_ = tensor::Storage::allocate(options_.flat_bytes());
    reduced_ = reinterpret_cast<float*>(own_reduced_.data());
  }
}

void Reducer::Impl::make_reduction() {
  const comm::Hosts hosts = comm_->hosts();
  // Without other hosts the main thread waits, for a limited time and with nothing else to do.
  host_wait_.crowded = comm_->local_size() * options_.num_workers > online_cores();
  if (hosts.size() == 1) {
    host_wait_.timeout_s = options_.timeout_s;
  } else {
    host_wait_.beside_work = true;
  }
  if (memory_) memory_->publish(*comm_, local_.results());
  reduction_ = make_bucket_reduction(options_.reduction, {.rank = rank_,
                                                          .division = division_,
                                                          .buckets = options_.buckets,
                                                          .nodes = local_.results(),
                                                          .reduced = reduced_,
                                                          .shards = options_.shards,
                                                          .memory = memory_.get(),
                                                          .hosts = hosts,
                                                          .wait = host_wait_,
                                                          .generation = options_.generation,
                                                          .compression = options_.compression,
                                                          .ranges = options_.ranges});
}

void Reducer::Impl::check_worker(int worker, int index) const {
  DLT_CHECK(worker >= 0 && worker < options_.num_workers, cat("reducer: no worker ", worker));
  const int num_leaves = local_.worker_leaves(worker).size();
  DLT_CHECK(index >= 0 && index < num_leaves,
            cat("reducer: worker ", worker, " has ", num_leaves, " leaves, got leaf ", index));
}

/// A bucket is final in the whole rank. Called by the worker that was last with it.
void Reducer::Impl::rank_final(std::size_t bucket) {
  if (!comm_) return;
  {
    const std::lock_guard lock(mutex_);
    ready_[bucket] = 1;
    times_[bucket].ready_s = since_begin_s();
  }
  reduction_->bucket_final(bucket);
  if (options_.overlap && !runs_inline()) work_.notify_one();
}

/// A worker may go on once few enough of the buckets it has finished wait for their reduction. The
/// one that is furthest behind never waits, on any rank, so there is always one that moves.
void Reducer::Impl::keep_back(int worker, std::int64_t prefix) {
  int finished = 0;
  while (finished < num_buckets() &&
         options_.buckets[static_cast<std::size_t>(finished)].end <= prefix) {
    ++finished;
  }
  if (finished == num_buckets()) return;  // nothing comes behind it
  std::unique_lock lock(mutex_);
  const auto room = [&] { return failure_ || finished - stage_ <= kBuckets_ahead; };
  if (room()) return;
  const double from_s = clock_.monotonic_s();
  while (!room()) {
    const int stage = stage_;
    mark_wait(stage);
    if (!moved_.wait_for(lock, timeout_, [&] { return failure_ || stage_ != stage; })) {
      throw_timeout(cat("bucket ", stage, " of step ", step_));
    }
  }
  stalled_s_[static_cast<std::size_t>(worker)] += clock_.monotonic_s() - from_s;
  if (failure_) std::rethrow_exception(failure_);
}

void Reducer::Impl::close_step(const ControlWord& control) {
  DLT_CHECK(open_ && !closing_, "reducer: close_step without begin_step");
  ControlWord word = control;
  for (int w = 0; w < options_.num_workers; ++w) {
    if (local_.finished(w)) continue;
    local_.give_up(w, [this](std::size_t bucket) { rank_final(bucket); });
    if (word.error == 0) word.error = static_cast<std::int32_t>(Exit::internal);
  }
  message_.set_control({.generation = options_.generation,
                        .step = step_,
                        .bucket = num_buckets(),
                        .sequence = num_steps_},
                       word);
  const std::lock_guard lock(mutex_);
  closing_ = true;
  work_.notify_one();
}

std::size_t Reducer::Impl::wait_for_bucket(std::size_t bucket) {
  DLT_CHECK(closing_, "reducer: wait_for_bucket before close_step");
  if (!comm_) return options_.buckets.size();
  if (runs_inline()) {
    reduce_here(bucket + 1);
    return static_cast<std::size_t>(stage_);
  }
  std::unique_lock lock(mutex_);
  wait(lock, [&] { return static_cast<std::size_t>(stage_) > bucket; });
  return static_cast<std::size_t>(stage_);
}

const StepResult& Reducer::Impl::finish_step() {
  DLT_CHECK(closing_, "reducer: finish_step before close_step");
  if (!comm_) {
    message_.exchange(nullptr);
  } else if (runs_inline()) {
    reduce_here(options_.buckets.size());
    exchange_here();
  } else {
    std::unique_lock lock(mutex_);
    wait(lock, [this] { return done_; });
  }
  open_ = closing_ = false;
  return message_.result();
}

/// The main thread's way: buckets before `end`, from where it stopped.
void Reducer::Impl::reduce_here(std::size_t end) {
  for (auto b = static_cast<std::size_t>(stage_); b < end; ++b) {
    times_[b].started_s = since_begin_s();
    mark_wait(static_cast<int>(b));
    call_here([&] { reduction_->reduce(*comm_, b); });
    times_[b].finished_s = since_begin_s();
    times_[b].waited_s = times_[b].finished_s - times_[b].started_s;
    exposed_s_ += times_[b].waited_s;
    stage_ = static_cast<int>(b) + 1;
  }
}

/// Ranges that are needed everywhere are in the host's one result.
void Reducer::Impl::exchange_here() {
  const double from_s = clock_.monotonic_s();
  mark_wait(num_buckets());
  call_here([&] { message_.exchange(memory_->board(), HostWait(*comm_, host_wait_)); });
  exposed_s_ += clock_.monotonic_s() - from_s;
}

template <typename Call>
void Reducer::Impl::call_here(Call call) {
  try {
    call();
  } catch (...) {
    const std::lock_guard lock(mutex_);
    failure_ = std::current_exception();
    throw;
  }
}

/// Waits as long as something moves at least every timeout_s. What it takes is charged to the
/// bucket under way.
template <typename Moved>
void Reducer::Impl::wait(std::unique_lock<std::mutex>& lock, Moved moved) {
  while (!moved() && !failure_) {
    const int stage = stage_;
    mark_wait(stage);
    const double from_s = clock_.monotonic_s();
    const bool in_time =
        moved_.wait_for(lock, timeout_, [&] { return moved() || failure_ || stage_ != stage; });
    if (!in_time) {
      throw_timeout(cat(stage < num_buckets() ? cat("bucket ", stage) : std::string("the sums"),
                        " of step ", step_));
    }
    const double waited_s = clock_.monotonic_s() - from_s;
    exposed_s_ += waited_s;
    if (stage < num_buckets()) times_[static_cast<std::size_t>(stage)].waited_s += waited_s;
  }
  if (failure_) std::rethrow_exception(failure_);
}

void Reducer::Impl::add_up(std::span<double> values) {
  if (!comm_) return;
  std::unique_lock lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  DLT_CHECK(!open_, "reducer: add_up within a step");
  numbers_.assign(values.begin(), values.end());
  adding_ = true;
  work_.notify_one();
  mark_wait(num_buckets());
  const double from_s = clock_.monotonic_s();
  if (!moved_.wait_for(lock, timeout_, [this] { return !adding_ || failure_; })) {
    throw_timeout(cat("the norms of step ", step_));
  }
  if (failure_) std::rethrow_exception(failure_);
  exposed_s_ += clock_.monotonic_s() - from_s;
  std::copy(numbers_.begin(), numbers_.end(), values.begin());
}

void Reducer::Impl::begin_gather(tensor::Storage flat) {
  if (!gather_) return;
  const std::lock_guard lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
  DLT_CHECK(!open_ && gathers_left_ == 0, "reducer: begin_gather within a step or a gather");
  gathered_ = std::move(flat);
  gathers_left_ = options_.buckets.size();
  gathered_from_.store(options_.total, std::memory_order_relaxed);
  work_.notify_one();
}

double Reducer::Impl::wait_gathered(std::int64_t from) {
  const auto there = [&] { return gathered_from_.load(std::memory_order_acquire) <= from; };
  if (there()) return 0;
  const double begin_s = clock_.monotonic_s();
  std::unique_lock lock(mutex_);
  while (!there() && !failure_) {
    const std::size_t left = gathers_left_;
    mark_wait(static_cast<int>(left) - 1);
    if (!moved_.wait_for(lock, timeout_, [&] { return failure_ || gathers_left_ != left; })) {
      throw_timeout(cat("the parameters of bucket ", left - 1, " behind step ", step_));
    }
  }
  if (failure_) std::rethrow_exception(failure_);
  return clock_.monotonic_s() - begin_s;
}

/// With mutex_ locked.
void Reducer::Impl::throw_timeout(const std::string& what) {
  const Error error(Exit::peer_lost,
                    cat("rank ", rank_, ": waited ", options_.timeout_s, " s for ", what),
                    "another rank is stuck, stopped or cut off");
  failure_ = std::make_exception_ptr(error);
  throw error;
}

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

Reducer::Reducer(comm::Communicator& comm, ReducerOptions options) {
  options.check();
  impl_ = std::make_unique<Impl>(comm, std::move(options));
  const bool messages = impl_->comm_ && (!impl_->runs_inline() || impl_->gather_);
  if (messages) impl_->thread_ = std::thread(Impl::communicate, impl_.get());
}

Reducer::~Reducer() {
  if (!impl_->thread_.joinable()) return;
  {
    const std::lock_guard lock(impl_->mutex_);
    impl_->stop_ = true;
    impl_->work_.notify_one();
    if (impl_->in_call_) {
      impl_->thread_.detach();
      impl_.release()->orphaned_ = true;  // once unlocked it may be gone at any time
    }
  }
  if (impl_) impl_->thread_.join();
}

LeafRange Reducer::rank_leaves() const { return impl_->leaves_; }

LeafRange Reducer::worker_leaves(int worker) const { return impl_->local_.worker_leaves(worker); }

void Reducer::begin_step(std::int64_t step) {
  Impl& impl = *impl_;
  std::unique_lock lock(impl.mutex_);
  if (impl.failure_) std::rethrow_exception(impl.failure_);
  DLT_CHECK(!impl.open_, cat("reducer: step ", impl.step_, " is not finished"));
  impl.local_.begin_step();
  impl.message_.clear();
  ++impl.num_steps_;
  if (impl.reduction_) impl.reduction_->begin_step(step);
  impl.step_ = step;
  impl.begin_s_ = impl.clock_.monotonic_s();
  impl.exposed_s_ = 0;
  std::fill(impl.times_.begin(), impl.times_.end(), BucketTimes{});
  std::fill(impl.stalled_s_.begin(), impl.stalled_s_.end(), 0.0);
  impl.stage_ = 0;
  impl.open_ = true;
  impl.carrying_ = !impl.runs_inline();
  impl.closing_ = impl.done_ = false;
  const bool nothing_to_wait_for = !impl.local_.any_leaves();
  std::fill(impl.ready_.begin(), impl.ready_.end(), nothing_to_wait_for ? 1 : 0);
  lock.unlock();
  if (!nothing_to_wait_for || !impl.comm_) return;
  for (std::size_t b = 0; b < impl.options_.buckets.size(); ++b) impl.reduction_->bucket_final(b);
  if (!impl.runs_inline()) impl.work_.notify_one();
}

float* Reducer::leaf_gradients(int worker, int index) {
  impl_->check_worker(worker, index);
  return impl_->local_.leaf_gradients(worker, index);
}

void Reducer::gradients_final(int worker, int index, std::int64_t prefix) {
  impl_->check_worker(worker, index);
  impl_->local_.gradients_final(worker, index, prefix,
                                [this](std::size_t bucket) { impl_->rank_final(bucket); });
  if (impl_->releases_) impl_->keep_back(worker, prefix);
}

void Reducer::leaf_empty(int worker, int index) {
  std::memset(leaf_gradients(worker, index), 0,
              static_cast<std::size_t>(impl_->options_.total) * sizeof(float));
  gradients_final(worker, index, impl_->options_.total);
}

void Reducer::leaf_sums(int worker, int index, std::span<const double> sums) {
  impl_->check_worker(worker, index);
  const int leaf = impl_->local_.worker_leaves(worker).begin + index - impl_->leaves_.begin;
  const std::span<double> to = impl_->message_.sums(leaf);
  DLT_CHECK(sums.size() == to.size(), cat("reducer: ", sums.size(), " sums, expected ", to.size()));
  std::copy(sums.begin(), sums.end(), to.begin());
}

std::span<const double> Reducer::sums_of(int leaf) {
  return impl_->message_.sums(leaf - impl_->leaves_.begin);
}

void Reducer::worker_failed(int worker) {
  impl_->local_.give_up(worker, [this](std::size_t bucket) { impl_->rank_final(bucket); });
}

void Reducer::close_step(const ControlWord& control) { impl_->close_step(control); }

std::size_t Reducer::wait_for_bucket(std::size_t bucket) { return impl_->wait_for_bucket(bucket); }

const StepResult& Reducer::finish_step() { return impl_->finish_step(); }

void Reducer::add_up(std::span<double> values) { impl_->add_up(values); }

void Reducer::begin_gather(tensor::Storage flat) { impl_->begin_gather(std::move(flat)); }

double Reducer::wait_gathered(std::int64_t from) { return impl_->wait_gathered(from); }

float* Reducer::reduced() const { return impl_->reduced_; }

ReductionState Reducer::reduction_state() const {
  return impl_->reduction_ ? impl_->reduction_->state() : ReductionState{};
}

double Reducer::exposed_s() const { return impl_->exposed_s_; }

double Reducer::stalled_s() const {
  const std::vector<double>& of = impl_->stalled_s_;
  return of.empty() ? 0 : *std::max_element(of.begin(), of.end());
}

std::span<const BucketTimes> Reducer::times() const { return impl_->times_; }

std::int64_t Reducer::buffer_bytes() const {
  return impl_->local_.buffer_bytes() + impl_->own_reduced_.size_bytes() +
         (impl_->memory_ ? impl_->options_.flat_bytes() : 0) +
         (impl_->reduction_ ? impl_->reduction_->buffer_bytes() : 0);
}

}  // namespace dlt::ddp
