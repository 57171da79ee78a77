// SPDX-License-Identifier: Apache-2.0
// libcublasLt. Stricter than it: with a row-major result only plain epilogues (none, ReLU, GELU),
// all types of one of the rows of kTypes, and pointers aligned as the preference said.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <cublasLt.h>

#include "cuda_emulator/arithmetic.h"
#include "cuda_emulator/cublaslt_call.h"
#include "cuda_emulator/engine.h"
#include "cuda_emulator/report.h"

using namespace dlt::emulator;

struct cublasLtContext {
  int device = 0;
};

namespace {

struct Preference {
  std::uint64_t max_workspace;
  std::uint32_t search_mode, reduction_mask, align_a, align_b, align_c, align_d;
};
static_assert(sizeof(Preference) <= sizeof(cublasLtMatmulPreferenceOpaque_t));

struct Algorithm {
  std::uint64_t magic;
  std::int32_t id, splits;
  std::uint64_t workspace;
  std::uint32_t align_a, align_b, align_c, align_d;
  std::uint32_t type_a, type_d, compute_type;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));
constexpr std::uint64_t kAlgorithm = 0x646c74616c676f31;
// Real algorithms read and write 16 bytes at a time if the preference lets them.
constexpr std::uint32_t kVector_bytes = 16;
constexpr std::uint64_t kWorkspace_bytes = 64 << 10;

template <typename T, typename Opaque>
T& as(Opaque* opaque) {
  return *reinterpret_cast<T*>(opaque->data);
}

template <typename T>
std::span<std::byte> bytes_of(T& field) {
  return std::as_writable_bytes(std::span(&field, 1));
}

/// The bytes of an attribute; none for one that is not emulated.
std::span<std::byte> field(Layout& l, cublasLtMatrixLayoutAttribute_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATRIX_LAYOUT_TYPE:
      return bytes_of(l.type);
    case CUBLASLT_MATRIX_LAYOUT_ORDER:
      return bytes_of(l.order);
    case CUBLASLT_MATRIX_LAYOUT_ROWS:
      return bytes_of(l.rows);
    case CUBLASLT_MATRIX_LAYOUT_COLS:
      return bytes_of(l.columns);
    case CUBLASLT_MATRIX_LAYOUT_LD:
      return bytes_of(l.ld);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT:
      return bytes_of(l.num_batches);
    case CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET:
      return bytes_of(l.batch_stride);
    case CUBLASLT_MATRIX_LAYOUT_BATCH_MODE:
      return bytes_of(l.batch_mode);
    default:
      return {};
  }
}

