// SPDX-License-Identifier: Apache-2.0
#include <utility>

#include "conformance/cuda_under_test.h"
#include "golden/device.h"

namespace dlt::nn {

GoldenDevice golden_device() {
  test::CudaUnderTest cuda = test::open_cuda();
  return {std::move(cuda.backend), std::move(cuda.why_not)};
}

}  // namespace dlt::nn
