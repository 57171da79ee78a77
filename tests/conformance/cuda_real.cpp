// SPDX-License-Identifier: Apache-2.0
#include "conformance/cuda_under_test.h"
#include "tensor/gpus.h"

namespace dlt::test {

DeviceUnderTest open_cuda() {
  static const tensor::Gpus gpus;  // its library must outlive what comes from it
  if (!gpus.why_not().empty()) return {nullptr, gpus.why_not()};
  return {gpus.open(0), ""};
}

}  // namespace dlt::test
