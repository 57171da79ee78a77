// SPDX-License-Identifier: Apache-2.0
#include "cuda_emulator/engine.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

// More than this in one stream, and a call that adds to it runs some: as a GPU's queue does.
constexpr std::size_t kMaxQueue = 1024;
// Nothing ran in any thread for so long while one waited: a test that would never end.
constexpr std::chrono::seconds kHang{60};
constexpr std::chrono::microseconds kPoll{200};

class CallWork final : public Work {
 public:
  explicit CallWork(std::shared_ptr<const std::function<void()>> run) : run_(std::move(run)) {}
  bool step(Lock&) override {
    (*run_)();
    return true;
  }

 private:
  std::shared_ptr<const std::function<void()>> run_;
};

std::uint64_t first_seed() {
  if (const char* text = std::getenv("DLT_EMULATOR_SEED")) return std::strtoull(text, nullptr, 10);
  return static_cast<std::uint64_t>(std::chrono::system_clock::now().time_since_epoch().count());
}

std::vector<Device> default_devices() {
  const char* text = std::getenv("DLT_EMULATOR_DEVICES");
  return std::vector<Device>(text == nullptr ? 1 : std::strtoul(text, nullptr, 10));
}

}  // namespace

MakeWork call_work(std::string name, std::function<void()> run) {
  return [name = std::move(name),
          shared = std::make_shared<const std::function<void()>>(std::move(run))] {
    std::unique_ptr<Work> work = std::make_unique<CallWork>(shared);
    work->name = name;
    return work;
  };
}

Engine& engine() {
  // Never destroyed: objects that end with the program may still free their streams.
  static Engine* const instance = new Engine;
  return *instance;
}

ThreadState& thread_state() {
  static thread_local ThreadState state;
  return state;
}

Engine::Engine() : seed(first_seed()), random(seed) {
  reset(default_devices());
  watch_faults();
}

void Engine::reset(std::vector<Device> wanted) {
  execs.clear();
  graphs.clear();
  events.clear();
  captures.clear();
  streams.clear();
  destroyed_.clear();
  devices.clear();
  pinned.clear();
  failures.clear();
  nccl_async_errors.clear();
  sticky_error = next_work_error = 0;
  counts = {};
  thread_state() = {};
  for (Device& device : wanted) {
    GpuState state;
    state.properties = std::move(device);
    state.memory = std::make_unique<DeviceMemory>();
    state.legacy = std::make_shared<CUstream_st>();
    state.legacy->device = static_cast<int>(devices.size());
    state.legacy->is_legacy = true;
    devices.push_back(std::move(state));
  }
}

std::vector<CUstream_st*> Engine::all_streams() const {
  std::vector<CUstream_st*> all;
  for (const GpuState& device : devices) all.push_back(device.legacy.get());
  for (const auto& [handle, stream] : streams) all.push_back(handle);
  for (const auto& stream : destroyed_) all.push_back(stream.get());
  return all;
}

bool Engine::may_run(const CUstream_st& stream) const {
  if (stream.queue.empty() || stream.is_running || !stream.queue.front().work->ready())
    return false;
  const std::uint64_t own = stream.queue.front().sequence;
  const auto is_behind = [&](const CUstream_st& other) {
    return !other.queue.empty() && other.queue.front().sequence < own;
  };
  if (stream.is_legacy) {
    const std::vector<CUstream_st*> all = all_streams();
    return std::none_of(all.begin(), all.end(), [&](const CUstream_st* other) {
      return other->device == stream.device && (other->flags & cudaStreamNonBlocking) == 0 &&
             is_behind(*other);
    });
  }
  return (stream.flags & cudaStreamNonBlocking) != 0 ||
         !is_behind(*devices[static_cast<std::size_t>(stream.device)].legacy);
}

void Engine::open_memory() {
  for (GpuState& device : devices) device.memory->open();
}

void Engine::close_memory() {
  for (GpuState& device : devices) device.memory->close();
}

