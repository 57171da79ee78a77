// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/gemm.h"

#include <cublasLt.h>

#include "backend/cuda/library_check.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cuda {
namespace {

cudaDataType_t type_of(Precision precision) {
  switch (precision) {
    case Precision::f32:
    case Precision::tf32:
      return CUDA_R_32F;
    case Precision::bf16:
      return CUDA_R_16BF;
    case Precision::f16:
      return CUDA_R_16F;
  }
  check_failed(__FILE__, __LINE__, "precision", "unknown");
}

template <typename Value>
void set(cublasLtMatmulDescOpaque_t& desc, cublasLtMatmulDescAttributes_t name, Value value) {
  DLT_CUBLAS(cublasLtMatmulDescSetAttribute(&desc, name, &value, sizeof value));
}

template <typename Value>
void set(cublasLtMatmulPreferenceOpaque_t& preference, cublasLtMatmulPreferenceAttributes_t name,
         Value value) {
  DLT_CUBLAS(cublasLtMatmulPreferenceSetAttribute(&preference, name, &value, sizeof value));
}

/// A row-major matrix is the transpose of the column-major one in the same memory, so the library
/// computes c^T = b^T a^T: its first operand is our b.
void describe(const GemmShape& shape, const float* bias, cublasLtMatmulDescOpaque_t& desc) {
  const cublasComputeType_t compute =
      shape.precision == Precision::tf32 ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F;
  DLT_CUBLAS(cublasLtMatmulDescInit(&desc, compute, CUDA_R_32F));
  set(desc, CUBLASLT_MATMUL_DESC_TRANSA, shape.trans_b ? CUBLAS_OP_T : CUBLAS_OP_N);
  set(desc, CUBLASLT_MATMUL_DESC_TRANSB, shape.trans_a ? CUBLAS_OP_T : CUBLAS_OP_N);
  if (!shape.bias) return;
  set(desc, CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS);
  set(desc, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, CUDA_R_32F);
  set(desc, CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias);
}

void lay_out(cublasLtMatrixLayoutOpaque_t& layout, cudaDataType_t type, std::int64_t rows,
             std::int64_t columns, std::int64_t stride) {
  DLT_CUBLAS(cublasLtMatrixLayoutInit(&layout, type, static_cast<std::uint64_t>(columns),
                                      static_cast<std::uint64_t>(rows), stride));
}

std::string text(const GemmShape& s) {
  return cat("[", s.m, ", ", s.k, "]", s.trans_a ? " (transposed)" : "", " x [", s.k, ", ", s.n,
             "]", s.trans_b ? " (transposed)" : "");
}

}  // namespace

struct Gemm::Layouts {
  cublasLtMatrixLayoutOpaque_t a{}, b{}, c{};
  cublasLtMatmulAlgo_t algorithm{};
};

Gemm::Gemm(cublasLtContext* library, const GemmShape& shape, std::int64_t max_workspace_bytes)
    : library_(library), shape_(shape), layouts_(std::make_unique<Layouts>()) {
  const GemmShape& s = shape_;
  const cudaDataType_t type = type_of(s.precision);
  lay_out(layouts_->a, type, s.trans_a ? s.k : s.m, s.trans_a ? s.m : s.k, s.lda);
  lay_out(layouts_->b, type, s.trans_b ? s.n : s.k, s.trans_b ? s.k : s.n, s.ldb);
  lay_out(layouts_->c, CUDA_R_32F, s.m, s.n, s.ldc);
  find_algorithm(max_workspace_bytes);
}

Gemm::~Gemm() = default;

void Gemm::find_algorithm(std::int64_t max_workspace_bytes) {
  cublasLtMatmulDescOpaque_t desc{};
  describe(shape_, nullptr, desc);
  cublasLtMatmulPreferenceOpaque_t preference{};
  DLT_CUBLAS(cublasLtMatmulPreferenceInit(&preference));
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      static_cast<std::uint64_t>(max_workspace_bytes));
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  const auto alignment = static_cast<std::uint32_t>(shape_.alignment_bytes);
  for (const auto name :
       {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
        CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
    set(preference, name, alignment);
  }
  cublasLtMatmulHeuristicResult_t found{};
  int count = 0;
  const cublasStatus_t status =
      cublasLtMatmulAlgoGetHeuristic(library_, &desc, &layouts_->b, &layouts_->a, &layouts_->c,
                                     &layouts_->c, &preference, 1, &found, &count);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && count == 0)) {
    throw Error(Exit::unavailable, cat("cuda: cuBLASLt has no algorithm for ", text(shape_)));
  }
  check(status, "cublasLtMatmulAlgoGetHeuristic(library)");
  check(found.state, "cublasLtMatmulAlgoGetHeuristic(library)");
  layouts_->algorithm = found.algo;
  workspace_bytes_ = static_cast<std::int64_t>(found.workspaceSize);
}

void Gemm::run(const GemmArgs& args) const {
  cublasLtMatmulDescOpaque_t desc{};  // of this run: it holds the bias
  describe(shape_, args.bias, desc);
  const float one = 1.0f, beta = shape_.accumulate ? 1.0f : 0.0f;
  DLT_CUBLAS(cublasLtMatmul(library_, &desc, &one, args.b, &layouts_->b, args.a, &layouts_->a,
                            &beta, args.c, &layouts_->c, args.c, &layouts_->c, &layouts_->algorithm,
                            args.workspace, static_cast<std::size_t>(workspace_bytes_),
                            args.stream));
}

std::shared_ptr<const Gemm> GemmCache::get(cublasLtContext* library, const GemmShape& shape,
                                           std::int64_t max_workspace_bytes) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<const Gemm>& gemm = gemms_[shape];
  if (gemm == nullptr) gemm = std::make_shared<const Gemm>(library, shape, max_workspace_bytes);
  return gemm;
}

}  // namespace dlt::cuda
