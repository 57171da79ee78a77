// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <cublasLt.h>

#include "cuda_emulator/arithmetic.h"
#include "cuda_emulator/test_support.h"

namespace dlt::emulator {
namespace {

constexpr auto kBlasDone = CUBLAS_STATUS_SUCCESS;

/// A column-major matrix on the device, its values also here.
struct Matrix {
  cudaDataType type = CUDA_R_32F;
  std::int64_t rows = 0, columns = 0, ld = 0;
  std::vector<float> values;  // of rows after each other
  void* data = nullptr;
  cublasLtMatrixLayout_t layout = nullptr;

  [[nodiscard]] float at(std::int64_t r, std::int64_t c) const {
    return values[static_cast<std::size_t>(r * columns + c)];
  }
};

class CublasLt : public EmulatorTest {
 protected:
  void SetUp() override {
    EmulatorTest::SetUp();
    ASSERT_EQ(cublasLtCreate(&handle_), kBlasDone);
    ASSERT_EQ(cublasLtMatmulDescCreate(&desc_, CUBLAS_COMPUTE_32F, CUDA_R_32F), kBlasDone);
  }
  void TearDown() override {
    for (const cublasLtMatrixLayout_t layout : layouts_) {
      EXPECT_EQ(cublasLtMatrixLayoutDestroy(layout), kBlasDone);
    }
    EXPECT_EQ(cublasLtMatmulDescDestroy(desc_), kBlasDone);
    EXPECT_EQ(cublasLtDestroy(handle_), kBlasDone);
    EmulatorTest::TearDown();
  }

