// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "config/node.h"
#include "ddp/reducer.h"
#include "tensor/flat_layout.h"
#include "train/run_config.h"

namespace dlt::train {

/// Reads `comm.compression`: a name, or {name: int8, block: 256}, {name: powersgd, rank: 4},
/// {name: topk, share: 0.01}. Mistakes are recorded.
[[nodiscard]] ddp::CompressionOptions read_compression(config::MapReader& comm);

/// Records what of `comm` does not go together with the rest, which was read before.
void check_comm(config::MapReader& comm, const RunConfig& config);

/// The compression of a config, for gradients of this layout.
void set_compression(ddp::ReducerOptions& options, const RunConfig& config,
                     const tensor::FlatLayout& layout);

}  // namespace dlt::train
