// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <vector>

#include <cudnn_graph.h>

namespace dlt::emulator {

/// What stands behind a cudnnBackendDescriptor_t. Attributes are checked against the table of their
/// descriptor's type; those that name other descriptors hold them.
struct CudnnDescriptor {
  struct Value {
    cudnnBackendAttributeType_t type{};
    std::int64_t count = 0;
    std::vector<std::byte> bytes;
    std::vector<std::shared_ptr<const CudnnDescriptor>> descriptors;
  };

  cudnnBackendDescriptorType_t type{};
  bool is_final = false;
  std::map<cudnnBackendAttributeName_t, Value> values;
  int engine = 0;  // of engines and what comes from them: which of the three

  [[nodiscard]] bool has(cudnnBackendAttributeName_t name) const { return values.count(name) != 0; }
  /// One value; zero where it was not set.
  template <typename T>
  [[nodiscard]] T get(cudnnBackendAttributeName_t name) const {
    T value{};
    const auto at = values.find(name);
    if (at != values.end()) std::memcpy(&value, at->second.bytes.data(), sizeof value);
    return value;
  }
  /// A factor that is a float or a double.
  [[nodiscard]] float get_factor(cudnnBackendAttributeName_t name, float missing) const;
  template <typename T>
  [[nodiscard]] std::vector<T> get_all(cudnnBackendAttributeName_t name) const {
    std::vector<T> out;
    const auto at = values.find(name);
    if (at == values.end()) return out;
    out.resize(static_cast<std::size_t>(at->second.count));
    std::memcpy(out.data(), at->second.bytes.data(), out.size() * sizeof(T));
    return out;
  }
  /// The descriptor it names, or null.
  [[nodiscard]] const CudnnDescriptor* child(cudnnBackendAttributeName_t name) const {
    const auto at = values.find(name);
    return at == values.end() ? nullptr : at->second.descriptors.front().get();
  }
};

/// A handle to one: what the C functions give out.
struct CudnnReference {
  std::shared_ptr<CudnnDescriptor> target;
};

/// Engines, of which the heuristic's mode A proposes all, FALLBACK the last. The first adds in
/// another order each time (NONDETERMINISTIC: its last bits differ), the second uses tensor cores
/// (f32 operands are rounded to TF32), the third neither.
enum Engine3 : int { kNondeterministic = 0, kTensorCore = 1, kPlain = 2 };
[[nodiscard]] std::size_t cudnn_workspace_bytes(const CudnnDescriptor& plan);

/// Whether the graph of these operations can run: what cudnnBackendFinalize of the graph answers.
[[nodiscard]] cudnnStatus_t check_cudnn_graph(const CudnnDescriptor& graph);

}  // namespace dlt::emulator

struct cudnnContext {
  int device = 0;
  cudaStream_t stream = nullptr;
};
