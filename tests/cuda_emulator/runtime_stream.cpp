// SPDX-License-Identifier: Apache-2.0
// libcudart: streams, events and functions of the host.
#include <memory>
#include <utility>

#include "cuda_emulator/engine.h"

using namespace dlt::emulator;

namespace {

class WaitWork final : public Work {
 public:
  WaitWork(std::shared_ptr<CUevent_st> event, std::uint64_t record)
      : event_(std::move(event)), record_(record) {}
  bool ready() const override { return event_->completed >= record_; }
  bool step(Lock&) override { return true; }

 private:
  std::shared_ptr<CUevent_st> event_;
  std::uint64_t record_;
};

class HostWork final : public Work {
 public:
  HostWork(cudaHostFn_t function, void* data) : function_(function), data_(data) {}
  bool on_host() const override { return true; }
  bool step(Lock&) override {
    thread_state().in_host_function = true;
    function_(data_);
    thread_state().in_host_function = false;
    return true;
  }

 private:
  cudaHostFn_t function_;
  void* data_;
};

cudaError_t create(cudaStream_t* made, unsigned flags, int priority, const char* function) {
  return api(function, [&](Engine& e, Lock&) {
    if ((flags & ~unsigned{cudaStreamNonBlocking}) != 0) return cudaErrorInvalidValue;
    auto stream = std::make_shared<CUstream_st>();
    stream->device = thread_state().device;
    stream->flags = flags;
    stream->priority = priority;
    stream->id = e.next_id++;
    *made = stream.get();
    e.streams.emplace(stream.get(), stream);
    return cudaSuccess;
  });
}

cudaError_t create_event(cudaEvent_t* made, unsigned flags, const char* function) {
  return api(function, [&](Engine& e, Lock&) {
    auto event = std::make_shared<CUevent_st>();
    event->device = thread_state().device;
    event->flags = flags;
    *made = event.get();
    e.events.emplace(event.get(), event);
    return cudaSuccess;
  });
}

std::shared_ptr<CUevent_st> find_event(Engine& e, cudaEvent_t handle) {
  const auto at = e.events.find(handle);
  return at == e.events.end() ? nullptr : at->second;
}

MakeWork record_work(const std::shared_ptr<CUevent_st>& event) {
  return [event] {
    const std::uint64_t record = ++event->recorded;
    return call_work("an event's record", [event, record] {
      event->completed = record;
      event->time = std::chrono::steady_clock::now();
    })();
  };
}

MakeWork wait_work(const std::shared_ptr<CUevent_st>& event) {
  return [event] { return std::make_unique<WaitWork>(event, event->recorded); };
}

cudaError_t record(Engine& e, Lock& lock, cudaEvent_t handle, cudaStream_t on, unsigned flags) {
  const std::shared_ptr<CUevent_st> event = find_event(e, handle);
  CUstream_st* stream = e.find(on);
  if (event == nullptr || stream == nullptr || event->device != stream->device) {
    return cudaErrorInvalidResourceHandle;
  }
  if (stream->capture != nullptr && (flags & cudaEventRecordExternal) == 0) {
    if (stream->capture->is_invalid) return cudaErrorStreamCaptureInvalidated;
    event->capture = stream->capture;
    event->nodes = stream->last_nodes;
    return cudaSuccess;
  }
  event->capture = nullptr;
  return e.enqueue(lock, stream, "an event's record", record_work(event));
}

/// A captured event draws the stream into its capture, or adds to what the next node follows.
cudaError_t join_capture(CUstream_st& stream, const CUevent_st& event) {
  if (stream.capture == nullptr) {
    if (!stream.queue.empty() && stream.is_legacy) return cudaErrorStreamCaptureImplicit;
    stream.capture = event.capture;
    stream.last_nodes.clear();
    event.capture->streams.insert(&stream);
  } else if (stream.capture != event.capture) {
    stream.capture->is_invalid = event.capture->is_invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  stream.last_nodes.insert(event.nodes.begin(), event.nodes.end());
  return cudaSuccess;
}

cudaError_t wait(Engine& e, Lock& lock, cudaStream_t handle, cudaEvent_t of, unsigned flags) {
  CUstream_st* stream = e.find(handle);
  const std::shared_ptr<CUevent_st> event = find_event(e, of);
  if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
  const bool is_external = (flags & cudaEventWaitExternal) != 0;
  if (event->capture != nullptr && !is_external) {
    if (event->capture->is_invalid) return cudaErrorStreamCaptureInvalidated;
    // Of a capture that has ended: the event has no work to wait for.
    if (e.captures.count(event->capture) == 0) return cudaErrorCapturedEvent;
    return stream->is_legacy ? cudaErrorStreamCaptureImplicit : join_capture(*stream, *event);
  }
  if (stream->capture != nullptr && !is_external) {
    stream->capture->is_invalid = true;
    return cudaErrorStreamCaptureIsolation;
  }
  return e.enqueue(lock, stream, "a wait for an event", wait_work(event));
}

cudaError_t refuse_captured(CUstream_st& stream) {
  if (stream.capture == nullptr) return cudaSuccess;
  stream.capture->is_invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* made) { return create(made, 0, 0, "cudaStreamCreate"); }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* made, unsigned flags) {
  return create(made, flags, 0, "cudaStreamCreateWithFlags");
}
cudaError_t cudaStreamCreateWithPriority(cudaStream_t* made, unsigned flags, int priority) {
  return create(made, flags, priority, "cudaStreamCreateWithPriority");
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return api("cudaStreamDestroy", [&](Engine& e, Lock&) {
    const auto at = e.streams.find(handle);
    if (at == e.streams.end()) return cudaErrorInvalidResourceHandle;
    if (handle->capture != nullptr) {
      handle->capture->is_invalid = true;
      handle->capture->streams.erase(handle);
      if (handle->capture->origin == handle) e.captures.erase(handle->capture);
    }
    e.retire(std::move(at->second));
    e.streams.erase(at);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return api("cudaStreamGetFlags", [&](Engine& e, Lock&) {
    const CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *flags = stream->flags;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return api("cudaStreamGetPriority", [&](Engine& e, Lock&) {
    const CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *priority = stream->priority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return api("cudaStreamGetDevice", [&](Engine& e, Lock&) {
    const CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *device = stream->device;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return api("cudaStreamSynchronize", [&](Engine& e, Lock& lock) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t error = refuse_captured(*stream)) return error;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    if (stream->is_legacy) {
      // What the legacy stream waits for includes the blocking streams' work.
      const auto nothing = call_work("a synchronisation", [] {});
      if (const cudaError_t error = e.enqueue(lock, stream, "a synchronisation", nothing))
        return error;
    }
    return e.wait_for_stream(lock, *stream);
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return api("cudaStreamQuery", [&](Engine& e, Lock& lock) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (const cudaError_t error = refuse_captured(*stream)) return error;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    e.run_some(lock);
    if (e.sticky_error != 0) return static_cast<cudaError_t>(e.sticky_error);
    return stream->queue.empty() ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags) {
  return api("cudaStreamWaitEvent",
             [&](Engine& e, Lock& lock) { return wait(e, lock, stream, event, flags); });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t handle, cudaHostFn_t function, void* data) {
  return api("cudaLaunchHostFunc", [&](Engine& e, Lock& lock) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    return e.enqueue(lock, stream, "a host function",
                     [function, data] { return std::make_unique<HostWork>(function, data); });
  });
}

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return create_event(event, 0, "cudaEventCreate");
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return create_event(event, flags, "cudaEventCreateWithFlags");
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return api("cudaEventDestroy", [&](Engine& e, Lock&) {
    return e.events.erase(event) != 0 ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return api("cudaEventRecord",
             [&](Engine& e, Lock& lock) { return record(e, lock, event, stream, 0); });
}
cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  return api("cudaEventRecordWithFlags",
             [&](Engine& e, Lock& lock) { return record(e, lock, event, stream, flags); });
}

cudaError_t cudaEventQuery(cudaEvent_t handle) {
  return api("cudaEventQuery", [&](Engine& e, Lock& lock) {
    const std::shared_ptr<CUevent_st> event = find_event(e, handle);
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return cudaErrorCapturedEvent;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    if (event->completed < event->recorded) e.run_some(lock);
    if (e.sticky_error != 0) return static_cast<cudaError_t>(e.sticky_error);
    return event->completed < event->recorded ? cudaErrorNotReady : cudaSuccess;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t handle) {
  return api("cudaEventSynchronize", [&](Engine& e, Lock& lock) {
    const std::shared_ptr<CUevent_st> event = find_event(e, handle);
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (event->capture != nullptr) return cudaErrorCapturedEvent;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    ++e.counts.host_waits;
    const std::uint64_t record = event->recorded;
    return e.run_until(
        lock, [&] { return event->completed >= record; }, "an event's waiter");
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t from, cudaEvent_t to) {
  return api("cudaEventElapsedTime", [&](Engine& e, Lock&) {
    const std::shared_ptr<CUevent_st> start = find_event(e, from), end = find_event(e, to);
    if (start == nullptr || end == nullptr || start->recorded == 0 || end->recorded == 0 ||
        ((start->flags | end->flags) & cudaEventDisableTiming) != 0) {
      return cudaErrorInvalidResourceHandle;
    }
    if (start->completed < start->recorded || end->completed < end->recorded)
      return cudaErrorNotReady;
    *ms = std::chrono::duration<float, std::milli>(end->time - start->time).count();
    return cudaSuccess;
  });
}

}  // extern "C"
