// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "autodiff/op_def.h"

namespace dlt::ops {

/// Every op of ops.def. Make it once in main() and pass it on.
[[nodiscard]] autodiff::OpTable make_op_table();

}  // namespace dlt::ops
