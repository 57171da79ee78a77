// SPDX-License-Identifier: Apache-2.0
// Declares OpDef make_NAME() for each line of ops.def; the op's file defines it.
#pragma once

#include "autodiff/op_def.h"

namespace dlt::ops {

#define DLT_OP(name) [[nodiscard]] autodiff::OpDef make_##name();
#include "ops/ops.def"
#undef DLT_OP

}  // namespace dlt::ops
