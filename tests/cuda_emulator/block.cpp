// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/block.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "cuda_emulator/fibre.h"
#include "cuda_emulator/report.h"

// The static __shared__ variables of all .cu files of this program, gathered by shared.ld.
extern "C" {
__attribute__((weak)) extern std::byte dlt_emulator_shared_begin[];
__attribute__((weak)) extern std::byte dlt_emulator_shared_end[];
}

namespace dlt::emulator {

Indices indices;

namespace {

constexpr unsigned kWarp = 32;
constexpr int kNaNByte = 0xff;

constexpr std::array<const char*, 6> kMeetingNames = {
    "", "__syncthreads", "__syncthreads_or/and/count", "__syncwarp", "a shuffle", "__ballot_sync"};

/// The end of that much memory, where a page begins that nobody can touch.
std::byte* map_before_guard(std::size_t bytes) {
  void* memory = mmap(nullptr, bytes + 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  std::byte* end = static_cast<std::byte*>(memory) + bytes;
  if (memory == MAP_FAILED || mprotect(end, 4096, PROT_NONE) != 0) fail("no memory for a block");
  return end;
}

/// A small generator: one draw for each thread and barrier must cost next to nothing.
class Draw {
 public:
  void seed(std::uint64_t seed) { state_ = seed | 1; }
  std::size_t below(std::size_t n) {
    state_ ^= state_ << 13;
    state_ ^= state_ >> 7;
    state_ ^= state_ << 17;
    return static_cast<std::size_t>((static_cast<unsigned __int128>(state_) * n) >> 64);
  }

 private:
  std::uint64_t state_ = 1;
};

/// Runs the threads of one block after the other's. A fibre runs one thread after another; a thread
/// that waits keeps its fibre, and another fibre goes on with the threads that have not begun.
class BlockRunner {
 public:
  void run(const GridCall& call, std::mt19937_64& random);

  void meet_block(Meeting kind);
  int meet_block_counting(bool predicate);
  void meet_warp(Meeting kind, unsigned mask);
  void shuffle(unsigned mask, void* value, std::size_t num_bytes, unsigned source_lane);
  unsigned ballot(unsigned mask, bool predicate);
  void* dynamic_shared() { return dynamic_; }

 private:
  struct Worker {
    explicit Worker(BlockRunner* owner) : runner(owner), fibre(&BlockRunner::work, this) {}
    BlockRunner* runner;
    unsigned lane = 0;
    Fibre fibre;
  };
  struct Lane {
    Worker* worker = nullptr;  // none: has not begun
    Meeting waits = Meeting::none;
    unsigned num_meetings = 0;  // of its warp, so far
  };
  struct Warp {
    unsigned num_lanes = 0, num_ended = 0, num_waiting = 0;
    Meeting kind = Meeting::none;
    // Two sets in turn: a lane that is one meeting ahead must not overwrite what others still read.
    std::array<std::array<std::array<std::byte, 16>, kWarp>, 2> slots;
  };

  static void work(void* worker);
  void run_block();
  void run_lane(unsigned lane);
  void end_lane(unsigned lane);
  void wait();
  void release_block();
  unsigned draw_ready();
  void set_thread(unsigned lane);
  Warp& arrive(Meeting kind, unsigned mask);
  [[noreturn]] void report(const std::string& what) const;
  [[noreturn]] void report_stuck() const;

  GridCall call_;
  Draw draw_;
  std::vector<Lane> lanes_;
  std::vector<Warp> warps_;
  std::vector<unsigned> ready_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> idle_;
  unsigned current_ = 0;
  unsigned num_live_ = 0, num_waiting_ = 0;
  Meeting block_kind_ = Meeting::none;
  std::array<int, 2> votes_{};
  unsigned vote_turn_ = 0;
  std::byte* dynamic_ = nullptr;      // its end is dynamic_end_
  std::byte* dynamic_end_ = nullptr;  // a page that nobody can touch
};

void BlockRunner::report(const std::string& what) const {
  const auto text = [](const uint3& v) {
    return "(" + std::to_string(v.x) + ", " + std::to_string(v.y) + ", " + std::to_string(v.z) +
           ")";
  };
  fail("kernel " + function_name(call_.kernel) + ", block " + text(indices.block) + ", thread " +
       text(indices.thread) + ": " + what);
}

void BlockRunner::report_stuck() const {
  std::array<int, kMeetingNames.size()> counts{};
  for (const Lane& lane : lanes_) ++counts[static_cast<std::size_t>(lane.waits)];
  std::string text = "threads wait for each other for ever:";
  for (std::size_t kind = 1; kind < counts.size(); ++kind) {
    if (counts[kind] != 0) {
      text += " " + std::to_string(counts[kind]) + " at " + kMeetingNames[kind] + ",";
    }
  }
  report(text + " " + std::to_string(lanes_.size() - num_live_) + " have ended");
}

void BlockRunner::set_thread(unsigned lane) {
  current_ = lane;
  const unsigned x = call_.shape.threads.x, y = call_.shape.threads.y;
  if (y == 1 && call_.shape.threads.z == 1) {
    indices.thread = {lane, 0, 0};
  } else {
    indices.thread = {lane % x, lane / x % y, lane / x / y};
  }
}

unsigned BlockRunner::draw_ready() {
  const std::size_t at = draw_.below(ready_.size());
  const unsigned lane = ready_[at];
  ready_[at] = ready_.back();
  ready_.pop_back();
  return lane;
}

void BlockRunner::run_lane(unsigned lane) {
  set_thread(lane);
  call_.body(call_.arguments);
}

void BlockRunner::end_lane(unsigned lane) {
  lanes_[lane].worker = nullptr;
  --num_live_;
  Warp& warp = warps_[lane / kWarp];
  ++warp.num_ended;
  if (warp.num_waiting != 0) {
    report(std::string("ended while other lanes of its warp wait at ") +
           kMeetingNames[static_cast<std::size_t>(warp.kind)]);
  }
  if (num_waiting_ != 0 && num_waiting_ == num_live_) release_block();
}

void BlockRunner::work(void* argument) {
  auto& worker = *static_cast<Worker*>(argument);
  BlockRunner& runner = *worker.runner;
  while (true) {
    runner.lanes_[worker.lane].worker = &worker;
    runner.run_lane(worker.lane);
    runner.end_lane(worker.lane);
    if (!runner.ready_.empty()) {
      const unsigned next = runner.draw_ready();
      if (runner.lanes_[next].worker == nullptr) {
        worker.lane = next;
        continue;
      }
      runner.ready_.push_back(next);
    }
    runner.idle_.push_back(&worker);
    worker.fibre.suspend();
  }
}

void BlockRunner::run_block() {
  const auto num_lanes = static_cast<unsigned>(lanes_.size());
  std::fill(lanes_.begin(), lanes_.end(), Lane{});
  for (unsigned w = 0; w < warps_.size(); ++w) {
    warps_[w].num_lanes = std::min(kWarp, num_lanes - w * kWarp);
    warps_[w].num_ended = warps_[w].num_waiting = 0;
    warps_[w].kind = Meeting::none;
  }
  ready_.resize(num_lanes);
  std::iota(ready_.begin(), ready_.end(), 0u);
  num_live_ = num_lanes;
  num_waiting_ = 0;
  while (num_live_ != 0) {
    if (ready_.empty()) report_stuck();
    const unsigned lane = draw_ready();
    Worker* worker = lanes_[lane].worker;
    if (worker == nullptr) {
      if (idle_.empty()) {
        workers_.push_back(std::make_unique<Worker>(this));
        idle_.push_back(workers_.back().get());
      }
      worker = idle_.back();
      idle_.pop_back();
      worker->lane = lane;
    } else {
      set_thread(lane);
    }
    worker->fibre.resume();
  }
}

void BlockRunner::wait() {
  Lane& lane = lanes_[current_];
  lane.worker->fibre.suspend();
}

void BlockRunner::release_block() {
  for (unsigned lane = 0; lane < lanes_.size(); ++lane) {
    if (lanes_[lane].waits == block_kind_) {
      lanes_[lane].waits = Meeting::none;
      ready_.push_back(lane);
    }
  }
  num_waiting_ = 0;
  block_kind_ = Meeting::none;
}

void BlockRunner::meet_block(Meeting kind) {
  if (num_waiting_ != 0 && block_kind_ != kind) {
    report(std::string("at ") + kMeetingNames[static_cast<std::size_t>(kind)] +
           " while others wait at " + kMeetingNames[static_cast<std::size_t>(block_kind_)]);
  }
  block_kind_ = kind;
  lanes_[current_].waits = kind;
  if (++num_waiting_ == num_live_) release_block();
  wait();
}

int BlockRunner::meet_block_counting(bool predicate) {
  if (num_waiting_ == 0) {
    vote_turn_ ^= 1;
    votes_[vote_turn_] = 0;
  }
  const unsigned turn = vote_turn_;
  votes_[turn] += predicate ? 1 : 0;
  meet_block(Meeting::sync_threads_vote);
  return votes_[turn];
}

BlockRunner::Warp& BlockRunner::arrive(Meeting kind, unsigned mask) {
  Warp& warp = warps_[current_ / kWarp];
  if (mask != ~0u || warp.num_ended != 0 || (warp.num_waiting != 0 && warp.kind != kind)) {
    const std::string name = kMeetingNames[static_cast<std::size_t>(kind)];
    if (mask != ~0u) report(name + " without a full mask (the dialect has none)");
    if (warp.num_ended != 0) report(name + " after lanes of its warp have ended");
    report("at " + name + " while other lanes of its warp wait at " +
           kMeetingNames[static_cast<std::size_t>(warp.kind)]);
  }
  warp.kind = kind;
  return warp;
}

void BlockRunner::meet_warp(Meeting kind, unsigned mask) {
  Warp& warp = arrive(kind, mask);
  lanes_[current_].waits = kind;
  if (++warp.num_waiting == warp.num_lanes) {
    const unsigned first = current_ / kWarp * kWarp;
    for (unsigned lane = first; lane < first + warp.num_lanes; ++lane) {
      lanes_[lane].waits = Meeting::none;
      ++lanes_[lane].num_meetings;
      ready_.push_back(lane);
    }
    warp.num_waiting = 0;
  }
  wait();
}

void BlockRunner::shuffle(unsigned mask, void* value, std::size_t num_bytes, unsigned source_lane) {
  Warp& warp = warps_[current_ / kWarp];
  const unsigned turn = lanes_[current_].num_meetings % 2;
  if (source_lane >= warp.num_lanes) {
    report("a shuffle reads lane " + std::to_string(source_lane) + " of a warp of " +
           std::to_string(warp.num_lanes));
  }
  std::memcpy(warp.slots[turn][current_ % kWarp].data(), value, num_bytes);
  meet_warp(Meeting::shuffle, mask);
  std::memcpy(value, warp.slots[turn][source_lane].data(), num_bytes);
}

unsigned BlockRunner::ballot(unsigned mask, bool predicate) {
  Warp& warp = warps_[current_ / kWarp];
  const unsigned turn = lanes_[current_].num_meetings % 2;
  warp.slots[turn][current_ % kWarp][0] = static_cast<std::byte>(predicate);
  meet_warp(Meeting::ballot, mask);
  unsigned votes = 0;
  for (unsigned lane = 0; lane < warp.num_lanes; ++lane) {
    votes |= static_cast<unsigned>(warp.slots[turn][lane][0]) << lane;
  }
  return votes;
}

/// The part of the static shared memory that a kernel writes: to fill all of it before each block
/// would cost more than small blocks do. Looked up anew every few launches.
struct Touched {
  std::size_t begin = 0, end = 0;
  unsigned num_launches = 0;
};

#if defined(__SANITIZE_ADDRESS__)
// Between the variables lie stretches that AddressSanitizer lets nobody touch, memset() included.
constexpr bool kMaySearch = false;
__attribute__((no_sanitize_address)) void fill_static(std::size_t begin, std::size_t end) {
  auto* words = reinterpret_cast<volatile std::uint64_t*>(dlt_emulator_shared_begin);
  for (std::size_t word = begin / 8; word < end / 8; ++word) words[word] = ~std::uint64_t{0};
}
#else
constexpr bool kMaySearch = true;
void fill_static(std::size_t begin, std::size_t end) {
  std::memset(dlt_emulator_shared_begin + begin, kNaNByte, end - begin);
}
#endif

void look_for_touched(Touched& touched, std::size_t size) {
  const std::byte* memory = dlt_emulator_shared_begin;
  const auto is_touched = [](std::byte b) { return b != static_cast<std::byte>(kNaNByte); };
  const std::byte* first = std::find_if(memory, memory + size, is_touched);
  if (first == memory + size) return;
  const std::byte* last = memory + size;
  while (!is_touched(last[-1])) --last;
  const auto begin = static_cast<std::size_t>(first - memory);
  const auto end = static_cast<std::size_t>(last - memory);
  const bool had = touched.begin != touched.end;
  touched.begin = had ? std::min(touched.begin, begin) : begin;
  touched.end = had ? std::max(touched.end, end) : end;
}

void BlockRunner::run(const GridCall& call, std::mt19937_64& random) {
  call_ = call;
  draw_.seed(random());
  const GridShape& shape = call.shape;
  const unsigned num_threads = shape.threads.x * shape.threads.y * shape.threads.z;
  lanes_.resize(num_threads);
  warps_.resize((num_threads + kWarp - 1) / kWarp);
  if (dynamic_end_ == nullptr) dynamic_end_ = map_before_guard(256 << 10);
  dynamic_ = dynamic_end_ - (shape.shared_bytes + 15) / 16 * 16;
  indices.block_dim = shape.threads;
  indices.grid_dim = shape.blocks;

  static std::map<const void*, Touched> touched_by;
  Touched& touched = touched_by[call.kernel];
  const auto static_bytes =
      static_cast<std::size_t>(dlt_emulator_shared_end - dlt_emulator_shared_begin);
  const bool look = kMaySearch && static_bytes != 0 && touched.num_launches++ % 16 == 0;
  if (!kMaySearch) touched.end = static_bytes;
  const std::uint64_t per_layer = std::uint64_t{shape.blocks.x} * shape.blocks.y;
  std::vector<std::uint32_t> order(per_layer * shape.blocks.z);
  std::iota(order.begin(), order.end(), 0u);
  for (std::size_t done = 0; done < order.size(); ++done) {
    std::swap(order[done], order[done + draw_.below(order.size() - done)]);
    const std::uint32_t b = order[done];
    indices.block = {b % shape.blocks.x, b / shape.blocks.x % shape.blocks.y,
                     static_cast<unsigned>(b / per_layer)};
    std::memset(dynamic_, kNaNByte, shape.shared_bytes);
    const bool look_now = look && done < 2;
    if (look_now) fill_static(0, static_bytes);
    if (!look_now && touched.end != touched.begin) fill_static(touched.begin, touched.end);
    run_block();
    if (look_now) look_for_touched(touched, static_bytes);
  }
}

thread_local const void* running = nullptr;

BlockRunner& runner() {
  static BlockRunner instance;
  return instance;
}

}  // namespace

void run_grid(const GridCall& call, std::mt19937_64& random) {
  running = call.kernel;
  runner().run(call, random);
  running = nullptr;
}
const void* running_kernel() { return running; }
void meet_block() { runner().meet_block(Meeting::sync_threads); }
int meet_block_counting(bool predicate) { return runner().meet_block_counting(predicate); }
void meet_warp(unsigned mask) { runner().meet_warp(Meeting::sync_warp, mask); }
void shuffle(unsigned mask, void* value, std::size_t num_bytes, unsigned source_lane) {
  runner().shuffle(mask, value, num_bytes, source_lane);
}
unsigned ballot(unsigned mask, bool predicate) { return runner().ballot(mask, predicate); }
void* dynamic_shared_memory() { return runner().dynamic_shared(); }

}  // namespace dlt::emulator
