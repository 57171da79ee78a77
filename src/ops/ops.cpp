// SPDX-License-Identifier: Apache-2.0
#include "ops/ops.h"

#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "ops/defs.h"

namespace dlt::ops {
namespace {

autodiff::OpDef named(autodiff::OpDef def, std::string_view name) {
  DLT_CHECK(def.name == name, name);
  return def;
}

}  // namespace

autodiff::OpTable make_op_table() {
  std::vector<autodiff::OpDef> ops;
#define DLT_OP(op) ops.push_back(named(make_##op(), #op));
#include "ops/ops.def"
#undef DLT_OP
  return autodiff::OpTable(std::move(ops));
}

}  // namespace dlt::ops
