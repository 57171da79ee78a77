// SPDX-License-Identifier: Apache-2.0
// What the CUDA back end does where a vendor's library fails or has nothing to offer: on the
// emulator alone, which can be told to refuse.
#include <cmath>
#include <string>

#include <cublasLt.h>
#include <cudnn_graph.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "conformance/cuda_under_test.h"
#include "conformance/kernel_case.h"
#include "cuda_emulator/emulator.h"

namespace dlt::test {
namespace {

using support::OpSample;

constexpr int kFinalizedBeforeGraph = 5;  // three tensors, the movement, the operation

class CudaFallback : public testing::Test {
 protected:
  void TearDown() override { emulator::reset(); }
  autodiff::OpTable table = ops::make_op_table();
};

OpSample convolution(const std::string& precision) {
  return {"conv2d",
          {{{2, 6, 5, 16}}, {{3, 3, 16, 18}}},
          {{"precision", precision}, {"stride_h", std::int64_t{2}}, {"pad_left", std::int64_t{1}}}};
}

void expect_close(const std::vector<float>& got, const std::vector<float>& want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 2e-5 * (1 + std::abs(want[i]))) << "element " << i;
  }
}

TEST_F(CudaFallback, ConvolutionWithoutAnEngineIsComputedFromItsDefinition) {
  const std::unique_ptr<tensor::Backend> backend = open_cuda().backend;
  const KernelCase test(table, convolution("f32"), 20);
  emulator::fail_next("cudnnBackendFinalize", CUDNN_STATUS_NOT_SUPPORTED, kFinalizedBeforeGraph);
  expect_close(test.run(*backend).as<float>(0), test.run_host().as<float>(0));
  EXPECT_EQ(test.kernel(*backend)->scratch_bytes(), 0) << "cuDNN was asked again";
}

TEST_F(CudaFallback, ConvolutionWithoutA16BitEngineHoldsRoundedNumbersInF32) {
  const std::unique_ptr<tensor::Backend> backend = open_cuda().backend;
  const KernelCase test(table, convolution("bf16"), 20);
  const std::int64_t narrow_bytes = test.kernel(*open_cuda().backend)->scratch_bytes();
  emulator::fail_next("cudnnBackendFinalize", CUDNN_STATUS_NOT_SUPPORTED, kFinalizedBeforeGraph);
  EXPECT_GT(test.kernel(*backend)->scratch_bytes(), narrow_bytes);
  expect_close(test.run(*backend).as<float>(0), test.run_host().as<float>(0));
}

std::string error_of(const KernelCase& test, tensor::Backend& backend) {
  try {
    (void)test.run(backend);
  } catch (const Error& error) {
    EXPECT_EQ(error.exit(), Exit::unavailable);
    return error.what();
  }
  return "none";
}

TEST_F(CudaFallback, ErrorsOfLibrariesNameTheCallAndTheStatus) {
  const std::unique_ptr<tensor::Backend> backend = open_cuda().backend;
  const KernelCase product(table, {"matmul", {{{4, 5}}, {{5, 6}}}, {}}, 20);
  emulator::fail_next("cublasLtMatmul", CUBLAS_STATUS_EXECUTION_FAILED);
  EXPECT_NE(error_of(product, *backend).find("cublasLtMatmul = 13 (CUBLAS_STATUS_EXECUTION_FAILED"),
            std::string::npos);
  const KernelCase conv(table, convolution("f32"), 20);
  emulator::fail_next("cudnnBackendExecute", CUDNN_STATUS_EXECUTION_FAILED);
  EXPECT_NE(error_of(conv, *backend).find("cudnnBackendExecute = 5000 ("), std::string::npos);
}

TEST_F(CudaFallback, ProductWithoutAnAlgorithmIsNamed) {
  const std::unique_ptr<tensor::Backend> backend = open_cuda().backend;
  const KernelCase product(table, {"matmul", {{{4, 5}}, {{5, 6}}}, {}}, 20);
  emulator::fail_next("cublasLtMatmulAlgoGetHeuristic", CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(error_of(product, *backend), "cuda: cuBLASLt has no algorithm for [4, 5] x [5, 6]");
}

}  // namespace
}  // namespace dlt::test
