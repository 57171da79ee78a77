// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>

#include "nn/layer.h"
#include "nn/loss.h"

namespace dlt::nn {

// What each line of layers.def and losses.def stands for: make_dense, make_mse, ...
// A maker asks the reader for its options; the caller ends with reader.finish().
#define DLT_LAYER(name) std::unique_ptr<Layer> make_##name(config::MapReader& options);
#define DLT_CONTAINER(name) \
  std::unique_ptr<Layer> make_##name(config::MapReader& options, LayerReader& reader);
#include "nn/layers.def"
#undef DLT_CONTAINER
#undef DLT_LAYER

#define DLT_LOSS(name) std::unique_ptr<Loss> make_##name(config::MapReader& options);
#include "nn/losses.def"
#undef DLT_LOSS

}  // namespace dlt::nn