bool Engine::run_one(Lock& lock) {
  std::vector<CUstream_st*> can;
  for (CUstream_st* stream : all_streams()) {
    if (may_run(*stream)) can.push_back(stream);
  }
  if (can.empty()) return false;
  if (next_work_error != 0) {
    sticky_error = std::exchange(next_work_error, 0);
    for (CUstream_st* stream : all_streams()) {
      if (!stream->is_running) stream->queue.clear();
    }
    return true;
  }
  CUstream_st* stream = can[random() % can.size()];
  Work& work = *stream->queue.front().work;
  bool is_done = false;
  if (work.on_host()) {
    close_memory();
    stream->is_running = true;
    lock.unlock();
    is_done = work.step(lock);
    lock.lock();
    stream->is_running = false;
  } else {
    open_memory();
    is_done = work.step(lock);
  }
  if (is_done) stream->queue.pop_front();
  ++num_steps_;
  std::erase_if(destroyed_, [](const auto& gone) { return gone->queue.empty(); });
  changed.notify_all();
  return true;
}

cudaError_t Engine::run_until(Lock& lock, const std::function<bool()>& done,
                              const std::string& what) {
  while (sticky_error == 0 && !done()) {
    if (run_one(lock)) continue;
    close_memory();
    wait_for_others(lock, what);
  }
  close_memory();
  return static_cast<cudaError_t>(sticky_error);
}

void Engine::wait_for_others(Lock& lock, const std::string& what) {
  const std::int64_t steps = num_steps_;
  const std::uint64_t sequence = next_sequence;
  const auto is_new = [&] {
    return steps != num_steps_ || sequence != next_sequence || sticky_error != 0;
  };
  const std::vector<CUstream_st*> all = all_streams();
  const bool polls = std::any_of(all.begin(), all.end(), [](const CUstream_st* stream) {
    return !stream->queue.empty() && stream->queue.front().work->polls();
  });
  if (!polls) {
    if (!changed.wait_for(lock, kHang, is_new)) report_hang(what);
    return;
  }
  changed.wait_for(lock, kPoll);
  const auto now = std::chrono::steady_clock::now();
  if (steps != last_steps_ || last_progress_ == std::chrono::steady_clock::time_point())
    last_progress_ = now;
  last_steps_ = steps;
  if (now - last_progress_ > kHang) report_hang(what);
}

void Engine::report_hang(const std::string& what) const {
  std::string text = "nothing ran for " + std::to_string(kHang.count()) + " s while " + what +
                     " waited; at the head of the streams:";
  for (const CUstream_st* stream : all_streams()) {
    if (!stream->queue.empty()) text += " " + stream->queue.front().work->name + ";";
  }
  fail(text);
}

void Engine::run_some(Lock& lock) {
  // At least one, so that who asks again and again gets there; mostly all that can run.
  const std::size_t most = random() % 4 == 0 ? 1 : kMaxQueue * 16;
  for (std::size_t n = 0; n < most && sticky_error == 0 && run_one(lock); ++n) {
  }
  close_memory();
}

cudaError_t Engine::wait_for_stream(Lock& lock, const CUstream_st& stream) {
  ++counts.host_waits;
  const std::uint64_t last = next_sequence;
  const auto done = [&] { return stream.queue.empty() || stream.queue.front().sequence >= last; };
  return run_until(lock, done, "a stream's waiter");
}

cudaError_t Engine::wait_for_device(Lock& lock, int device) {
  ++counts.host_waits;
  const std::uint64_t last = next_sequence;
  const auto done = [&] {
    const std::vector<CUstream_st*> all = all_streams();
    return std::all_of(all.begin(), all.end(), [&](const CUstream_st* stream) {
      return stream->device != device || stream->queue.empty() ||
             stream->queue.front().sequence >= last;
    });
  };
  return run_until(lock, done, "a device's waiter");
}

