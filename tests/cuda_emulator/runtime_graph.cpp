// SPDX-License-Identifier: Apache-2.0
// libcudart: capture of streams and graphs.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "cuda_emulator/engine.h"

using namespace dlt::emulator;

namespace {

/// One launch of a graph: its nodes in random order that keeps their dependencies. Launches of one
/// graph follow each other.
class GraphWork final : public Work {
 public:
  GraphWork(std::shared_ptr<CUgraphExec_st> exec, Engine& e)
      : exec_(std::move(exec)), engine_(e), launch_(exec_->launched++) {
    for (const auto& node : exec_->nodes) {
      work_.push_back(node->make());
      work_.back()->name = node->name + " of a graph";
    }
  }

  bool ready() const override {
    if (exec_->finished != launch_) return false;
    return work_.empty() || num_done_ == work_.size() || !ready_nodes().empty();
  }
  bool on_host() const override { return !work_.empty() && chosen().on_host(); }
  bool polls() const override {
    return std::any_of(work_.begin(), work_.end(),
                       [](const auto& work) { return work != nullptr && work->polls(); });
  }
  bool step(Lock& lock) override {
    if (num_done_ < work_.size()) {
      const std::size_t node = choice_;
      if (!work_[node]->step(lock)) return false;
      work_[node] = nullptr;
      choice_ = kNone;
      ++num_done_;
    }
    if (num_done_ < work_.size()) return false;
    ++exec_->finished;
    return true;
  }

 private:
  static constexpr std::size_t kNone = ~std::size_t{0};

  [[nodiscard]] std::vector<std::size_t> ready_nodes() const {
    std::vector<std::size_t> ready;
    for (std::size_t n = 0; n < work_.size(); ++n) {
      const auto& after = exec_->nodes[n]->after;
      const auto is_done = [&](std::size_t a) { return work_[a] == nullptr; };
      if (work_[n] != nullptr && std::all_of(after.begin(), after.end(), is_done) &&
          work_[n]->ready()) {
        ready.push_back(n);
      }
    }
    return ready;
  }
  /// Drawn anew for each step: on_host() is asked right before it.
  [[nodiscard]] const Work& chosen() const {
    const std::vector<std::size_t> ready = ready_nodes();
    choice_ = ready[engine_.random() % ready.size()];
    return *work_[choice_];
  }

