// SPDX-License-Identifier: Apache-2.0
// Ranks as threads of one process. All collectives are built on exchange(), so there is one place
// that waits; it sleeps on a condition variable, and it ends when the rank waited for is gone.
#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <map>
#include <mutex>

#include <sys/mman.h>

#include "base/error.h"
#include "base/text.h"
#include "comm/communicator.h"

namespace dlt::comm {
namespace {

/// What a group and all its duplicates share.
struct Family {
  std::mutex mutex;
  std::condition_variable changed;
  int aborted_by = -1;
};

/// A message that waits for its receiver, in the sender's memory.
struct Post {
  const void* data = nullptr;
  std::int64_t num_bytes = 0;
  int* pending = nullptr;  // messages of the sender's exchange that nobody has copied yet
};

/// Messages of one rank to another, oldest first. Keeps its memory: no allocation once warm.
class Queue {
 public:
  [[nodiscard]] bool empty() const { return head_ == posts_.size(); }
  void push(const Post& post) {
    if (empty()) clear();
    posts_.push_back(post);
  }
  Post pop() { return posts_[head_++]; }
  /// Is a message of that exchange waiting?
  [[nodiscard]] bool holds(const int* pending) const {
    return std::any_of(posts_.begin() + static_cast<std::ptrdiff_t>(head_), posts_.end(),
                       [&](const Post& post) { return post.pending == pending; });
  }
  /// Takes back the messages of an exchange that ends early; how many those were.
  int withdraw(const int* pending) {
    const auto first = posts_.begin() + static_cast<std::ptrdiff_t>(head_);
    const auto last = std::remove_if(first, posts_.end(),
                                     [&](const Post& post) { return post.pending == pending; });
    const auto num_withdrawn = static_cast<int>(posts_.end() - last);
    posts_.erase(last, posts_.end());
    return num_withdrawn;
  }

 private:
  void clear() {
    posts_.clear();
    head_ = 0;
  }
  std::vector<Post> posts_;
  std::size_t head_ = 0;
};

/// Zeroed pages of this process, in place of what real ranks of a host would share.
class Segment {
 public:
  explicit Segment(std::int64_t num_bytes) : size_(static_cast<std::size_t>(num_bytes) + 1) {
    data_ = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (data_ == MAP_FAILED) {
      throw Error(Exit::unavailable, cat("memory: cannot share ", num_bytes, " bytes"));
    }
  }
  ~Segment() { ::munmap(data_, size_); }
  Segment(const Segment&) = delete;
  Segment& operator=(const Segment&) = delete;
  [[nodiscard]] std::byte* data() const { return static_cast<std::byte*>(data_); }

 private:
  std::size_t size_;
  void* data_ = nullptr;
};

/// One rank's view; segments live until the last rank's view is gone.
class ThreadSharedMemory final : public SharedMemory {
 public:
  explicit ThreadSharedMemory(std::vector<std::shared_ptr<Segment>> segments)
      : segments_(std::move(segments)) {}
  [[nodiscard]] std::byte* segment(int local_rank) const override {
    return segments_[static_cast<std::size_t>(local_rank)]->data();
  }