CUstream_st* Engine::find(cudaStream_t handle) {
  const auto device = static_cast<std::size_t>(thread_state().device);
  if (handle == nullptr || handle == cudaStreamLegacy) {
    return device < devices.size() ? devices[device].legacy.get() : nullptr;
  }
  const auto at = streams.find(handle);
  return at == streams.end() ? nullptr : at->first;
}

bool Engine::is_device_memory(int device, const void* data, std::size_t bytes) const {
  const auto* begin = static_cast<const std::byte*>(data);
  const Allocation* in = devices[static_cast<std::size_t>(device)].memory->find(data);
  if (in != nullptr) return begin + bytes <= in->data + in->bytes;
  const auto* range = pinned.find(data);
  return range != nullptr && begin + bytes <= range->first + range->second.bytes;
}

cudaError_t Engine::enqueue(Lock& lock, CUstream_st* stream, const std::string& name,
                            const MakeWork& make) {
  if (stream->is_legacy) {
    for (const auto& capture : captures) {
      for (const CUstream_st* captured : capture->streams) {
        if (captured->device == stream->device && (captured->flags & cudaStreamNonBlocking) == 0) {
          capture->is_invalid = true;
          return cudaErrorStreamCaptureImplicit;
        }
      }
    }
  }
  if (stream->capture != nullptr) {
    Capture& capture = *stream->capture;
    if (capture.is_invalid) return cudaErrorStreamCaptureInvalidated;
    auto node = std::make_shared<CUgraphNode_st>();
    node->name = name;
    node->make = make;
    node->after = stream->last_nodes;
    stream->last_nodes = {capture.graph->nodes.size()};
    capture.graph->nodes.push_back(std::move(node));
    return cudaSuccess;
  }
  std::unique_ptr<Work> work = make();
  work->name = name;
  stream->queue.push_back({next_sequence++, std::move(work)});
  changed.notify_all();
  if (stream->queue.size() > kMaxQueue) run_some(lock);
  return static_cast<cudaError_t>(sticky_error);
}

cudaError_t Engine::refuse_while_capturing() {
  const ThreadState& thread = thread_state();
  if (thread.capture_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t result = cudaSuccess;
  for (const auto& capture : captures) {
    const bool is_own = capture->thread == std::this_thread::get_id() &&
                        capture->mode != cudaStreamCaptureModeRelaxed;
    const bool is_global = capture->mode == cudaStreamCaptureModeGlobal &&
                           thread.capture_mode == cudaStreamCaptureModeGlobal;
    if (!is_own && !is_global) continue;
    capture->is_invalid = true;
    result = cudaErrorStreamCaptureUnsupported;
  }
  return result;
}

int Engine::take_failure(const char* function) {
  for (auto failure = failures.begin(); failure != failures.end(); ++failure) {
    if (failure->function != function) continue;
    if (failure->after-- > 0) continue;
    const int code = failure->code;
    failures.erase(failure);
    return code;
  }
  return 0;
}

void reset() {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.reset(default_devices());
}

void set_devices(const std::vector<Device>& devices) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.reset(devices);
}

void set_device_memory(std::int64_t bytes) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  for (GpuState& device : e.devices) device.properties.memory_bytes = bytes;
}

void set_seed(std::uint64_t seed) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.seed = seed;
  e.random.seed(seed);
}

// Without the lock: reports are made while it is held.
std::uint64_t seed() { return engine().seed; }

void fail_next(std::string_view function, int code, int after) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.failures.push_back({std::string(function), code, after});
}

void break_device(int code) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.sticky_error = code;
  e.changed.notify_all();
}

void fail_next_work(int code) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.next_work_error = code;
}

Counts counts() {
  Engine& e = engine();
  const Lock lock(e.mutex);
  Counts now = e.counts;
  for (const GpuState& device : e.devices) {
    now.device_bytes += static_cast<std::int64_t>(device.memory->used_bytes());
  }
  return now;
}

void set_nccl_async_error(int rank, int code) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  e.nccl_async_errors[rank] = code;
  e.changed.notify_all();
}

}  // namespace dlt::emulator
