// SPDX-License-Identifier: Apache-2.0
// libcublasLt: the arithmetic of its products and epilogues.
#include <cstring>
#include <vector>

#include "cuda_emulator/cublaslt_call.h"

namespace dlt::emulator {
namespace {

/// An operand of one batch as rows after each other, transposed if asked, rounded for TF32.
std::vector<float> gather(const Layout& layout, const void* data, bool transpose, int batch,
                          bool tf32) {
  const auto rows = static_cast<std::int64_t>(layout.rows);
  const auto columns = static_cast<std::int64_t>(layout.columns);
  std::vector<float> out(static_cast<std::size_t>(rows * columns));
  const std::int64_t first = batch * layout.batch_stride;
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c) {
      const float x = load(data, layout.data_type(), first + layout.at(r, c));
      out[static_cast<std::size_t>(transpose ? c * rows + r : r * columns + c)] =
          tf32 ? round_to_tf32(x) : x;
    }
  }
  return out;
}

/// What happens to one element after the product; writes or reads aux.
float finish(const Call& call, float x, std::int64_t row, std::int64_t column, int batch) {
  const Operation& o = call.operation;
  const cudaDataType type = call.d_layout.data_type();
  if (call.has_bias()) x += load(o.bias, type, row + batch * o.bias_stride);
  const std::int64_t aux_at = column * o.aux_ld + row + batch * o.aux_stride;
  if (call.has_relu_grad()) {
    return (static_cast<unsigned>(o.aux[aux_at / 8]) >> (aux_at % 8) & 1u) != 0 ? x : 0.0f;
  }
  if (call.has_gelu_grad()) return x * gelu_tanh_derivative(load(o.aux, type, aux_at));
  if (call.has_relu()) {
    const bool is_on = x > 0.0f;
    if (call.has_aux()) {
      const auto bit = static_cast<std::byte>(1u << (aux_at % 8));
      std::byte& word = o.aux[aux_at / 8];
      word = is_on ? word | bit : word & ~bit;
    }
    return is_on || x != x ? x : 0.0f;
  }
  if (call.has_gelu()) {
    if (call.has_aux()) store(o.aux, type, aux_at, x);
    return gelu_tanh(x);
  }
  return x;
}

void run_batch(const Call& call, int batch) {
  const Operation& o = call.operation;
  const bool tf32 = o.compute_type == CUBLAS_COMPUTE_32F_FAST_TF32;
  const std::vector<float> a = gather(call.a_layout, call.a, o.transpose_a != 0, batch, tf32);
  const std::vector<float> b = gather(call.b_layout, call.b, o.transpose_b != 0, batch, tf32);
  const std::int64_t m = call.m(), n = call.n(), k = call.k();
  std::vector<float> product(static_cast<std::size_t>(m * n));
  multiply({m, n, k}, a.data(), b.data(), product.data());
  const bool is_device = o.pointer_mode == CUBLASLT_POINTER_MODE_DEVICE;
  const float alpha = is_device ? *call.alpha_pointer : call.alpha;
  const float beta = is_device ? *call.beta_pointer : call.beta;
  std::vector<float> bias_grad(static_cast<std::size_t>(call.bias_length()));
  const cudaDataType type = call.d_layout.data_type();
  for (std::int64_t column = 0; column < n; ++column) {
    for (std::int64_t row = 0; row < m; ++row) {
      float x = alpha * product[static_cast<std::size_t>(row * n + column)];
      const std::int64_t c_at = call.c_layout.at(row, column) + batch * call.c_layout.batch_stride;
      if (beta != 0.0f) x += beta * load(call.c, call.c_layout.data_type(), c_at);
      x = finish(call, x, row, column, batch);
      if (call.has_bias_grad()) bias_grad[static_cast<std::size_t>(row)] += x;
      store(call.d, type, call.d_layout.at(row, column) + batch * call.d_layout.batch_stride, x);
    }
  }
  if (call.has(CUBLASLT_EPILOGUE_BGRADA)) {
    for (std::int64_t i = 0; i < m * k; ++i) {
      bias_grad[static_cast<std::size_t>(i / k)] += a[static_cast<std::size_t>(i)];
    }
  } else if (call.has(CUBLASLT_EPILOGUE_BGRADB)) {
    for (std::int64_t i = 0; i < k * n; ++i) {
      bias_grad[static_cast<std::size_t>(i % n)] += b[static_cast<std::size_t>(i)];
    }
  } else if (!call.has_bias_grad()) {
    return;
  }
  for (std::size_t i = 0; i < bias_grad.size(); ++i) {
    store(o.bias, type, static_cast<std::int64_t>(i) + batch * o.bias_stride, bias_grad[i]);
  }
}

}  // namespace

void run(const Call& call) {
  // Whoever shares the workspace with live data sees it.
  if (call.workspace_used != 0) std::memset(call.workspace, 0xee, call.workspace_used);
  for (int batch = 0; batch < call.d_layout.num_batches; ++batch) run_batch(call, batch);
}

}  // namespace dlt::emulator
