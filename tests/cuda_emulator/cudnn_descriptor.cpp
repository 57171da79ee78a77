// SPDX-License-Identifier: Apache-2.0
// libcudnn: the descriptors of the graph API.
#include "cuda_emulator/cudnn_descriptor.h"

#include <algorithm>
#include <span>

#include "cuda_emulator/engine.h"

namespace dlt::emulator {
namespace {

struct Rule {
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  std::int64_t most;
  bool is_needed;
};
using Rules = std::vector<Rule>;

Rules conv_rules(int first_of_direction, cudnnBackendAttributeName_t movement,
                 std::vector<cudnnBackendAttributeName_t> tensors) {
  const auto alpha = static_cast<cudnnBackendAttributeName_t>(first_of_direction);
  const auto beta = static_cast<cudnnBackendAttributeName_t>(first_of_direction + 1);
  Rules rules{{alpha, CUDNN_TYPE_FLOAT, 1, false},
              {beta, CUDNN_TYPE_FLOAT, 1, false},
              {movement, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true}};
  for (const auto tensor : tensors)
    rules.push_back({tensor, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true});
  return rules;
}

Rules operation_rules(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      return conv_rules(
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
          {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X, CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
           CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y});
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      return conv_rules(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
                        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY});
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      return conv_rules(CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
                        CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
                        {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
                         CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY});
    case CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR:
      return {
          {CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
          {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, false},
          {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, false},
          {CUDNN_ATTR_OPERATION_POINTWISE_YDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, false},
          {CUDNN_ATTR_OPERATION_POINTWISE_DXDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, false},
          {CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, false},
          {CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, CUDNN_TYPE_FLOAT, 1, false},
          {CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, CUDNN_TYPE_FLOAT, 1, false}};
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      return {{CUDNN_ATTR_OPERATION_MATMUL_ADESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
              {CUDNN_ATTR_OPERATION_MATMUL_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
              {CUDNN_ATTR_OPERATION_MATMUL_CDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
              {CUDNN_ATTR_OPERATION_MATMUL_DESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true}};
    default:
      return {};
  }
}

/// Empty for a type that is not emulated.
Rules rules_of(cudnnBackendDescriptorType_t type) {
  switch (type) {
    case CUDNN_BACKEND_TENSOR_DESCRIPTOR:
      return {{CUDNN_ATTR_TENSOR_UNIQUE_ID, CUDNN_TYPE_INT64, 1, true},
              {CUDNN_ATTR_TENSOR_DATA_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true},
              {CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, CUDNN_TYPE_INT64, 1, true},
              {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 8, true},
              {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 8, true},
              {CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, false}};
    case CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR:
      return {{CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true},
              {CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, true},
              {CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, 1, true},
              {CUDNN_ATTR_CONVOLUTION_DILATIONS, CUDNN_TYPE_INT64, 3, true},
              {CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, CUDNN_TYPE_INT64, 3, true},
              {CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, CUDNN_TYPE_INT64, 3, true},
              {CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, CUDNN_TYPE_INT64, 3, true}};
    case CUDNN_BACKEND_POINTWISE_DESCRIPTOR:
      return {{CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, true},
              {CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_TYPE_DATA_TYPE, 1, true},
              {CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, CUDNN_TYPE_DOUBLE, 1, false},
              {CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, CUDNN_TYPE_DOUBLE, 1, false},
              {CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, CUDNN_TYPE_DOUBLE, 1, false}};
    case CUDNN_BACKEND_MATMUL_DESCRIPTOR:
      return {{CUDNN_ATTR_MATMUL_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, 1, true}};
    case CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR:
      return {{CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, 1, false},
              {CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 50, true}};
    case CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR:
      return {{CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
              {CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, true},
              {CUDNN_ATTR_ENGINEHEUR_SM_COUNT_TARGET, CUDNN_TYPE_INT32, 1, false}};
    case CUDNN_BACKEND_ENGINE_DESCRIPTOR:
      return {{CUDNN_ATTR_ENGINE_OPERATION_GRAPH, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true},
              {CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, true}};
    case CUDNN_BACKEND_ENGINECFG_DESCRIPTOR:
      return {{CUDNN_ATTR_ENGINECFG_ENGINE, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true}};
    case CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR:
      return {{CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, 1, false},
              {CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, true}};
    case CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR:
      return {{CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, 64, true},
              {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, 64, true},
              {CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, false}};
    default:
      return operation_rules(type);
  }
}

std::size_t attribute_bytes(cudnnBackendAttributeType_t type) {
  switch (type) {
    case CUDNN_TYPE_BOOLEAN:
      return sizeof(bool);
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_DOUBLE:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
      return 8;
    default:
      return 4;
  }
}

/// Factors may be float or double.
bool is_type_of(const Rule& rule, cudnnBackendAttributeType_t type) {
  const bool is_factor = rule.type == CUDNN_TYPE_FLOAT || rule.type == CUDNN_TYPE_DOUBLE;
  return type == rule.type ||
         (is_factor && (type == CUDNN_TYPE_FLOAT || type == CUDNN_TYPE_DOUBLE));
}

CudnnDescriptor* target_of(cudnnBackendDescriptor_t handle) {
  return handle == nullptr ? nullptr : static_cast<CudnnReference*>(handle)->target.get();
}

cudnnStatus_t set(CudnnDescriptor& to, const Rule& rule, cudnnBackendAttributeType_t type,
                  std::int64_t count, const void* elements) {
  if (!is_type_of(rule, type)) return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
  if (count < 1 || count > rule.most) return CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND;
  CudnnDescriptor::Value value{type, count, {}, {}};
  const auto* bytes = static_cast<const std::byte*>(elements);
  value.bytes.assign(bytes, bytes + static_cast<std::size_t>(count) * attribute_bytes(type));
  if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR) {
    for (std::int64_t i = 0; i < count; ++i) {
      auto* reference = static_cast<CudnnReference* const*>(elements)[i];
      if (reference == nullptr) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
      if (!reference->target->is_final) return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
      value.descriptors.push_back(reference->target);
    }
  }
  to.values[rule.name] = std::move(value);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_tensor(const CudnnDescriptor& tensor) {
  const auto sizes = tensor.get_all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS);
  const auto strides = tensor.get_all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES);
  if (sizes.size() != strides.size()) return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
  const auto is_positive = [](std::int64_t n) { return n > 0; };
  if (!std::all_of(sizes.begin(), sizes.end(), is_positive))
    return CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND;
  const auto type = tensor.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE);
  const bool is_known =
      type == CUDNN_DATA_FLOAT || type == CUDNN_DATA_HALF || type == CUDNN_DATA_BFLOAT16;
  return is_known ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED_DATA_TYPE;
}

cudnnStatus_t finalize(CudnnDescriptor& d) {
  if (d.is_final) return CUDNN_STATUS_BAD_PARAM;
  for (const Rule& rule : rules_of(d.type)) {
    if (rule.is_needed && !d.has(rule.name)) return CUDNN_STATUS_BAD_PARAM;
  }
  cudnnStatus_t status = CUDNN_STATUS_SUCCESS;
  if (d.type == CUDNN_BACKEND_TENSOR_DESCRIPTOR) status = check_tensor(d);
  if (d.type == CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR) {
    if (!d.has(CUDNN_ATTR_OPERATIONGRAPH_HANDLE)) return CUDNN_STATUS_BAD_PARAM;
    status = check_cudnn_graph(d);
  }
  if (d.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
    const auto index = d.get<std::int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX);
    if (index < kNondeterministic || index > kPlain) return CUDNN_STATUS_BAD_PARAM_OUT_OF_BOUND;
    d.engine = static_cast<int>(index);
  }
  if (d.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR)
    d.engine = d.child(CUDNN_ATTR_ENGINECFG_ENGINE)->engine;
  if (d.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR) {
    d.engine = d.child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->engine;
  }
  if (d.type == CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR &&
      d.values.at(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).count !=
          d.values.at(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).count) {
    return CUDNN_STATUS_BAD_PARAM;
  }
  d.is_final = status == CUDNN_STATUS_SUCCESS;
  return status;
}

/// An engine of a graph with its configuration, finalized.
void fill_config(CudnnDescriptor& config, const std::shared_ptr<const CudnnDescriptor>& graph,
                 int engine) {
  auto made = std::make_shared<CudnnDescriptor>();
  made->type = CUDNN_BACKEND_ENGINE_DESCRIPTOR;
  made->engine = engine;
  made->is_final = true;
  made->values[CUDNN_ATTR_ENGINE_OPERATION_GRAPH] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, {}, {graph}};
  config.values[CUDNN_ATTR_ENGINECFG_ENGINE] = {CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, {}, {made}};
  config.engine = engine;
  config.is_final = true;
}

