// SPDX-License-Identifier: Apache-2.0
#include "ddp/reducer.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"
#include "ddp/reducer_impl.h"

namespace dlt::ddp {
namespace {

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
  const bool gathers = options_.gathers || !options_.everywhere.empty();
  if (options_.shards && gathers) gather_ = std::make_unique<ShardGather>(*options_.shards, rank_);
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
  const bool one_host = memory_ && hosts.size() == 1;
  const bool sliced = one_host && !options_.shards && options_.host_slices;
  reduction_ = make_bucket_reduction(
      options_.reduction,
      {.rank = rank_,
       .division = division_,
       .buckets = options_.buckets,
       .nodes = local_.results(),
       .reduced = reduced_,
       .shards = sliced ? options_.host_slices : options_.shards,
       .own_slices_first = sliced || (one_host && options_.shards && !options_.gathers),
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

bool Reducer::main_thread_ends_step() const { return impl_->runs_inline(); }

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