  std::shared_ptr<CUgraphExec_st> exec_;
  Engine& engine_;
  std::uint64_t launch_;
  std::vector<std::unique_ptr<Work>> work_;
  mutable std::size_t choice_ = kNone;
  std::size_t num_done_ = 0;
};

/// Whether the last nodes of every stream of the capture lead into the origin's.
bool is_joined(const Capture& capture) {
  const auto& nodes = capture.graph->nodes;
  std::vector<bool> reached(nodes.size(), false);
  std::vector<std::size_t> open(capture.origin->last_nodes.begin(),
                                capture.origin->last_nodes.end());
  while (!open.empty()) {
    const std::size_t node = open.back();
    open.pop_back();
    if (reached[node]) continue;
    reached[node] = true;
    open.insert(open.end(), nodes[node]->after.begin(), nodes[node]->after.end());
  }
  return std::find(reached.begin(), reached.end(), false) == reached.end();
}

cudaError_t end_capture(Engine& e, CUstream_st& stream, cudaGraph_t* graph) {
  const std::shared_ptr<Capture> capture = stream.capture;
  if (capture->mode == cudaStreamCaptureModeThreadLocal &&
      capture->thread != std::this_thread::get_id()) {
    return cudaErrorStreamCaptureWrongThread;
  }
  const bool joined = is_joined(*capture);
  for (CUstream_st* captured : capture->streams) {
    captured->capture = nullptr;
    captured->last_nodes.clear();
  }
  e.captures.erase(capture);
  if (capture->is_invalid) return cudaErrorStreamCaptureInvalidated;
  if (!joined) return cudaErrorStreamCaptureUnjoined;
  *graph = capture->graph.get();
  e.graphs.emplace(capture->graph.get(), capture->graph);
  return cudaSuccess;
}

cudaError_t instantiate(cudaGraphExec_t* made, cudaGraph_t graph, const char* function) {
  return api(function, [&](Engine& e, Lock&) {
    if (e.graphs.count(graph) == 0) return cudaErrorInvalidValue;
    if (const cudaError_t error = e.refuse_while_capturing()) return error;
    auto exec = std::make_shared<CUgraphExec_st>();
    exec->device = thread_state().device;
    exec->nodes = graph->nodes;
    *made = exec.get();
    e.execs.emplace(exec.get(), exec);
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return api("cudaStreamBeginCapture", [&](Engine& e, Lock&) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->is_legacy) return cudaErrorStreamCaptureUnsupported;
    if (stream->capture != nullptr) return cudaErrorIllegalState;
    auto capture = std::make_shared<Capture>();
    capture->mode = mode;
    capture->thread = std::this_thread::get_id();
    capture->id = e.next_id++;
    capture->origin = stream;
    capture->streams.insert(stream);
    stream->capture = capture;
    stream->last_nodes.clear();
    e.captures.insert(capture);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  *graph = nullptr;
  return api("cudaStreamEndCapture", [&](Engine& e, Lock&) {
    CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture == nullptr) return cudaErrorIllegalState;
    if (stream->capture->origin != stream) {
      stream->capture->is_invalid = true;
      return cudaErrorStreamCaptureUnmatched;
    }
    return end_capture(e, *stream, graph);
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return api("cudaStreamIsCapturing", [&](Engine& e, Lock&) {
    const CUstream_st* stream = e.find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    *status = cudaStreamCaptureStatusNone;
    if (stream->capture != nullptr) {
      *status = stream->capture->is_invalid ? cudaStreamCaptureStatusInvalidated
                                            : cudaStreamCaptureStatusActive;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return api("cudaThreadExchangeStreamCaptureMode", [&](Engine&, Lock&) {
    std::swap(*mode, thread_state().capture_mode);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return api("cudaGraphGetNodes", [&](Engine& e, Lock&) {
    if (e.graphs.count(graph) == 0) return cudaErrorInvalidValue;
    const std::size_t room = nodes == nullptr ? 0 : std::min(*count, graph->nodes.size());
    for (std::size_t n = 0; n < room; ++n) nodes[n] = graph->nodes[n].get();
    *count = nodes == nullptr ? graph->nodes.size() : room;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long) {
  return instantiate(exec, graph, "cudaGraphInstantiate");
}
cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph,
                                          unsigned long long) {
  return instantiate(exec, graph, "cudaGraphInstantiateWithFlags");
}

cudaError_t cudaGraphUpload(cudaGraphExec_t exec, cudaStream_t handle) {
  return api("cudaGraphUpload", [&](Engine& e, Lock&) {
    return e.execs.count(exec) != 0 && e.find(handle) != nullptr ? cudaSuccess
                                                                 : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t handle, cudaStream_t on) {
  return api("cudaGraphLaunch", [&](Engine& e, Lock& lock) {
    const auto at = e.execs.find(handle);
    CUstream_st* stream = e.find(on);
    if (at == e.execs.end()) return cudaErrorInvalidValue;
    if (stream == nullptr || stream->device != handle->device)
      return cudaErrorInvalidResourceHandle;
    if (stream->capture != nullptr) {
      // CUDA makes it a child graph; nothing here needs that.
      stream->capture->is_invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    ++e.counts.graph_launches;
    const std::shared_ptr<CUgraphExec_st> exec = at->second;
    return e.enqueue(lock, stream, "a graph",
                     [exec, &e] { return std::make_unique<GraphWork>(exec, e); });
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return api("cudaGraphDestroy", [&](Engine& e, Lock&) {
    return e.graphs.erase(graph) != 0 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return api("cudaGraphExecDestroy", [&](Engine& e, Lock&) {
    return e.execs.erase(exec) != 0 ? cudaSuccess : cudaErrorInvalidValue;
  });
}

}  // extern "C"