  Matrix matrix(cudaDataType type, std::int64_t rows, std::int64_t columns, std::int64_t pad = 0) {
    Matrix m{type, rows, columns, rows + pad, {}, nullptr, nullptr};
    std::vector<std::byte> bytes(static_cast<std::size_t>(m.ld * columns) * size_of(type));
    m.values.resize(static_cast<std::size_t>(rows * columns));
    for (std::int64_t r = 0; r < rows; ++r) {
      for (std::int64_t c = 0; c < columns; ++c) {
        store(bytes.data(), type, c * m.ld + r, uniform_(random_));
        m.values[static_cast<std::size_t>(r * columns + c)] =
            load(bytes.data(), type, c * m.ld + r);
      }
    }
    m.data = to_device(bytes);
    EXPECT_EQ(cublasLtMatrixLayoutCreate(&m.layout, type, static_cast<std::uint64_t>(rows),
                                         static_cast<std::uint64_t>(columns), m.ld),
              kBlasDone);
    layouts_.push_back(m.layout);
    return m;
  }
  template <typename T>
  void set(cublasLtMatmulDescAttributes_t attribute, T value) {
    ASSERT_EQ(cublasLtMatmulDescSetAttribute(desc_, attribute, &value, sizeof value), kBlasDone);
  }
  cublasStatus_t multiply(const Matrix& a, const Matrix& b, const Matrix& d, float alpha = 1.0f,
                          float beta = 0.0f) {
    return cublasLtMatmul(handle_, desc_, &alpha, a.data, a.layout, b.data, b.layout, &beta, d.data,
                          d.layout, d.data, d.layout, nullptr, nullptr, 0, nullptr);
  }
  static float result(const Matrix& d, std::int64_t r, std::int64_t c) {
    const auto bytes = to_host(static_cast<const std::byte*>(d.data),
                               static_cast<std::size_t>(d.ld * d.columns) * size_of(d.type));
    return load(bytes.data(), d.type, c * d.ld + r);
  }
  static double sum(const Matrix& a, const Matrix& b, std::int64_t r, std::int64_t c,
                    bool transpose_a = false) {
    double s = 0;
    for (std::int64_t k = 0; k < b.rows; ++k) {
      s += static_cast<double>(transpose_a ? a.at(k, r) : a.at(r, k)) *
           static_cast<double>(b.at(k, c));
    }
    return s;
  }

  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t desc_ = nullptr;
  std::vector<cublasLtMatrixLayout_t> layouts_;
  std::mt19937 random_{7};
  std::uniform_real_distribution<float> uniform_{-1.0f, 1.0f};
};

TEST_F(CublasLt, MultipliesAllTypesAndTransposes) {
  struct Case {
    cudaDataType in, out;
    double tolerance;
  };
  for (const Case& c : {Case{CUDA_R_32F, CUDA_R_32F, 1e-5}, Case{CUDA_R_16BF, CUDA_R_32F, 1e-5},
                        Case{CUDA_R_16BF, CUDA_R_16BF, 2e-2}, Case{CUDA_R_16F, CUDA_R_16F, 4e-3}}) {
    const Matrix a = matrix(c.in, 17, 9, 3), b = matrix(c.in, 17, 41), d = matrix(c.out, 9, 41, 1);
    set(CUBLASLT_MATMUL_DESC_TRANSA, std::int32_t{CUBLAS_OP_T});
    ASSERT_EQ(multiply(a, b, d, 0.5f, 2.0f), kBlasDone);
    for (std::int64_t r = 0; r < 9; ++r) {
      const double expected = 0.5 * sum(a, b, r, 40, true) + 2.0 * static_cast<double>(d.at(r, 40));
      EXPECT_NEAR(static_cast<double>(result(d, r, 40)), expected, c.tolerance);
    }
  }
}

TEST_F(CublasLt, RowMajorIsTheTransposeOfColumnMajor) {
  const Matrix a = matrix(CUDA_R_32F, 4, 5), b = matrix(CUDA_R_32F, 5, 6),
               d = matrix(CUDA_R_32F, 4, 6);
  const std::int32_t row = CUBLASLT_ORDER_ROW;
  Matrix out = d;
  ASSERT_EQ(cublasLtMatrixLayoutCreate(&out.layout, CUDA_R_32F, 4, 6, 6), kBlasDone);
  layouts_.push_back(out.layout);
  ASSERT_EQ(
      cublasLtMatrixLayoutSetAttribute(out.layout, CUBLASLT_MATRIX_LAYOUT_ORDER, &row, sizeof row),
      kBlasDone);
  ASSERT_EQ(multiply(a, b, out), kBlasDone);
  const std::vector<float> got = to_host(static_cast<const float*>(d.data), 24);
  EXPECT_NEAR(static_cast<double>(got[2 * 6 + 3]), sum(a, b, 2, 3), 1e-5);
}

TEST_F(CublasLt, Tf32RoundsTheOperands) {
  const Matrix a = matrix(CUDA_R_32F, 8, 64), b = matrix(CUDA_R_32F, 64, 8),
               d = matrix(CUDA_R_32F, 8, 8);
  ASSERT_EQ(cublasLtMatmulDescDestroy(desc_), kBlasDone);
  ASSERT_EQ(cublasLtMatmulDescCreate(&desc_, CUBLAS_COMPUTE_32F_FAST_TF32, CUDA_R_32F), kBlasDone);
  ASSERT_EQ(multiply(a, b, d), kBlasDone);
  const double error = std::abs(static_cast<double>(result(d, 3, 3)) - sum(a, b, 3, 3));
  EXPECT_GT(error, 1e-6);
  EXPECT_LT(error, 1e-2);
}

TEST_F(CublasLt, BiasThenReluThenItsGradientByTheMask) {
  const Matrix a = matrix(CUDA_R_32F, 20, 8), b = matrix(CUDA_R_32F, 8, 6),
               d = matrix(CUDA_R_32F, 20, 6);
  std::vector<float> bias(20, 0.1f);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_RELU_AUX_BIAS});
  set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(to_device(bias)));
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
      static_cast<void*>(device_array<std::byte>(128 * 6 / 8)));
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{128});
  ASSERT_EQ(multiply(a, b, d), kBlasDone);
  const Matrix g = matrix(CUDA_R_32F, 20, 6);
  float* bias_grad = device_array<float>(20);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_DRELU_BGRAD});
  set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(bias_grad));
  ASSERT_EQ(multiply(a, b, g), kBlasDone);
  for (std::int64_t r = 0; r < 20; ++r) {
    double grad = 0;
    for (std::int64_t c = 0; c < 6; ++c) {
      const double x = sum(a, b, r, c) + 0.1;
      EXPECT_NEAR(static_cast<double>(result(d, r, c)), std::max(x, 0.0), 1e-5);
      EXPECT_NEAR(static_cast<double>(result(g, r, c)), x > 0 ? x - 0.1 : 0.0, 1e-5);
      grad += static_cast<double>(result(g, r, c));
    }
    EXPECT_NEAR(static_cast<double>(to_host(bias_grad, 20)[static_cast<std::size_t>(r)]), grad,
                1e-5);
  }
}

TEST_F(CublasLt, GeluKeepsItsInputForTheGradient) {
  const Matrix a = matrix(CUDA_R_32F, 8, 8), b = matrix(CUDA_R_32F, 8, 4),
               d = matrix(CUDA_R_32F, 8, 4);
  float* aux = device_array<float>(32);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_GELU_AUX});
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, static_cast<void*>(aux));
  set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, std::int64_t{8});
  ASSERT_EQ(multiply(a, b, d), kBlasDone);
  const float x = to_host(aux, 32)[2 * 8 + 5];
  EXPECT_NEAR(static_cast<double>(x), sum(a, b, 5, 2), 1e-5);
  EXPECT_EQ(result(d, 5, 2), gelu_tanh(x));
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_DGELU});
  ASSERT_EQ(multiply(a, b, d), kBlasDone);
  const float h = 1e-2f;
  const float slope = (gelu_tanh(x + h) - gelu_tanh(x - h)) / (2 * h);
  EXPECT_NEAR(result(d, 5, 2), x * slope, 1e-3f);
}

