// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/cuda_backend.h"
#include "conformance/cuda_under_test.h"

namespace dlt::test {

DeviceUnderTest open_cuda() { return {cuda::make_cuda_backend(0), ""}; }

}  // namespace dlt::test
