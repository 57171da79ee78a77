// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cudnn_graph.h"

#include <algorithm>
#include <array>
#include <optional>

#include "backend/cuda/library_check.h"

namespace dlt::cuda {
namespace {

bool is_unsupported(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED ||
         CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_BAD_PARAM ||
         status == CUDNN_STATUS_INTERNAL_ERROR_COMPILATION_FAILED;
}

bool keeps_rules(std::span<const cudnnBackendNumericalNote_t> notes, const EngineRules& rules) {
  return std::none_of(notes.begin(), notes.end(), [&](cudnnBackendNumericalNote_t note) {
    return note == CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC ||
           note == CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS ||
           note == CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION ||
           note == CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13 ||
           (note == CUDNN_NUMERICAL_NOTE_TENSOR_CORE && !rules.tensor_cores);
  });
}

bool keeps_rules(const Descriptor& config, const EngineRules& rules) {
  const Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t handle = engine.get();
  std::int64_t count = 0;
  DLT_CUDNN(cudnnBackendGetAttribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &handle));
  std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes{};
  DLT_CUDNN(cudnnBackendGetAttribute(
      engine.get(), CUDNN_ATTR_ENGINE_NUMERICAL_NOTE, CUDNN_TYPE_NUMERICAL_NOTE,
      static_cast<std::int64_t>(notes.size()), &count, notes.data()));
  return keeps_rules(std::span(notes).first(static_cast<std::size_t>(count)), rules);
}

/// What the library proposes, the best first.
std::vector<Descriptor> proposals(const Descriptor& graph, cudnnBackendHeurMode_t mode) {
  Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristic.set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, mode);
  if (!heuristic.try_finalize()) return {};
  std::int64_t count = 0;
  DLT_CUDNN(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr));
  std::vector<Descriptor> configs;
  std::vector<cudnnBackendDescriptor_t> handles;
  for (std::int64_t i = 0; i < count; ++i) {
    configs.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR);
    handles.push_back(configs.back().get());
  }
  std::int64_t got = 0;
  DLT_CUDNN(cudnnBackendGetAttribute(heuristic.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                     CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &got, handles.data()));
  while (static_cast<std::int64_t>(configs.size()) > got) configs.pop_back();
  return configs;
}

std::int64_t workspace_of(const Descriptor& plan) {
  std::int64_t bytes = 0, count = 0;
  DLT_CUDNN(cudnnBackendGetAttribute(plan.get(), CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                     CUDNN_TYPE_INT64, 1, &count, &bytes));
  return bytes;
}

}  // namespace

Descriptor::Descriptor(cudnnBackendDescriptorType_t type) {
  DLT_CUDNN(cudnnBackendCreateDescriptor(type, &handle_));
}

Descriptor::~Descriptor() {
  if (handle_ != nullptr) (void)cudnnBackendDestroyDescriptor(handle_);
}

void Descriptor::set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     std::int64_t count, const void* values) {
  DLT_CUDNN(cudnnBackendSetAttribute(handle_, name, type, count, values));
}

void Descriptor::finalize() { DLT_CUDNN(cudnnBackendFinalize(handle_)); }

bool Descriptor::try_finalize() {
  const cudnnStatus_t status = cudnnBackendFinalize(handle_);
  if (is_unsupported(status)) return false;
  check(status, "cudnnBackendFinalize(handle_)");
  return true;
}

Descriptor make_tensor(const GraphTensor& tensor) {
  constexpr std::int64_t kAlignment_bytes = 16;
  Descriptor result(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  result.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, tensor.id);
  result.set(CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, tensor.type);
  result.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, kAlignment_bytes);
  result.set(CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, tensor.sizes);
  result.set(CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, tensor.strides);
  result.finalize();
  return result;
}

std::unique_ptr<const GraphPlan> GraphPlan::find(cudnnHandle_t handle,
                                                 std::vector<Descriptor> parts,
                                                 std::size_t operation, const EngineRules& rules) {
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, handle);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, parts[operation]);
  if (!graph.try_finalize()) return nullptr;
  for (const auto mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (Descriptor& config : proposals(graph, mode)) {
      if (!keeps_rules(config, rules)) continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, handle);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
      if (!plan.try_finalize()) continue;
      const std::int64_t bytes = workspace_of(plan);
      if (bytes > rules.max_workspace_bytes) continue;
      parts.push_back(std::move(graph));
      parts.push_back(std::move(config));
      return std::unique_ptr<const GraphPlan>(
          new GraphPlan(std::move(parts), std::move(plan), bytes));
    }
  }
  return nullptr;
}

void GraphPlan::run(cudnnHandle_t handle, std::span<const Binding> bindings,
                    std::byte* workspace) const {
  std::vector<std::int64_t> ids;
  std::vector<const void*> pointers;
  for (const Binding& binding : bindings) {
    ids.push_back(binding.id);
    pointers.push_back(binding.data);
  }
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64,
           std::span<const std::int64_t>(ids));
  pack.set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR,
           std::span<const void* const>(pointers));
  pack.set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, workspace);
  pack.finalize();
  DLT_CUDNN(cudnnBackendExecute(handle, plan_.get(), pack.get()));
}

}  // namespace dlt::cuda
