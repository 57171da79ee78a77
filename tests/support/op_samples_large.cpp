// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using tensor::Shape;

void add_norms(std::vector<OpSample>& samples) {
  const Attrs attrs{{"eps", 1e-2}};
  for (const Shape& shape : {Shape{21, 132}, Shape{3, 260}, Shape{2, 501}, Shape{3, 1026}}) {
    const SampleInput x{shape}, channel{{shape.last()}};
    const SampleInput row{{shape.rows()}}, positive{{shape.rows()}, Fill::positive};
    samples.push_back({"layer_norm", {x, channel, channel}, attrs});
    samples.push_back({"layer_norm_grad", {x, x, channel, row, positive, x}, attrs});
    samples.push_back({"rms_norm", {x, channel}, attrs});
    samples.push_back({"rms_norm_grad", {x, x, channel, positive}, attrs});
    samples.push_back({"add_layer_norm", {x, x, channel, channel}, attrs});
  }
  const Shape shape{2, 100, 40};
  const Attrs groups{{"groups", std::int64_t{4}}, {"eps", 1e-2}};
  const SampleInput x{shape}, c{{40}}, m{{81}, Fill::positive}, positive{{40}, Fill::positive};
  const SampleInput weight = target({2}, Fill::weights), shift = target({40});
  samples.push_back({"batch_norm", {x, c, c, weight, x}, attrs});
  samples.push_back({"batch_norm_grad", {x, x, c, c, c, positive, weight}, attrs});
  samples.push_back({"batch_moments", {x, weight, shift}, {}});
  samples.push_back({"batch_norm_moments_grad", {x, x, c, m, shift}, {{"eps", 4.0}}});
  samples.push_back({"group_norm", {x, c, c}, groups});
  samples.push_back({"group_norm_grad", {x, x, c, {{2, 4}}, {{2, 4}, Fill::positive}}, groups});
}

}  // namespace

std::vector<OpSample> large_op_samples() {
  std::vector<OpSample> samples;
  add_norms(samples);
  return samples;
}

}  // namespace dlt::support