 private:
  std::vector<std::shared_ptr<Segment>> segments_;
};

Hosts group_by_host(int world_size, const std::vector<int>& host_of) {
  Hosts hosts;
  std::map<int, std::size_t> index_of;
  for (int r = 0; r < world_size; ++r) {
    const int host = host_of.empty() ? 0 : host_of[static_cast<std::size_t>(r)];
    const auto [at, is_new] = index_of.try_emplace(host, hosts.size());
    if (is_new) hosts.emplace_back();
    hosts[at->second].push_back(r);
  }
  return hosts;
}

/// One channel: its mail and the channels duplicated from it. Guarded by the family's mutex.
struct Group {
  Group(std::shared_ptr<Family> the_family, int the_world_size, Hosts the_hosts)
      : family(std::move(the_family)),
        world_size(the_world_size),
        hosts(std::move(the_hosts)),
        segments(static_cast<std::size_t>(the_world_size)),
        gone(static_cast<std::size_t>(the_world_size), false),
        queues(static_cast<std::size_t>(the_world_size) *
               static_cast<std::size_t>(the_world_size)) {}
  Queue& queue(int from, int to) {
    return queues[static_cast<std::size_t>(from) * static_cast<std::size_t>(world_size) +
                  static_cast<std::size_t>(to)];
  }
  std::shared_ptr<Family> family;
  int world_size;
  Hosts hosts;
  std::vector<std::shared_ptr<Segment>> segments;  // each rank's newest, while share() goes on
  std::vector<bool> gone;
  std::vector<Queue> queues;
  std::vector<std::shared_ptr<Group>> duplicates;  // in the order in which ranks ask for them
};

template <typename T>
void reduce_typed(void* into, const void* from, std::int64_t count, ReduceOp op) {
  T* a = static_cast<T*>(into);
  const T* b = static_cast<const T*>(from);
  for (std::int64_t i = 0; i < count; ++i) {
    switch (op) {
      case ReduceOp::sum:
        a[i] = static_cast<T>(a[i] + b[i]);
        break;
      case ReduceOp::min:
        a[i] = std::min(a[i], b[i]);
        break;
      case ReduceOp::max:
        a[i] = std::max(a[i], b[i]);
        break;
    }
  }
}

void reduce(const Buffer& into, const void* from, ReduceOp op) {
  const auto run = [&](auto zero) {
    reduce_typed<decltype(zero)>(into.data, from, into.count, op);
  };
  switch (into.dtype) {
    case DType::f32:
      return run(0.0F);
    case DType::f64:
      return run(0.0);
    case DType::i8:
      return run(std::int8_t{0});
    case DType::boolean:
    case DType::u8:
      return run(std::uint8_t{0});
    case DType::i16:
      return run(std::int16_t{0});
    case DType::u16:
      return run(std::uint16_t{0});
    case DType::i32:
      return run(std::int32_t{0});
    case DType::u32:
      return run(std::uint32_t{0});
    case DType::i64:
      return run(std::int64_t{0});
    case DType::u64:
      return run(std::uint64_t{0});
    case DType::f16:
    case DType::bf16:
      break;
  }
  throw Error(Exit::internal,
              cat("allreduce: no sums in ", name(into.dtype), ", expected f32, f64 or integers"));
}

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Group> group, int rank)
      : group_(std::move(group)), family_(*group_->family), rank_(rank) {
    for (const std::vector<int>& ranks : group_->hosts) {
      const auto at = std::find(ranks.begin(), ranks.end(), rank_);
      if (at == ranks.end()) continue;
      local_rank_ = static_cast<int>(at - ranks.begin());
      host_ranks_ = ranks;
    }
  }
  ~ThreadCommunicator() override {
    const std::lock_guard lock(family_.mutex);
    group_->gone[static_cast<std::size_t>(rank_)] = true;
    family_.changed.notify_all();
  }

  [[nodiscard]] int rank() const override { return rank_; }
  [[nodiscard]] int world_size() const override { return group_->world_size; }
  [[nodiscard]] int local_rank() const override { return local_rank_; }
  [[nodiscard]] int local_size() const override { return static_cast<int>(host_ranks_.size()); }
  [[nodiscard]] Hosts hosts() const override { return group_->hosts; }
  [[nodiscard]] std::string name() const override { return "thread"; }

  using Communicator::share;
  [[nodiscard]] std::unique_ptr<SharedMemory> share(std::int64_t num_bytes,
                                                    std::int64_t /*room_bytes*/) override {
    {
      const auto mine = std::make_shared<Segment>(num_bytes);
      const std::lock_guard lock(family_.mutex);
      group_->segments[static_cast<std::size_t>(rank_)] = mine;
    }
    barrier();
    std::vector<std::shared_ptr<Segment>> segments;
    {
      const std::lock_guard lock(family_.mutex);
      for (const int r : host_ranks_) {
        segments.push_back(group_->segments[static_cast<std::size_t>(r)]);
      }
    }
    barrier();  // nobody's segment is replaced before all have it
    const std::lock_guard lock(family_.mutex);
    group_->segments[static_cast<std::size_t>(rank_)] = nullptr;
    return std::make_unique<ThreadSharedMemory>(std::move(segments));
  }

  [[nodiscard]] bool knows_lost(int peer) const override {
    const std::lock_guard lock(family_.mutex);
    return family_.aborted_by >= 0 || group_->gone[static_cast<std::size_t>(peer)];
  }

  void allreduce(Buffer buffer, ReduceOp op) override {
    const std::size_t num_bytes = static_cast<std::size_t>(buffer.count) * size_bytes(buffer.dtype);
    scratch_.resize(num_bytes * static_cast<std::size_t>(world_size()));
    allgather(buffer.data, scratch_.data(), static_cast<std::int64_t>(num_bytes));
    if (num_bytes == 0) return;
    std::memcpy(buffer.data, scratch_.data(), num_bytes);
    for (std::size_t r = 1; r < static_cast<std::size_t>(world_size()); ++r) {
      reduce(buffer, scratch_.data() + r * num_bytes, op);
    }
  }

  void broadcast(void* data, std::int64_t num_bytes, int root) override {
    clear();
    if (rank_ == root) {
      for (int r = 0; r < world_size(); ++r) {
        if (r != root) sends_.push_back({.peer = r, .data = data, .num_bytes = num_bytes});
      }
    } else {
      receives_.push_back({.peer = root, .data = data, .num_bytes = num_bytes});
    }
    exchange(sends_, receives_);
  }

  void allgather(const void* send, void* recv, std::int64_t num_bytes) override {
    clear();
    for (int r = 0; r < world_size(); ++r) {
      sends_.push_back({.peer = r, .data = send, .num_bytes = num_bytes});
      receives_.push_back({.peer = r,
                           .data = static_cast<std::byte*>(recv) + r * num_bytes,
                           .num_bytes = num_bytes});
    }
    exchange(sends_, receives_);
  }