std::vector<int> proposals(const CudnnDescriptor& heuristic) {
  const auto mode = heuristic.get<cudnnBackendHeurMode_t>(CUDNN_ATTR_ENGINEHEUR_MODE);
  if (mode == CUDNN_HEUR_MODE_FALLBACK) return {kPlain};
  return {kNondeterministic, kTensorCore, kPlain};
}

template <typename T>
void give(const std::vector<T>& found, std::int64_t room, std::int64_t* count, void* elements) {
  if (room == 0 || elements == nullptr) {
    if (count != nullptr) *count = static_cast<std::int64_t>(found.size());
    return;
  }
  const auto given = std::min(room, static_cast<std::int64_t>(found.size()));
  std::copy_n(found.begin(), given, static_cast<T*>(elements));
  if (count != nullptr) *count = given;
}

/// Whether the engine's operands are rounded to TF32: only then are f32 ones work of tensor cores.
std::vector<cudnnBackendNumericalNote_t> notes_of(int engine) {
  if (engine == kNondeterministic) {
    return {CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC, CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
  }
  if (engine == kTensorCore) return {CUDNN_NUMERICAL_NOTE_TENSOR_CORE};
  return {};
}

struct Request {
  cudnnBackendAttributeName_t name;
  cudnnBackendAttributeType_t type;
  std::int64_t room;
  std::int64_t* count;
  void* elements;
};

/// The descriptors the caller made are pointed to what was found.
cudnnStatus_t get_descriptors(const CudnnDescriptor& from, const Request& request) {
  auto* const* into = static_cast<CudnnReference* const*>(request.elements);
  if (from.type == CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR &&
      request.name == CUDNN_ATTR_ENGINEHEUR_RESULTS) {
    const std::vector<int> found = proposals(from);
    const auto all = static_cast<std::int64_t>(found.size());
    const std::int64_t given =
        request.room == 0 || into == nullptr ? 0 : std::min(request.room, all);
    const auto& graph = from.values.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH).descriptors.front();
    for (std::int64_t i = 0; i < given; ++i) {
      if (into[i]->target->type != CUDNN_BACKEND_ENGINECFG_DESCRIPTOR) {
        return CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE;
      }
      fill_config(*into[i]->target, graph, found[static_cast<std::size_t>(i)]);
    }
    if (request.count != nullptr) *request.count = given == 0 ? all : given;
    return CUDNN_STATUS_SUCCESS;
  }
  const CudnnDescriptor* child = from.child(request.name);
  if (child == nullptr || into == nullptr) return CUDNN_STATUS_NOT_SUPPORTED;
  if (into[0]->target->type != child->type) return CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE;
  *into[0]->target = *child;
  if (request.count != nullptr) *request.count = 1;
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t get(const CudnnDescriptor& from, const Request& request) {
  if (!from.is_final) return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
  if (request.type == CUDNN_TYPE_BACKEND_DESCRIPTOR) return get_descriptors(from, request);
  const auto answer = [&](const auto& found, cudnnBackendAttributeType_t type) {
    if (type != request.type) return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
    give(found, request.room, request.count, request.elements);
    return CUDNN_STATUS_SUCCESS;
  };
  if (from.type == CUDNN_BACKEND_ENGINE_DESCRIPTOR) {
    if (request.name == CUDNN_ATTR_ENGINE_NUMERICAL_NOTE) {
      return answer(notes_of(from.engine), CUDNN_TYPE_NUMERICAL_NOTE);
    }
    if (request.name == CUDNN_ATTR_ENGINE_BEHAVIOR_NOTE) {
      return answer(std::vector<cudnnBackendBehaviorNote_t>{}, CUDNN_TYPE_BEHAVIOR_NOTE);
    }
    if (request.name == CUDNN_ATTR_ENGINE_GLOBAL_INDEX) {
      return answer(std::vector<std::int64_t>{from.engine}, CUDNN_TYPE_INT64);
    }
  }
  const bool is_plan = from.type == CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR &&
                       request.name == CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE;
  const bool is_config = from.type == CUDNN_BACKEND_ENGINECFG_DESCRIPTOR &&
                         request.name == CUDNN_ATTR_ENGINECFG_WORKSPACE_SIZE;
  if (is_plan || is_config) {
    const auto bytes = static_cast<std::int64_t>(cudnn_workspace_bytes(from));
    return answer(std::vector<std::int64_t>{bytes}, CUDNN_TYPE_INT64);
  }
  const auto at = from.values.find(request.name);
  if (at == from.values.end()) return CUDNN_STATUS_NOT_SUPPORTED;
  if (at->second.type != request.type) return CUDNN_STATUS_BAD_PARAM_ATTRIBUTE_TYPE;
  const std::int64_t given = std::min(request.room, at->second.count);
  std::memcpy(request.elements, at->second.bytes.data(),
              static_cast<std::size_t>(given) * attribute_bytes(request.type));
  if (request.count != nullptr) *request.count = given;
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

float CudnnDescriptor::get_factor(cudnnBackendAttributeName_t name, float missing) const {
  const auto at = values.find(name);
  if (at == values.end()) return missing;
  return at->second.type == CUDNN_TYPE_DOUBLE ? static_cast<float>(get<double>(name))
                                              : get<float>(name);
}

std::size_t cudnn_workspace_bytes(const CudnnDescriptor& plan) {
  return static_cast<std::size_t>(plan.engine) << 14;
}

}  // namespace dlt::emulator

using namespace dlt::emulator;

extern "C" {

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type,
                                           cudnnBackendDescriptor_t* made) {
  if (rules_of(type).empty()) return CUDNN_STATUS_NOT_SUPPORTED;
  auto target = std::make_shared<CudnnDescriptor>();
  target->type = type;
  *made = new CudnnReference{std::move(target)};
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t handle) {
  delete static_cast<CudnnReference*>(handle);
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t handle,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count,
                                       const void* elements) {
  CudnnDescriptor* d = target_of(handle);
  if (d == nullptr || elements == nullptr) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
  if (d->is_final) return CUDNN_STATUS_NOT_INITIALIZED;
  for (const Rule& rule : rules_of(d->type)) {
    if (rule.name == name) return set(*d, rule, type, count, elements);
  }
  return CUDNN_STATUS_NOT_SUPPORTED;
}

cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const handle,
                                       cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t room,
                                       int64_t* count, void* elements) {
  const CudnnDescriptor* d = target_of(handle);
  if (d == nullptr) return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
  return get(*d, {name, type, room, count, elements});
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t handle) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  if (const int failure = e.take_failure("cudnnBackendFinalize"))
    return static_cast<cudnnStatus_t>(failure);
  CudnnDescriptor* d = target_of(handle);
  return d == nullptr ? CUDNN_STATUS_BAD_PARAM_NULL_POINTER : finalize(*d);
}

}  // extern "C"
