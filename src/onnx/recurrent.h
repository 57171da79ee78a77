// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>

#include "onnx/builder.h"

namespace dlt::onnx {

struct ScanForm {
  std::int64_t gates = 1;    // 4 lstm, 3 gru, 1 simple_rnn
  std::size_t sequence = 0;  // which output of the node holds all steps; the last stands behind it
};

/// Writes a recurrent op step by step: with a mask, or behind something else than its own product.
void write_scan(Builder& builder, const autodiff::Node& node, const ScanForm& form);

}  // namespace dlt::onnx
