// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "optim/optimizer.h"

namespace dlt::optim {

// What each line of optimizers.def stands for. A maker asks the reader for its options; the caller
// ends with reader.finish().
#define DLT_OPTIMIZER(name)                                          \
  std::unique_ptr<Optimizer> make_##name(config::MapReader& options, \
                                         const tensor::Backend& backend);
#include "optim/optimizers.def"
#undef DLT_OPTIMIZER

}  // namespace dlt::optim