  void barrier() override { allgather(nullptr, nullptr, 0); }

  void exchange(std::span<const Send> sends, std::span<const Receive> receives) override {
    std::unique_lock lock(family_.mutex);
    int pending = static_cast<int>(sends.size());
    for (const Send& send : sends) {
      group_->queue(rank_, send.peer).push({send.data, send.num_bytes, &pending});
    }
    if (!sends.empty()) family_.changed.notify_all();
    try {
      for (const Receive& receive : receives) take(receive, lock);
      wait(
          lock, [&] { return pending == 0; }, [&] { return first_unread(sends, &pending); });
    } catch (...) {
      withdraw(sends, &pending, lock);
      throw;
    }
  }

  [[nodiscard]] std::unique_ptr<Communicator> duplicate() override {
    const std::lock_guard lock(family_.mutex);
    if (group_->duplicates.size() == num_duplicates_) {
      group_->duplicates.push_back(
          std::make_shared<Group>(group_->family, group_->world_size, group_->hosts));
    }
    return std::make_unique<ThreadCommunicator>(group_->duplicates[num_duplicates_++], rank_);
  }

  [[noreturn]] void abort(int exit_code) override {
    {
      const std::lock_guard lock(family_.mutex);
      if (family_.aborted_by < 0) family_.aborted_by = rank_;
      family_.changed.notify_all();
    }
    throw Error(static_cast<Exit>(exit_code), cat("rank ", rank_, ": aborted all ranks"));
  }

 private:
  void clear() {
    sends_.clear();
    receives_.clear();
  }

  /// Waits for ready(); gives up when the group is aborted or peer(), the rank waited for, is gone.
  template <typename Ready, typename Peer>
  void wait(std::unique_lock<std::mutex>& lock, Ready ready, Peer peer) {
    while (!ready()) {
      if (family_.aborted_by >= 0) {
        throw Error(Exit::peer_lost,
                    cat("rank ", rank_, ": rank ", family_.aborted_by, " aborted"));
      }
      const int waited_for = peer();
      if (waited_for >= 0 && group_->gone[static_cast<std::size_t>(waited_for)]) {
        throw Error(Exit::peer_lost, cat("rank ", rank_, ": rank ", waited_for, " is gone"));
      }
      family_.changed.wait(lock);
    }
  }

  void take(const Receive& receive, std::unique_lock<std::mutex>& lock) {
    Queue& queue = group_->queue(receive.peer, rank_);
    wait(
        lock, [&] { return !queue.empty(); }, [&] { return receive.peer; });
    const Post post = queue.pop();
    const bool fits = post.num_bytes == receive.num_bytes;
    if (fits && post.num_bytes > 0) {
      // The sender waits until pending falls, so its memory stays.
      lock.unlock();
      std::memmove(receive.data, post.data, static_cast<std::size_t>(post.num_bytes));
      lock.lock();
    }
    if (--*post.pending == 0) family_.changed.notify_all();
    DLT_CHECK(fits, cat("rank ", rank_, ": exchange: rank ", receive.peer, " sends ",
                        post.num_bytes, " bytes, expected ", receive.num_bytes));
  }

  /// The first peer that still has a message of this exchange in its queue, -1 if none has.
  [[nodiscard]] int first_unread(std::span<const Send> sends, const int* pending) {
    for (const Send& send : sends) {
      if (group_->queue(rank_, send.peer).holds(pending)) return send.peer;
    }
    return -1;
  }

  /// After a failure: no other rank may touch this exchange's memory once it has ended.
  void withdraw(std::span<const Send> sends, int* pending, std::unique_lock<std::mutex>& lock) {
    for (const Send& send : sends) *pending -= group_->queue(rank_, send.peer).withdraw(pending);
    family_.changed.wait(lock, [&] { return *pending == 0; });
  }

  std::shared_ptr<Group> group_;
  Family& family_;
  int rank_;
  int local_rank_ = 0;
  std::vector<int> host_ranks_;
  std::size_t num_duplicates_ = 0;
  std::vector<Send> sends_;
  std::vector<Receive> receives_;
  std::vector<std::byte> scratch_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> make_thread_group(int world_size,
                                                             const std::vector<int>& host_of) {
  DLT_CHECK(world_size > 0, "make_thread_group: at least one rank");
  DLT_CHECK(host_of.empty() || host_of.size() == static_cast<std::size_t>(world_size),
            "make_thread_group: a host for each rank");
  const auto group = std::make_shared<Group>(std::make_shared<Family>(), world_size,
                                             group_by_host(world_size, host_of));
  std::vector<std::unique_ptr<Communicator>> ranks;
  ranks.reserve(static_cast<std::size_t>(world_size));
  for (int r = 0; r < world_size; ++r) {
    ranks.push_back(std::make_unique<ThreadCommunicator>(group, r));
  }
  return ranks;
}

}  // namespace dlt::comm
