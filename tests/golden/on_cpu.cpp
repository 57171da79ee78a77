// SPDX-License-Identifier: Apache-2.0
#include "golden/device.h"

namespace dlt::nn {

test::DeviceUnderTest golden_device() { return {tensor::make_cpu_backend(), ""}; }

}  // namespace dlt::nn
