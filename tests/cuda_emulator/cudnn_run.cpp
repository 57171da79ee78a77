// SPDX-License-Identifier: Apache-2.0
// libcudnn: which graphs can run, and the runs. A graph is operations in the order given, each
// after those whose virtual results it reads: convolutions, products, pointwise operations.
#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <set>
#include <string>

#include "cuda_emulator/arithmetic.h"
#include "cuda_emulator/cudnn_tensor.h"
#include "cuda_emulator/engine.h"
#include "cuda_emulator/report.h"

namespace dlt::emulator {
namespace {

cudaDataType to_cuda(cudnnDataType_t type) {
  if (type == CUDNN_DATA_FLOAT) return CUDA_R_32F;
  return type == CUDNN_DATA_BFLOAT16 ? CUDA_R_16BF : CUDA_R_16F;
}

/// visit(index in order, offset in memory) of every element.
template <typename Visit>
void for_each_element(const CudnnTensor& t, const Visit& visit) {
  const std::int64_t count = t.numel();
  for (std::int64_t i = 0; i < count; ++i) {
    std::int64_t rest = i, offset = 0;
    for (std::size_t d = t.sizes.size(); d-- > 0;) {
      offset += rest % t.sizes[d] * t.strides[d];
      rest /= t.sizes[d];
    }
    visit(static_cast<std::size_t>(i), offset);
  }
}

bool is_convolution(const CudnnDescriptor& operation) {
  return operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR ||
         operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR ||
         operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR;
}

bool is_product(const CudnnDescriptor& operation) {
  return operation.type == CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR;
}

cudnnPointwiseMode_t mode_of(const CudnnDescriptor& operation) {
  return operation.child(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR)
      ->get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
}

bool takes_two(cudnnPointwiseMode_t mode) {
  return mode == CUDNN_POINTWISE_ADD || mode == CUDNN_POINTWISE_MUL ||
         mode == CUDNN_POINTWISE_SUB || mode == CUDNN_POINTWISE_MAX || mode == CUDNN_POINTWISE_MIN;
}

bool takes_one(cudnnPointwiseMode_t mode) {
  return mode == CUDNN_POINTWISE_IDENTITY || mode == CUDNN_POINTWISE_RELU_FWD ||
         mode == CUDNN_POINTWISE_TANH_FWD || mode == CUDNN_POINTWISE_SIGMOID_FWD ||
         mode == CUDNN_POINTWISE_GELU_FWD || mode == CUDNN_POINTWISE_GELU_APPROX_TANH_FWD ||
         mode == CUDNN_POINTWISE_EXP || mode == CUDNN_POINTWISE_NEG;
}

float apply(const CudnnDescriptor& operation, float x, float b) {
  const CudnnDescriptor& how = *operation.child(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
  switch (mode_of(operation)) {
    case CUDNN_POINTWISE_ADD:
      return x + b;
    case CUDNN_POINTWISE_SUB:
      return x - b;
    case CUDNN_POINTWISE_MUL:
      return x * b;
    case CUDNN_POINTWISE_MAX:
      return std::max(x, b);
    case CUDNN_POINTWISE_MIN:
      return std::min(x, b);
    case CUDNN_POINTWISE_RELU_FWD: {
      const float lower = how.get_factor(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP, 0.0f);
      const float upper = how.get_factor(CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP, INFINITY);
      const float slope = how.get_factor(CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE, 0.0f);
      return x < lower ? lower + slope * (x - lower) : std::min(x, upper);
    }
    case CUDNN_POINTWISE_TANH_FWD:
      return std::tanh(x);
    case CUDNN_POINTWISE_SIGMOID_FWD:
      return 1.0f / (1.0f + std::exp(-x));
    case CUDNN_POINTWISE_GELU_FWD:
      return 0.5f * x * (1.0f + std::erf(x * 0.70710678f));
    case CUDNN_POINTWISE_GELU_APPROX_TANH_FWD:
      return gelu_tanh(x);
    case CUDNN_POINTWISE_EXP:
      return std::exp(x);
    case CUDNN_POINTWISE_NEG:
      return -x;
    default:
      return x;
  }
}

/// Where an element of one shape finds its partner in a shape whose sizes are equal or 1.
std::int64_t broadcast_index(const CudnnTensor& to, const CudnnTensor& from, std::size_t index) {
  auto rest = static_cast<std::int64_t>(index);
  std::int64_t at = 0, step = 1;
  for (std::size_t d = to.sizes.size(); d-- > 0;) {
    if (from.sizes[d] != 1) at += rest % to.sizes[d] * step;
    rest /= to.sizes[d];
    step *= from.sizes[d];
  }
  return at;
}

void run_pointwise(const CudnnDescriptor& operation, CudnnMemory& memory) {
  const CudnnTensor x(*operation.child(CUDNN_ATTR_OPERATION_POINTWISE_XDESC));
  const CudnnTensor y(*operation.child(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
  const float alpha1 = operation.get_factor(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, 1.0f);
  const float alpha2 = operation.get_factor(CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, 1.0f);
  const std::vector<float> from = memory.read(x);
  std::vector<float> out(static_cast<std::size_t>(y.numel()));
  const CudnnDescriptor* second = operation.child(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
  const CudnnTensor b(second == nullptr ? *operation.child(CUDNN_ATTR_OPERATION_POINTWISE_XDESC)
                                        : *second);
  const std::vector<float> other = second == nullptr ? std::vector<float>() : memory.read(b);
  for (std::size_t i = 0; i < out.size(); ++i) {
    const float left = alpha1 * from[static_cast<std::size_t>(broadcast_index(y, x, i))];
    const float right =
        other.empty() ? 0.0f : alpha2 * other[static_cast<std::size_t>(broadcast_index(y, b, i))];
    out[i] = apply(operation, left, right);
  }
  memory.write(y, std::move(out));
}

/// A batch of products; an operand of one batch serves all.
void run_matmul(const CudnnDescriptor& operation, CudnnMemory& memory) {
  const CudnnTensor a(*operation.child(CUDNN_ATTR_OPERATION_MATMUL_ADESC));
  const CudnnTensor b(*operation.child(CUDNN_ATTR_OPERATION_MATMUL_BDESC));
  const CudnnTensor c(*operation.child(CUDNN_ATTR_OPERATION_MATMUL_CDESC));
  const std::size_t rank = c.sizes.size();
  const std::int64_t m = c.sizes[rank - 2], n = c.sizes[rank - 1], k = a.sizes[rank - 1];
  const std::vector<float> left = memory.read_operand(a), right = memory.read_operand(b);
  std::vector<float> out(static_cast<std::size_t>(c.numel()));
  for (std::int64_t batch = 0; batch < c.numel() / (m * n); ++batch) {
    const auto first = static_cast<std::size_t>(batch * m * n);
    multiply({m, n, k}, left.data() + broadcast_index(c, a, first),
             right.data() + broadcast_index(c, b, first), out.data() + first);
  }
  memory.write(c, std::move(out));
}

cudnnStatus_t check_pointwise(const CudnnDescriptor& operation) {
  const cudnnPointwiseMode_t mode = mode_of(operation);
  const CudnnDescriptor* x = operation.child(CUDNN_ATTR_OPERATION_POINTWISE_XDESC);
  const CudnnDescriptor* b = operation.child(CUDNN_ATTR_OPERATION_POINTWISE_BDESC);
  const CudnnDescriptor* y = operation.child(CUDNN_ATTR_OPERATION_POINTWISE_YDESC);
  if (!takes_one(mode) && !takes_two(mode)) return CUDNN_STATUS_NOT_SUPPORTED;
  if (x == nullptr || y == nullptr || (b != nullptr) != takes_two(mode))
    return CUDNN_STATUS_BAD_PARAM;
  const CudnnTensor to(*y);
  for (const CudnnDescriptor* from : {x, b}) {
    if (from == nullptr) continue;
    const CudnnTensor tensor(*from);
    if (tensor.sizes.size() != to.sizes.size()) return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
    for (std::size_t d = 0; d < to.sizes.size(); ++d) {
      if (tensor.sizes[d] != to.sizes[d] && tensor.sizes[d] != 1)
        return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
    }
  }
  return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t check_matmul(const CudnnDescriptor& operation) {
  const CudnnTensor a(*operation.child(CUDNN_ATTR_OPERATION_MATMUL_ADESC));
  const CudnnTensor b(*operation.child(CUDNN_ATTR_OPERATION_MATMUL_BDESC));
  const CudnnTensor c(*operation.child(CUDNN_ATTR_OPERATION_MATMUL_CDESC));
  const std::size_t rank = c.sizes.size();
  if (rank < 3 || a.sizes.size() != rank || b.sizes.size() != rank)
    return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
  const bool fits = a.sizes[rank - 2] == c.sizes[rank - 2] &&
                    b.sizes[rank - 1] == c.sizes[rank - 1] &&
                    a.sizes[rank - 1] == b.sizes[rank - 2];
  return fits ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
}

struct Run {
  std::shared_ptr<const CudnnDescriptor> graph;
  CudnnMemory memory;
  int engine = 0;
  void* workspace = nullptr;
  std::size_t workspace_bytes = 0;
};

std::vector<std::shared_ptr<const CudnnDescriptor>> operations_of(const CudnnDescriptor& graph) {
  return graph.values.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).descriptors;
}

/// Another last bit: what sums in another order do.
void shake(std::vector<float>& values, std::mt19937_64& random) {
  for (float& value : values) {
    if (value != 0.0f && random() % 2 == 0)
      value = std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) ^ 1u);
  }
}

void execute(const Run& run, std::mt19937_64& random) {
  if (run.workspace_bytes != 0) std::memset(run.workspace, 0xee, run.workspace_bytes);
  CudnnMemory memory = run.memory;
  memory.tf32 = run.engine != kPlain;
  for (const auto& operation : operations_of(*run.graph)) {
    run_operation(*operation, memory);
    const CudnnTensor to = tensors_of(*operation).back();
    if (run.engine == kNondeterministic && !to.is_virtual && to.type == CUDA_R_32F) {
      std::vector<float> values = memory.read(to);
      shake(values, random);
      memory.write(to, std::move(values));
    }
  }
}

/// Fills in the memory of a run; ends the process if a pointer leads nowhere.
cudnnStatus_t bind(const Engine& e, int device, const CudnnDescriptor& pack, Run& run) {
  const auto ids = pack.get_all<std::int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
  const auto pointers = pack.get_all<void*>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS);
  for (std::size_t i = 0; i < ids.size(); ++i) run.memory.bound[ids[i]] = pointers[i];
  for (const auto& operation : operations_of(*run.graph)) {
    for (const CudnnTensor& tensor : tensors_of(*operation)) {
      if (tensor.is_virtual) continue;
      const auto at = run.memory.bound.find(tensor.id);
      if (at == run.memory.bound.end()) return CUDNN_STATUS_BAD_PARAM;
      if (reinterpret_cast<std::uintptr_t>(at->second) %
              static_cast<std::uintptr_t>(tensor.alignment) !=
          0) {
        return CUDNN_STATUS_BAD_PARAM_MISALIGNED_POINTER;
      }
      const std::size_t bytes = static_cast<std::size_t>(tensor.extent()) * size_of(tensor.type);
      if (!e.is_device_memory(device, at->second, bytes)) {
        fail("cudnnBackendExecute: tensor " + std::to_string(tensor.id) + ": not " +
             std::to_string(bytes) + " bytes of the device's memory");
      }
    }
  }
  run.workspace = pack.get<void*>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
  if (run.workspace_bytes != 0 && !e.is_device_memory(device, run.workspace, run.workspace_bytes)) {
    fail("cudnnBackendExecute: workspace: not " + std::to_string(run.workspace_bytes) +
         " bytes of the device's memory");
  }
  return CUDNN_STATUS_SUCCESS;
}

}  // namespace

CudnnTensor::CudnnTensor(const CudnnDescriptor& d)
    : id(d.get<std::int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
      type(to_cuda(d.get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE))),
      alignment(d.get<std::int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
      is_virtual(d.get<bool>(CUDNN_ATTR_TENSOR_IS_VIRTUAL)),
      sizes(d.get_all<std::int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)),
      strides(d.get_all<std::int64_t>(CUDNN_ATTR_TENSOR_STRIDES)) {}

std::int64_t CudnnTensor::numel() const {
  return std::accumulate(sizes.begin(), sizes.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t CudnnTensor::extent() const {
  std::int64_t last = 0;
  for (std::size_t d = 0; d < sizes.size(); ++d) last += (sizes[d] - 1) * strides[d];
  return last + 1;
}

std::vector<float> CudnnTensor::read(const void* data) const {
  std::vector<float> values(static_cast<std::size_t>(numel()));
  for_each_element(*this,
                   [&](std::size_t i, std::int64_t at) { values[i] = load(data, type, at); });
  return values;
}

void CudnnTensor::write(void* data, const std::vector<float>& values) const {
  for_each_element(*this,
                   [&](std::size_t i, std::int64_t at) { store(data, type, at, values[i]); });
}

std::vector<float> CudnnTensor::rounded(std::vector<float> values) const {
  for (float& value : values) {
    float kept = 0.0f;
    store(&kept, type, 0, value);
    value = load(&kept, type, 0);
  }
  return values;
}

std::vector<float> CudnnMemory::read(const CudnnTensor& tensor) const {
  return tensor.is_virtual ? computed.at(tensor.id) : tensor.read(bound.at(tensor.id));
}

std::vector<float> CudnnMemory::read_operand(const CudnnTensor& tensor) const {
  std::vector<float> values = read(tensor);
  if (tf32 && tensor.type == CUDA_R_32F)
    std::transform(values.begin(), values.end(), values.begin(), round_to_tf32);
  return values;
}

void CudnnMemory::write(const CudnnTensor& tensor, std::vector<float> values) {
  if (tensor.is_virtual) {
    computed[tensor.id] = tensor.rounded(std::move(values));
  } else {
    tensor.write(bound.at(tensor.id), values);
  }
}

std::vector<CudnnTensor> tensors_of(const CudnnDescriptor& operation) {
  std::vector<cudnnBackendAttributeName_t> names;
  switch (operation.type) {
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR:
      names = {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
               CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y};
      break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR:
      names = {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX};
      break;
    case CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR:
      names = {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
               CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW};
      break;
    case CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR:
      names = {CUDNN_ATTR_OPERATION_MATMUL_ADESC, CUDNN_ATTR_OPERATION_MATMUL_BDESC,
               CUDNN_ATTR_OPERATION_MATMUL_CDESC};
      break;
    default:
      names = {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
               CUDNN_ATTR_OPERATION_POINTWISE_YDESC};
  }
  std::vector<CudnnTensor> tensors;
  for (const auto name : names) {
    if (const CudnnDescriptor* tensor = operation.child(name)) tensors.emplace_back(*tensor);
  }
  return tensors;
}

cudnnStatus_t check_operation(const CudnnDescriptor& operation) {
  if (is_convolution(operation)) return check_convolution(operation);
  return is_product(operation) ? check_matmul(operation) : check_pointwise(operation);
}

void run_operation(const CudnnDescriptor& operation, CudnnMemory& memory) {
  if (is_convolution(operation)) {
    run_convolution(operation, memory);
  } else if (is_product(operation)) {
    run_matmul(operation, memory);
  } else {
    run_pointwise(operation, memory);
  }
}

cudnnStatus_t check_cudnn_graph(const CudnnDescriptor& graph) {
  std::set<std::int64_t> computed;
  int num_products = 0;
  for (const auto& operation : operations_of(graph)) {
    if (const cudnnStatus_t status = check_operation(*operation); status != CUDNN_STATUS_SUCCESS)
      return status;
    num_products += is_convolution(*operation) || is_product(*operation) ? 1 : 0;
    const std::vector<CudnnTensor> tensors = tensors_of(*operation);
    for (std::size_t t = 0; t + 1 < tensors.size(); ++t) {
      if (tensors[t].is_virtual && computed.count(tensors[t].id) == 0)
        return CUDNN_STATUS_BAD_PARAM;
    }
    computed.insert(tensors.back().id);
  }
  return num_products <= 1 ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_NOT_SUPPORTED_GRAPH_PATTERN;
}

}  // namespace dlt::emulator

using namespace dlt::emulator;

extern "C" cudnnStatus_t cudnnBackendExecute(cudnnHandle_t handle,
                                             cudnnBackendDescriptor_t plan_handle,
                                             cudnnBackendDescriptor_t pack_handle) {
  if (handle == nullptr || plan_handle == nullptr || pack_handle == nullptr) {
    return CUDNN_STATUS_BAD_PARAM_NULL_POINTER;
  }
  const CudnnDescriptor& plan = *static_cast<CudnnReference*>(plan_handle)->target;
  const CudnnDescriptor& pack = *static_cast<CudnnReference*>(pack_handle)->target;
  if (!plan.is_final || !pack.is_final) return CUDNN_STATUS_BAD_PARAM_NOT_FINALIZED;
  if (plan.type != CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR ||
      pack.type != CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR) {
    return CUDNN_STATUS_BAD_PARAM_DESCRIPTOR_TYPE;
  }
  Engine& e = engine();
  Lock lock(e.mutex);
  if (const int failure = e.take_failure("cudnnBackendExecute"))
    return static_cast<cudnnStatus_t>(failure);
  CUstream_st* stream = e.find(handle->stream);
  if (stream == nullptr || stream->device != handle->device)
    return CUDNN_STATUS_BAD_PARAM_STREAM_MISMATCH;
  Run run;
  run.engine = plan.engine;
  run.workspace_bytes = cudnn_workspace_bytes(plan);
  const CudnnDescriptor* config = plan.child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG);
  run.graph = config->child(CUDNN_ATTR_ENGINECFG_ENGINE)
                  ->values.at(CUDNN_ATTR_ENGINE_OPERATION_GRAPH)
                  .descriptors.front();
  if (const cudnnStatus_t status = bind(e, stream->device, pack, run);
      status != CUDNN_STATUS_SUCCESS)
    return status;
  const cudaError_t error =
      e.enqueue(lock, stream, "cudnnBackendExecute",
                call_work("cudnnBackendExecute", [&e, run] { execute(run, e.random); }));
  return error == cudaSuccess ? CUDNN_STATUS_SUCCESS : CUDNN_STATUS_EXECUTION_FAILED_CUDART;
}
