// SPDX-License-Identifier: Apache-2.0
// cuDNN's graph API: its descriptors as values, and the search for an engine that runs a graph.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <cudnn_graph.h>

namespace dlt::cuda {

/// A backend descriptor: attributes are set, then it is finalized and stays as it is.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor& operator=(Descriptor&&) = delete;

  [[nodiscard]] cudnnBackendDescriptor_t get() const { return handle_; }
  template <typename T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
           std::span<const T> values) {
    set(name, type, static_cast<std::int64_t>(values.size()), values.data());
  }
  template <typename T>
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, const T& value) {
    set(name, type, 1, &value);
  }
  void set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, value.get());
  }
  void finalize();
  /// False if the library cannot serve what was set.
  [[nodiscard]] bool try_finalize();

 private:
  void set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, std::int64_t count,
           const void* values);
  cudnnBackendDescriptor_t handle_ = nullptr;
};

/// A tensor that the runs of a graph bind to memory.
struct GraphTensor {
  std::int64_t id = 0;
  cudnnDataType_t type = CUDNN_DATA_FLOAT;
  std::span<const std::int64_t> sizes, strides;
};
/// Finalized. Its memory is aligned to 16 bytes.
[[nodiscard]] Descriptor make_tensor(const GraphTensor& tensor);

/// What an engine may do to the numbers. None of those taken depends on the order of threads.
struct EngineRules {
  bool tensor_cores = false;  // for f32 tensors that means tf32
  std::int64_t max_workspace_bytes = 0;
};

struct Binding {
  std::int64_t id;
  const void* data;
};

/// A graph of operations with the engine that runs it.
class GraphPlan {
 public:
  /// The first engine of the library's heuristic, then of its list of fallbacks, that keeps the
  /// rules and can be built; null if there is none. `parts` are all descriptors of the graph,
  /// `operation` the number of its one operation among them.
  [[nodiscard]] static std::unique_ptr<const GraphPlan> find(cudnnHandle_t handle,
                                                             std::vector<Descriptor> parts,
                                                             std::size_t operation,
                                                             const EngineRules& rules);

  [[nodiscard]] std::int64_t workspace_bytes() const { return workspace_bytes_; }
  /// Puts it into the handle's stream.
  void run(cudnnHandle_t handle, std::span<const Binding> bindings, std::byte* workspace) const;

 private:
  GraphPlan(std::vector<Descriptor> parts, Descriptor plan, std::int64_t workspace_bytes)
      : parts_(std::move(parts)), plan_(std::move(plan)), workspace_bytes_(workspace_bytes) {}
  std::vector<Descriptor> parts_;
  Descriptor plan_;
  std::int64_t workspace_bytes_;
};

}  // namespace dlt::cuda