TEST_F(CublasLt, TheGradientOfABiasIsTheSumOfAnOperand) {
  const Matrix a = matrix(CUDA_R_32F, 8, 5), b = matrix(CUDA_R_32F, 5, 4),
               d = matrix(CUDA_R_32F, 8, 4);
  float* grad = device_array<float>(8);
  set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, static_cast<void*>(grad));
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_BGRADA});
  ASSERT_EQ(multiply(a, b, d), kBlasDone);
  float expected = 0;
  for (std::int64_t k = 0; k < 5; ++k) expected += a.at(6, k);
  EXPECT_FLOAT_EQ(to_host(grad, 8)[6], expected);
  set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_BGRADB});
  ASSERT_EQ(multiply(a, b, d), kBlasDone);
  expected = 0;
  for (std::int64_t k = 0; k < 5; ++k) expected += b.at(k, 3);
  EXPECT_FLOAT_EQ(to_host(grad, 8)[3], expected);
}

TEST_F(CublasLt, RefusesWhatDoesNotFit) {
  const Matrix a = matrix(CUDA_R_32F, 4, 5), b = matrix(CUDA_R_32F, 6, 6),
               d = matrix(CUDA_R_32F, 4, 6);
  EXPECT_EQ(multiply(a, b, d), CUBLAS_STATUS_INVALID_VALUE);
  const Matrix half = matrix(CUDA_R_16BF, 5, 6);
  EXPECT_EQ(multiply(a, half, d), CUBLAS_STATUS_NOT_SUPPORTED);
  const std::int64_t wrong_size = 0;
  EXPECT_EQ(cublasLtMatmulDescSetAttribute(desc_, CUBLASLT_MATMUL_DESC_TRANSA, &wrong_size, 8),
            CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(CublasLt, AlgorithmsHoldTheCallerToItsPreference) {
  const Matrix a = matrix(CUDA_R_32F, 4, 4), b = matrix(CUDA_R_32F, 4, 4),
               d = matrix(CUDA_R_32F, 4, 4);
  cublasLtMatmulPreference_t preference = nullptr;
  ASSERT_EQ(cublasLtMatmulPreferenceCreate(&preference), kBlasDone);
  const std::uint64_t workspace_bytes = 1 << 20;
  ASSERT_EQ(
      cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                           &workspace_bytes, sizeof workspace_bytes),
      kBlasDone);
  std::vector<cublasLtMatmulHeuristicResult_t> results(5);
  int found = 0;
  ASSERT_EQ(cublasLtMatmulAlgoGetHeuristic(handle_, desc_, a.layout, b.layout, d.layout, d.layout,
                                           preference, 5, results.data(), &found),
            kBlasDone);
  ASSERT_EQ(found, 3);
  ASSERT_GT(results[0].workspaceSize, 0u);
  const float alpha = 1, beta = 0;
  const auto run = [&](const void* left, void* workspace, std::size_t bytes) {
    return cublasLtMatmul(handle_, desc_, &alpha, left, a.layout, b.data, b.layout, &beta, d.data,
                          d.layout, d.data, d.layout, &results[0].algo, workspace, bytes, nullptr);
  };
  std::byte* workspace = device_array<std::byte>(workspace_bytes);
  EXPECT_EQ(run(a.data, workspace, workspace_bytes), kBlasDone);
  EXPECT_EQ(run(a.data, workspace, 16), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(run(static_cast<const float*>(a.data) + 1, workspace, workspace_bytes),
            CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(cublasLtMatmulPreferenceDestroy(preference), kBlasDone);
}

TEST_F(CublasLt, AMatrixBeyondItsMemoryIsReported) {
  ::testing::GTEST_FLAG(death_test_style) = "threadsafe";
  const Matrix a = matrix(CUDA_R_32F, 4, 4), b = matrix(CUDA_R_32F, 4, 4);
  Matrix d = matrix(CUDA_R_32F, 4, 4);
  d.data = static_cast<float*>(d.data) + 1;
  EXPECT_DEATH((void)multiply(a, b, d), "cublasLtMatmul: D: not 64 bytes");
}

}  // namespace
}  // namespace dlt::emulator