std::span<std::byte> field(Operation& o, cublasLtMatmulDescAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_COMPUTE_TYPE:
      return bytes_of(o.compute_type);
    case CUBLASLT_MATMUL_DESC_SCALE_TYPE:
      return bytes_of(o.scale_type);
    case CUBLASLT_MATMUL_DESC_POINTER_MODE:
      return bytes_of(o.pointer_mode);
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return bytes_of(o.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return bytes_of(o.transpose_b);
    case CUBLASLT_MATMUL_DESC_TRANSC:
      return bytes_of(o.transpose_c);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return bytes_of(o.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return bytes_of(o.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_BATCH_STRIDE:
      return bytes_of(o.bias_stride);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return bytes_of(o.bias_type);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return bytes_of(o.aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return bytes_of(o.aux_ld);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_BATCH_STRIDE:
      return bytes_of(o.aux_stride);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_DATA_TYPE:
      return bytes_of(o.aux_type);
    case CUBLASLT_MATMUL_DESC_SM_COUNT_TARGET:
      return bytes_of(o.num_multiprocessors);
    case CUBLASLT_MATMUL_DESC_FAST_ACCUM:
      return bytes_of(o.fast_accumulation);
    default:
      return {};
  }
}

std::span<std::byte> field(Preference& p, cublasLtMatmulPreferenceAttributes_t attribute) {
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_SEARCH_MODE:
      return bytes_of(p.search_mode);
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return bytes_of(p.max_workspace);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return bytes_of(p.reduction_mask);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return bytes_of(p.align_a);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return bytes_of(p.align_b);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return bytes_of(p.align_c);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return bytes_of(p.align_d);
    default:
      return {};
  }
}

template <typename T, typename Opaque, typename Attribute>
cublasStatus_t set_field(Opaque* opaque, Attribute attribute, const void* value,
                         std::size_t bytes) {
  if (opaque == nullptr || value == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const std::span<std::byte> to = field(as<T>(opaque), attribute);
  if (to.empty() || to.size() != bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to.data(), value, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

template <typename T, typename Opaque, typename Attribute>
cublasStatus_t get_field(Opaque* opaque, Attribute attribute, void* value, std::size_t bytes,
                         std::size_t* written) {
  if (opaque == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  const std::span<std::byte> from = field(as<T>(opaque), attribute);
  if (from.empty() || (bytes != 0 && from.size() != bytes)) return CUBLAS_STATUS_INVALID_VALUE;
  if (bytes != 0) std::memcpy(value, from.data(), bytes);
  if (written != nullptr) *written = from.size();
  return CUBLAS_STATUS_SUCCESS;
}

constexpr std::array<unsigned, 15> kEpilogues = {
    CUBLASLT_EPILOGUE_DEFAULT,  CUBLASLT_EPILOGUE_RELU,        CUBLASLT_EPILOGUE_RELU_AUX,
    CUBLASLT_EPILOGUE_BIAS,     CUBLASLT_EPILOGUE_RELU_BIAS,   CUBLASLT_EPILOGUE_RELU_AUX_BIAS,
    CUBLASLT_EPILOGUE_DRELU,    CUBLASLT_EPILOGUE_DRELU_BGRAD, CUBLASLT_EPILOGUE_GELU,
    CUBLASLT_EPILOGUE_GELU_AUX, CUBLASLT_EPILOGUE_GELU_BIAS,   CUBLASLT_EPILOGUE_GELU_AUX_BIAS,
    CUBLASLT_EPILOGUE_DGELU,    CUBLASLT_EPILOGUE_DGELU_BGRAD, CUBLASLT_EPILOGUE_BGRADA};

/// Operands, result.
struct Types {
  cudaDataType in, out;
};
constexpr std::array<Types, 5> kTypes = {
    Types{CUDA_R_32F, CUDA_R_32F}, Types{CUDA_R_16BF, CUDA_R_16BF}, Types{CUDA_R_16BF, CUDA_R_32F},
    Types{CUDA_R_16F, CUDA_R_16F}, Types{CUDA_R_16F, CUDA_R_32F}};

bool types_fit(const Operation& o, const Layout& a, const Layout& b, const Layout& c,
               const Layout& d) {
  const bool known = std::any_of(kTypes.begin(), kTypes.end(), [&](const Types& t) {
    return a.type == t.in && b.type == t.in && c.type == t.out && d.type == t.out;
  });
  const auto is_default_or = [&](std::int32_t type) {
    return type == -1 || static_cast<std::uint32_t>(type) == d.type;
  };
  const bool fast = o.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32 && a.type == CUDA_R_32F;
  return known && (o.compute_type == CUBLAS_COMPUTE_32F || fast) && o.scale_type == CUDA_R_32F &&
         is_default_or(o.bias_type) && is_default_or(o.aux_type);
}

/// What is wrong with the descriptors; nothing about pointers.
cublasStatus_t check_shapes(const Operation& o, const Layout& a, const Layout& b, const Layout& c,
                            const Layout& d) {
  if (!a.is_legal() || !b.is_legal() || !c.is_legal() || !d.is_legal()) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  if (!types_fit(o, a, b, c, d) || o.transpose_c != 0 || o.transpose_a > 1 || o.transpose_b > 1) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const auto rows = [](const Layout& l, bool transposed) {
    return transposed ? l.columns : l.rows;
  };
  const bool ta = o.transpose_a != 0, tb = o.transpose_b != 0;
  if (rows(a, ta) != d.rows || rows(a, !ta) != rows(b, tb) || rows(b, !tb) != d.columns ||
      c.rows != d.rows || c.columns != d.columns || c.order != d.order ||
      a.num_batches != d.num_batches || b.num_batches != d.num_batches ||
      c.num_batches != d.num_batches) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const unsigned e = o.epilogue;
  if (e != CUBLASLT_EPILOGUE_BGRADB &&
      std::find(kEpilogues.begin(), kEpilogues.end(), e) == kEpilogues.end()) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  const bool is_plain =
      e == CUBLASLT_EPILOGUE_DEFAULT || e == CUBLASLT_EPILOGUE_RELU || e == CUBLASLT_EPILOGUE_GELU;
  if (d.order == CUBLASLT_ORDER_ROW && !is_plain) return CUBLAS_STATUS_NOT_SUPPORTED;
  const bool is_operand_grad = e == CUBLASLT_EPILOGUE_BGRADA || e == CUBLASLT_EPILOGUE_BGRADB;
  if (is_operand_grad && d.num_batches != 1) return CUBLAS_STATUS_NOT_SUPPORTED;
  if ((e & 128) != 0) {
    const bool is_mask = (e & (CUBLASLT_EPILOGUE_RELU | 8)) != 0;
    if (o.aux_ld < static_cast<std::int64_t>(d.rows) || o.aux_ld % (is_mask ? 128 : 8) != 0) {
      return CUBLAS_STATUS_INVALID_VALUE;
    }
  }
  return CUBLAS_STATUS_SUCCESS;
}

bool is_aligned(const void* pointer, std::uint32_t bytes) {
  return reinterpret_cast<std::uintptr_t>(pointer) % bytes == 0;
}

/// Ends the process if a pointer does not lead to memory of the device that is large enough.
void check_memory(const Engine& e, int device, const Call& call) {
  const auto check = [&](const char* what, const void* data, std::int64_t bytes) {
    if (!e.is_device_memory(device, data, static_cast<std::size_t>(bytes))) {
      fail(std::string("cublasLtMatmul: ") + what + ": not " + std::to_string(bytes) +
           " bytes of the device's memory");
    }
  };
  const auto check_matrix = [&](const char* what, const void* data, const Layout& layout) {
    check(what, data,
          layout.num_elements() * static_cast<std::int64_t>(size_of(layout.data_type())));
  };
  const Operation& o = call.operation;
  const std::int64_t more = call.d_layout.num_batches - 1;
  const auto d_size = static_cast<std::int64_t>(size_of(call.d_layout.data_type()));
  check_matrix("A", call.a, call.a_layout);
  check_matrix("B", call.b, call.b_layout);
  if (call.c != nullptr) check_matrix("C", call.c, call.c_layout);
  check_matrix("D", call.d, call.d_layout);
  if (call.uses_bias()) check("bias", o.bias, (call.bias_length() + more * o.bias_stride) * d_size);
  if (call.has_aux()) {
    const std::int64_t elements = o.aux_ld * call.n() + more * o.aux_stride;
    const bool is_mask = call.has_relu() || call.has_relu_grad();
    check("aux", o.aux, is_mask ? elements / 8 : elements * d_size);
  }
  if (call.workspace_used != 0) {
    check("workspace", call.workspace, static_cast<std::int64_t>(call.workspace_used));
  }
}

Algorithm make_algorithm(const Operation& o, const Layout& a, const Layout& d, const Preference& p,
                         int id) {
  const auto align = [](std::uint32_t bytes) { return std::min(bytes, kVector_bytes); };
  return {kAlgorithm,
          id,
          id == 0 ? 1 : 1 << id,
          id == 0 ? 0 : kWorkspace_bytes * static_cast<unsigned>(id),
          align(p.align_a),
          align(p.align_b),
          align(p.align_c),
          align(p.align_d),
          a.type,
          d.type,
          static_cast<std::uint32_t>(o.compute_type)};
}

Preference default_preference() {
  return {.max_workspace = 0,
          .search_mode = 0,
          .reduction_mask = 0x7,
          .align_a = 256,
          .align_b = 256,
          .align_c = 256,
          .align_d = 256};
}

/// Takes the algorithm's demands, or those of any if none is given.
cublasStatus_t check_algorithm(Call& call, const cublasLtMatmulAlgo_t* chosen,
                               std::uint64_t workspace) {
  if (chosen == nullptr) return CUBLAS_STATUS_SUCCESS;
  const auto& algorithm = *reinterpret_cast<const Algorithm*>(chosen->data);
  if (algorithm.magic != kAlgorithm) return CUBLAS_STATUS_INVALID_VALUE;
  if (algorithm.type_a != call.a_layout.type || algorithm.type_d != call.d_layout.type ||
      algorithm.compute_type != static_cast<std::uint32_t>(call.operation.compute_type)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (!is_aligned(call.a, algorithm.align_a) || !is_aligned(call.b, algorithm.align_b) ||
      !is_aligned(call.c, algorithm.align_c) || !is_aligned(call.d, algorithm.align_d)) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  if (workspace < algorithm.workspace || !is_aligned(call.workspace, kVector_bytes)) {
    return CUBLAS_STATUS_INVALID_VALUE;
  }
  call.workspace_used = algorithm.workspace;
  return CUBLAS_STATUS_SUCCESS;
}

std::optional<cublasStatus_t> failure(Engine& e, const char* function) {
  const int code = e.take_failure(function);
  return code == 0 ? std::nullopt : std::optional(static_cast<cublasStatus_t>(code));
}

}  // namespace

extern "C" {

size_t cublasLtGetVersion() { return CUBLAS_VERSION; }
size_t cublasLtGetCudartVersion() { return CUDART_VERSION; }

const char* cublasLtGetStatusName(cublasStatus_t status) {
  switch (status) {
    case CUBLAS_STATUS_SUCCESS:
      return "CUBLAS_STATUS_SUCCESS";
    case CUBLAS_STATUS_NOT_INITIALIZED:
      return "CUBLAS_STATUS_NOT_INITIALIZED";
    case CUBLAS_STATUS_INVALID_VALUE:
      return "CUBLAS_STATUS_INVALID_VALUE";
    case CUBLAS_STATUS_NOT_SUPPORTED:
      return "CUBLAS_STATUS_NOT_SUPPORTED";
    case CUBLAS_STATUS_EXECUTION_FAILED:
      return "CUBLAS_STATUS_EXECUTION_FAILED";
    default:
      return "CUBLAS_STATUS_INTERNAL_ERROR";
  }
}
const char* cublasLtGetStatusString(cublasStatus_t status) { return cublasLtGetStatusName(status); }

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  Engine& e = engine();
  const Lock lock(e.mutex);
  if (const auto status = failure(e, "cublasLtCreate")) return *status;
  if (e.devices.empty()) return CUBLAS_STATUS_NOT_INITIALIZED;
  *handle = new cublasLtContext{thread_state().device};
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) {
  delete handle;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatrixLayoutInit_internal(cublasLtMatrixLayout_t layout, size_t size,
                                                 cudaDataType type, uint64_t rows, uint64_t columns,
                                                 int64_t ld) {
  if (size < sizeof *layout) return CUBLAS_STATUS_INVALID_VALUE;
  as<Layout>(layout) = {
      static_cast<std::uint32_t>(type), CUBLASLT_ORDER_COL, rows, columns, ld, 0, 1, 0};
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          uint64_t rows, uint64_t columns, int64_t ld) {
  *layout = new cublasLtMatrixLayoutOpaque_t{};
  return cublasLtMatrixLayoutInit_internal(*layout, sizeof **layout, type, rows, columns, ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  delete layout;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                const void* value, size_t bytes) {
  return set_field<Layout>(layout, attribute, value, bytes);
}
cublasStatus_t cublasLtMatrixLayoutGetAttribute(cublasLtMatrixLayout_t layout,
                                                cublasLtMatrixLayoutAttribute_t attribute,
                                                void* value, size_t bytes, size_t* written) {
  return get_field<Layout>(layout, attribute, value, bytes, written);
}

cublasStatus_t cublasLtMatmulDescInit_internal(cublasLtMatmulDesc_t desc, size_t size,
                                               cublasComputeType_t compute, cudaDataType_t scale) {
  if (size < sizeof *desc) return CUBLAS_STATUS_INVALID_VALUE;
  Operation operation{};
  operation.compute_type = compute;
  operation.scale_type = scale;
  operation.epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  operation.bias_type = operation.aux_type = -1;
  as<Operation>(desc) = operation;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* desc, cublasComputeType_t compute,
                                        cudaDataType_t scale) {
  *desc = new cublasLtMatmulDescOpaque_t{};
  return cublasLtMatmulDescInit_internal(*desc, sizeof **desc, compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc) {
  delete desc;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, size_t bytes) {
  return set_field<Operation>(desc, attribute, value, bytes);
}
cublasStatus_t cublasLtMatmulDescGetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute, void* value,
                                              size_t bytes, size_t* written) {
  return get_field<Operation>(desc, attribute, value, bytes, written);
}

cublasStatus_t cublasLtMatmulPreferenceInit_internal(cublasLtMatmulPreference_t preference,
                                                     size_t size) {
  if (size < sizeof *preference) return CUBLAS_STATUS_INVALID_VALUE;
  as<Preference>(preference) = default_preference();
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  *preference = new cublasLtMatmulPreferenceOpaque_t{};
  return cublasLtMatmulPreferenceInit_internal(*preference, sizeof **preference);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  delete preference;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, size_t bytes) {
  return set_field<Preference>(preference, attribute, value, bytes);
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int requested,
                                              cublasLtMatmulHeuristicResult_t results[],
                                              int* returned) {
  *returned = 0;
  if (handle == nullptr || requested < 1) return CUBLAS_STATUS_INVALID_VALUE;
  Engine& e = engine();
  const Lock lock(e.mutex);
  if (const auto status = failure(e, "cublasLtMatmulAlgoGetHeuristic")) return *status;
  const Operation& operation = as<Operation>(desc);
  const cublasStatus_t status =
      check_shapes(operation, as<Layout>(a), as<Layout>(b), as<Layout>(c), as<Layout>(d));
  if (status != CUBLAS_STATUS_SUCCESS) return status;
  const Preference wanted =
      preference == nullptr ? default_preference() : as<Preference>(preference);
  for (int id = 2; id >= 0 && *returned < requested; --id) {
    const Algorithm algorithm = make_algorithm(operation, as<Layout>(a), as<Layout>(d), wanted, id);
    if (algorithm.workspace > wanted.max_workspace) continue;
    cublasLtMatmulHeuristicResult_t& result = results[(*returned)++];
    result = {};
    std::memcpy(result.algo.data, &algorithm, sizeof algorithm);
    result.workspaceSize = algorithm.workspace;
    result.state = CUBLAS_STATUS_SUCCESS;
    result.wavesCount = 1.0f;
  }
  return *returned == 0 ? CUBLAS_STATUS_NOT_SUPPORTED : CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmulAlgoConfigGetAttribute(const cublasLtMatmulAlgo_t* algo,
                                                    cublasLtMatmulAlgoConfigAttributes_t attribute,
                                                    void* value, size_t bytes, size_t* written) {
  const auto& algorithm = *reinterpret_cast<const Algorithm*>(algo->data);
  std::int32_t found = 0;
  if (attribute == CUBLASLT_ALGO_CONFIG_ID) found = algorithm.id;
  if (attribute == CUBLASLT_ALGO_CONFIG_SPLITK_NUM) found = algorithm.splits;
  if (bytes != sizeof found) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(value, &found, bytes);
  if (written != nullptr) *written = bytes;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t desc, const void* alpha,
                              const void* a, cublasLtMatrixLayout_t a_layout, const void* b,
                              cublasLtMatrixLayout_t b_layout, const void* beta, const void* c,
                              cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, size_t workspace_bytes, cudaStream_t on) {
  if (handle == nullptr || alpha == nullptr || beta == nullptr) return CUBLAS_STATUS_INVALID_VALUE;
  Engine& e = engine();
  Lock lock(e.mutex);
  if (const auto status = failure(e, "cublasLtMatmul")) return *status;
  CUstream_st* stream = e.find(on);
  if (stream == nullptr || stream->device != handle->device) return CUBLAS_STATUS_INVALID_VALUE;
  Call call{as<Operation>(desc),
            as<Layout>(a_layout),
            as<Layout>(b_layout),
            as<Layout>(c_layout),
            as<Layout>(d_layout),
            a,
            b,
            c,
            d,
            static_cast<const float*>(alpha),
            static_cast<const float*>(beta),
            1.0f,
            0.0f,
            workspace,
            0};
  const cublasStatus_t shapes =
      check_shapes(call.operation, call.a_layout, call.b_layout, call.c_layout, call.d_layout);
  if (shapes != CUBLAS_STATUS_SUCCESS) return shapes;
  if (call.operation.pointer_mode == CUBLASLT_POINTER_MODE_HOST) {
    call.alpha = *call.alpha_pointer;
    call.beta = *call.beta_pointer;
    if (call.beta == 0.0f) call.c = nullptr;
  } else if (call.operation.pointer_mode != CUBLASLT_POINTER_MODE_DEVICE) {
    return CUBLAS_STATUS_NOT_SUPPORTED;
  }
  const cublasStatus_t algorithm = check_algorithm(call, algo, workspace_bytes);
  if (algorithm != CUBLAS_STATUS_SUCCESS) return algorithm;
  check_memory(e, stream->device, call);
  const cudaError_t error =
      e.enqueue(lock, stream, "cublasLtMatmul", call_work("cublasLtMatmul", [call] { run(call); }));
  return error == cudaSuccess ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_EXECUTION_FAILED;
}

}  // extern "C"
