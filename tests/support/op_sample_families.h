// SPDX-License-Identifier: Apache-2.0
// One function for each family of ops: tests/support/op_samples_<family>.cpp.
#pragma once

#include <vector>

#include "support/op_samples.h"

namespace dlt::support {

void add_attention_samples(std::vector<OpSample>& samples);
void add_basic_samples(std::vector<OpSample>& samples);
void add_conv_samples(std::vector<OpSample>& samples);
void add_loss_samples(std::vector<OpSample>& samples);
void add_recurrent_samples(std::vector<OpSample>& samples);
void add_sequence_loss_samples(std::vector<OpSample>& samples);
void add_norm_samples(std::vector<OpSample>& samples);
void add_pool_samples(std::vector<OpSample>& samples);

/// An input without a gradient.
inline SampleInput target(tensor::Shape shape, Fill fill = Fill::normal) {
  return {shape, fill, 0, false};
}
inline SampleInput labels(tensor::Shape shape, std::int64_t num_classes) {
  return {shape, Fill::labels, num_classes, false};
}

}  // namespace dlt::support
