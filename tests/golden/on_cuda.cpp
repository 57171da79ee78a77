// SPDX-License-Identifier: Apache-2.0
#include "golden/device.h"

namespace dlt::nn {

test::DeviceUnderTest golden_device() { return test::open_cuda(); }

}  // namespace dlt::nn
