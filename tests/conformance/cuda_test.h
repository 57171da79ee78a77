// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <utility>

#include <gtest/gtest.h>

#include "conformance/cuda_under_test.h"
#include "ops/ops.h"

namespace dlt::test {

/// A test on the CUDA back end; skipped with the reason where there is none.
class CudaTest : public testing::Test {
 protected:
  void SetUp() override {
    DeviceUnderTest cuda = open_cuda();
    if (cuda.backend == nullptr) GTEST_SKIP() << cuda.why_not;
    backend = std::move(cuda.backend);
    backend->enter_thread();
  }
  autodiff::OpTable table = ops::make_op_table();
  std::unique_ptr<tensor::Backend> backend;
};

}  // namespace dlt::test
