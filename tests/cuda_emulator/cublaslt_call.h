// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include <cublasLt.h>

#include "cuda_emulator/arithmetic.h"

namespace dlt::emulator {

/// What stands in the opaque structs of the library.
struct Layout {
  std::uint32_t type;
  std::int32_t order;
  std::uint64_t rows, columns;
  std::int64_t ld, batch_stride;
  std::int32_t num_batches;
  std::uint32_t batch_mode;

  [[nodiscard]] cudaDataType data_type() const { return static_cast<cudaDataType>(type); }
  [[nodiscard]] std::int64_t at(std::int64_t row, std::int64_t column) const {
    return order == CUBLASLT_ORDER_ROW ? row * ld + column : column * ld + row;
  }
  [[nodiscard]] std::int64_t num_elements() const {
    const auto r = static_cast<std::int64_t>(rows), c = static_cast<std::int64_t>(columns);
    return at(r - 1, c - 1) + 1 + (num_batches - 1) * batch_stride;
  }
  [[nodiscard]] bool is_legal() const {
    const auto inner = order == CUBLASLT_ORDER_ROW ? columns : rows;
    return is_known(data_type()) && rows > 0 && columns > 0 && num_batches > 0 && batch_mode == 0 &&
           (order == CUBLASLT_ORDER_ROW || order == CUBLASLT_ORDER_COL) &&
           ld >= static_cast<std::int64_t>(inner);
  }
};
static_assert(sizeof(Layout) <= sizeof(cublasLtMatrixLayoutOpaque_t));

struct Operation {
  std::int32_t compute_type, scale_type, pointer_mode, transpose_a, transpose_b, transpose_c;
  std::uint32_t epilogue;
  std::int32_t bias_type, aux_type, num_multiprocessors;
  std::byte* bias;
  std::byte* aux;
  std::int64_t bias_stride, aux_ld, aux_stride;
  std::int8_t fast_accumulation;
};
static_assert(sizeof(Operation) <= sizeof(cublasLtMatmulDescOpaque_t));

/// One call of cublasLtMatmul, all that is read at the call copied.
struct Call {
  Operation operation;
  Layout a_layout, b_layout, c_layout, d_layout;
  const void* a;
  const void* b;
  const void* c;
  void* d;
  const float* alpha_pointer;
  const float* beta_pointer;
  float alpha, beta;
  void* workspace;
  std::uint64_t workspace_used;

  [[nodiscard]] bool has(unsigned bits) const { return (operation.epilogue & bits) == bits; }
  [[nodiscard]] bool has_bias() const { return has(CUBLASLT_EPILOGUE_BIAS); }
  [[nodiscard]] bool has_relu() const { return has(CUBLASLT_EPILOGUE_RELU); }
  [[nodiscard]] bool has_gelu() const { return has(CUBLASLT_EPILOGUE_GELU); }
  [[nodiscard]] bool has_relu_grad() const { return has(CUBLASLT_EPILOGUE_DRELU); }
  [[nodiscard]] bool has_gelu_grad() const { return has(CUBLASLT_EPILOGUE_DGELU); }
  [[nodiscard]] bool has_aux() const { return has(128); }
  [[nodiscard]] bool has_bias_grad() const { return has(16); }
  [[nodiscard]] bool uses_bias() const {
    return has_bias() || has_bias_grad() || has(CUBLASLT_EPILOGUE_BGRADA) ||
           has(CUBLASLT_EPILOGUE_BGRADB);
  }
  [[nodiscard]] std::int64_t m() const { return static_cast<std::int64_t>(d_layout.rows); }
  [[nodiscard]] std::int64_t n() const { return static_cast<std::int64_t>(d_layout.columns); }
  [[nodiscard]] std::int64_t k() const {
    return static_cast<std::int64_t>(operation.transpose_a != 0 ? a_layout.rows : a_layout.columns);
  }
  [[nodiscard]] std::int64_t bias_length() const {
    return has(CUBLASLT_EPILOGUE_BGRADB) ? n() : m();
  }
};

/// The product and its epilogue, as work of the stream.
void run(const Call& call);

}  // namespace dlt::emulator
