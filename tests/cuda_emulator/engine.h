// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include <cuda_runtime_api.h>

#include "cuda_emulator/emulator.h"
#include "cuda_emulator/memory.h"

namespace dlt::emulator {

using Lock = std::unique_lock<std::mutex>;

/// One piece of work of a stream, while it runs. Called under the engine's lock, device memory
/// open.
class Work {
 public:
  virtual ~Work() = default;
  /// False while it waits for something outside its stream: an event, other ranks.
  [[nodiscard]] virtual bool ready() const { return true; }
  /// Does some of it; true once all is done.
  virtual bool step(Lock& lock) = 0;
  /// Runs with device memory closed and the lock free (functions of the host).
  [[nodiscard]] virtual bool on_host() const { return false; }
  /// May become ready by what another process does, of which nobody tells.
  [[nodiscard]] virtual bool polls() const { return false; }
  std::string name;
};
/// Begins a piece of work: at once, or at each launch of the graph that holds it.
using MakeWork = std::function<std::unique_ptr<Work>()>;
/// Work that is one call.
[[nodiscard]] MakeWork call_work(std::string name, std::function<void()> run);

struct Capture;

}  // namespace dlt::emulator

/// The vendor's opaque types.
struct CUstream_st {
  struct Item {
    std::uint64_t sequence;
    std::unique_ptr<dlt::emulator::Work> work;
  };
  int device = 0;
  unsigned flags = 0;
  int priority = 0;
  bool is_legacy = false;
  bool is_running = false;  // a step is under way without the lock
  std::uint64_t id = 0;
  std::deque<Item> queue;
  std::shared_ptr<dlt::emulator::Capture> capture;
  std::set<std::size_t> last_nodes;  // what the next captured node depends on
};

struct CUevent_st {
  int device = 0;
  unsigned flags = 0;
  std::uint64_t recorded = 0, completed = 0;  // the latest record, and those that have run
  std::chrono::steady_clock::time_point time;
  std::shared_ptr<dlt::emulator::Capture> capture;  // recorded last while capturing
  std::set<std::size_t> nodes;
};

struct CUgraphNode_st {
  std::string name;
  dlt::emulator::MakeWork make;
  std::set<std::size_t> after;
};
struct CUgraph_st {
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
};
struct CUgraphExec_st {
  int device = 0;
  std::vector<std::shared_ptr<CUgraphNode_st>> nodes;
  std::uint64_t launched = 0, finished = 0;
};

namespace dlt::emulator {

struct Capture {
  cudaStreamCaptureMode mode;
  std::thread::id thread;
  std::uint64_t id = 0;
  CUstream_st* origin = nullptr;
  bool is_invalid = false;
  std::shared_ptr<CUgraph_st> graph = std::make_shared<CUgraph_st>();
  std::set<CUstream_st*> streams;
};

struct GpuState {
  Device properties;
  std::unique_ptr<DeviceMemory> memory;
  std::shared_ptr<CUstream_st> legacy;
};

struct Failure {
  std::string function;
  int code = 0;
  int after = 0;
};

/// All state of the emulated machine. One lock: one piece of device work runs at a time.
class Engine {
 public:
  Engine();
  void reset(std::vector<Device> devices);

  /// Adds work to a stream, or a node to the graph it is capturing.
  cudaError_t enqueue(Lock& lock, CUstream_st* stream, const std::string& name,
                      const MakeWork& make);
  /// Runs work of all streams in random order until done() holds. errors: those of the device
  cudaError_t run_until(Lock& lock, const std::function<bool()>& done, const std::string& what);
  /// Runs a random share of what can run now.
  void run_some(Lock& lock);
  /// Waits for all that a stream, or every stream of a device, holds now.
  cudaError_t wait_for_stream(Lock& lock, const CUstream_st& stream);
  cudaError_t wait_for_device(Lock& lock, int device);

  /// Keeps a destroyed stream until its work is done.
  void retire(std::shared_ptr<CUstream_st> stream) { destroyed_.push_back(std::move(stream)); }

  /// The stream of that handle for the current device; null where there is none.
  [[nodiscard]] CUstream_st* find(cudaStream_t handle);
  /// Whether all of the range is live memory of that device, or pinned.
  [[nodiscard]] bool is_device_memory(int device, const void* data, std::size_t bytes) const;
  /// An error where some capture forbids calls that could wait for, or change, the device; ends it.
  cudaError_t refuse_while_capturing();
  /// Takes the failure that a test asked for.
  [[nodiscard]] int take_failure(const char* function);

  std::mutex mutex;
  std::condition_variable changed;
  std::uint64_t seed = 0;
  std::mt19937_64 random;
  std::vector<GpuState> devices;
  std::map<CUstream_st*, std::shared_ptr<CUstream_st>> streams;  // without the legacy ones
  std::map<CUevent_st*, std::shared_ptr<CUevent_st>> events;
  std::map<CUgraph_st*, std::shared_ptr<CUgraph_st>> graphs;
  std::map<CUgraphExec_st*, std::shared_ptr<CUgraphExec_st>> execs;
  std::set<std::shared_ptr<Capture>> captures;
  PinnedMemory pinned;
  std::vector<Failure> failures;
  std::map<int, int> nccl_async_errors;
  int sticky_error = 0;
  int next_work_error = 0;
  Counts counts;
  std::uint64_t next_sequence = 1;
  std::uint64_t next_id = 1;

 private:
  [[nodiscard]] std::vector<CUstream_st*> all_streams() const;
  [[nodiscard]] bool may_run(const CUstream_st& stream) const;
  /// Leaves device memory open.
  bool run_one(Lock& lock);
  void open_memory();
  void close_memory();
  /// Waits for others to change something. Ends the process where that takes for ever.
  void wait_for_others(Lock& lock, const std::string& what);
  [[noreturn]] void report_hang(const std::string& what) const;

  std::vector<std::shared_ptr<CUstream_st>> destroyed_;  // until their work is done
  std::int64_t num_steps_ = 0;
  std::int64_t last_steps_ = 0;  // when a poll last saw something done
  std::chrono::steady_clock::time_point last_progress_;
};

Engine& engine();
/// Reports of accesses to memory that is not there, before the process ends by them.
void watch_faults();

/// The current device and last error of the calling thread.
struct ThreadState {
  int device = 0;
  cudaError_t last_error = cudaSuccess;
  cudaStreamCaptureMode capture_mode = cudaStreamCaptureModeGlobal;
  bool in_host_function = false;
};
ThreadState& thread_state();

enum class Needs : std::uint8_t { nothing, device };

/// The body of every function of the runtime: takes the lock, answers the failures that tests ask
/// for and those of a broken or absent device, and keeps the last error.
template <typename Body>
cudaError_t api(const char* function, Needs needs, Body&& body) {
  ThreadState& thread = thread_state();
  cudaError_t result;
  Engine& e = engine();
  if (thread.in_host_function) {
    result = cudaErrorNotPermitted;
  } else {
    Lock lock(e.mutex);
    const int failure = e.take_failure(function);
    if (failure != 0) {
      result = static_cast<cudaError_t>(failure);
    } else if (e.sticky_error != 0) {
      result = static_cast<cudaError_t>(e.sticky_error);
    } else if (needs == Needs::device && e.devices.empty()) {
      result = cudaErrorNoDevice;
    } else {
      result = body(e, lock);
    }
  }
  if (result != cudaSuccess && result != cudaErrorNotReady) thread.last_error = result;
  return result;
}
template <typename Body>
cudaError_t api(const char* function, Body&& body) {
  return api(function, Needs::device, std::forward<Body>(body));
}

}  // namespace dlt::emulator
