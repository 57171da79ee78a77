// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/queue.h"

#include <cstddef>

#include "backend/cuda/check.h"

namespace dlt::cuda {
namespace {

class StreamEvent final : public tensor::Event {
 public:
  explicit StreamEvent(tensor::EventKind kind) {
    const unsigned flags =
        kind == tensor::EventKind::timing ? cudaEventDefault : cudaEventDisableTiming;
    DLT_CUDA(cudaEventCreateWithFlags(&event_, flags));
  }
  ~StreamEvent() override { (void)cudaEventDestroy(event_); }
  StreamEvent(const StreamEvent&) = delete;
  StreamEvent& operator=(const StreamEvent&) = delete;

  [[nodiscard]] cudaEvent_t get() const { return event_; }
  [[nodiscard]] bool done() const override {
    const cudaError_t status = cudaEventQuery(event_);
    if (status == cudaErrorNotReady) return false;
    check(status, "cudaEventQuery(event)");
    return true;
  }
  void wait() const override { DLT_CUDA(cudaEventSynchronize(event_)); }
  [[nodiscard]] double ms_since(const tensor::Event& earlier) const override {
    float ms = 0;
    DLT_CUDA(cudaEventElapsedTime(&ms, static_cast<const StreamEvent&>(earlier).event_, event_));
    return static_cast<double>(ms);
  }

 private:
  cudaEvent_t event_ = nullptr;
};

/// A captured graph, ready to launch.
class GraphRecording final : public tensor::Recording {
 public:
  /// Takes the graph.
  explicit GraphRecording(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&exec_, graph, 0);
    (void)cudaGraphDestroy(graph);
    check(status, "cudaGraphInstantiate(graph)");
  }
  ~GraphRecording() override { (void)cudaGraphExecDestroy(exec_); }
  GraphRecording(const GraphRecording&) = delete;
  GraphRecording& operator=(const GraphRecording&) = delete;

  [[nodiscard]] cudaGraphExec_t exec() const { return exec_; }

 private:
  cudaGraphExec_t exec_ = nullptr;
};

class StreamQueue final : public tensor::Queue {
 public:
  StreamQueue() { DLT_CUDA(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking)); }
  ~StreamQueue() override { (void)cudaStreamDestroy(stream_); }
  StreamQueue(const StreamQueue&) = delete;
  StreamQueue& operator=(const StreamQueue&) = delete;

  void copy(void* to, const void* from, std::int64_t num_bytes) override {
    if (num_bytes == 0) return;
    DLT_CUDA(
        cudaMemcpyAsync(to, from, static_cast<std::size_t>(num_bytes), cudaMemcpyDefault, stream_));
  }
  void zero(void* to, std::int64_t num_bytes) override {
    if (num_bytes == 0) return;
    DLT_CUDA(cudaMemsetAsync(to, 0, static_cast<std::size_t>(num_bytes), stream_));
  }
  void record(tensor::Event& event) override {
    DLT_CUDA(cudaEventRecord(static_cast<StreamEvent&>(event).get(), stream_));
  }
  void wait_for(const tensor::Event& event) override {
    DLT_CUDA(cudaStreamWaitEvent(stream_, static_cast<const StreamEvent&>(event).get(), 0));
  }
  void wait() override { DLT_CUDA(cudaStreamSynchronize(stream_)); }
  void begin_capture() override {
    DLT_CUDA(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal));
  }
  std::unique_ptr<tensor::Recording> end_capture() override {
    cudaGraph_t graph = nullptr;
    DLT_CUDA(cudaStreamEndCapture(stream_, &graph));
    return std::make_unique<GraphRecording>(graph);
  }
  void replay(const tensor::Recording& recording) override {
    DLT_CUDA(cudaGraphLaunch(static_cast<const GraphRecording&>(recording).exec(), stream_));
  }
  [[nodiscard]] void* handle() const override { return stream_; }

 private:
  cudaStream_t stream_ = nullptr;
};

}  // namespace

std::unique_ptr<tensor::Queue> make_stream_queue() { return std::make_unique<StreamQueue>(); }

std::unique_ptr<tensor::Event> make_stream_event(tensor::EventKind kind) {
  return std::make_unique<StreamEvent>(kind);
}

}  // namespace dlt::cuda
