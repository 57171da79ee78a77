// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using tensor::Shape;
using Dims = std::vector<std::int64_t>;

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

void add_images(std::vector<OpSample>& samples) {
  const Shape x{2, 9, 8, 12}, places{2, 300, 40};
  Attrs pool{{"window", Dims{5, 4}}, {"strides", Dims{2, 3}}, {"pads", Dims{2, 1, 3, 0}}};
  samples.push_back({"max_pool2d", {{x}}, pool});
  samples.push_back({"avg_pool2d", {{x}}, pool});
  pool.set("shape", Dims(x.dims().begin(), x.dims().end()));
  const SampleInput y{{2, 4, 3, 12}};
  samples.push_back({"max_pool2d_grad", {y, {y.shape, Fill::bytes, 20}}, pool});
  samples.push_back({"avg_pool2d_grad", {y}, pool});
  const Attrs shape{{"shape", Dims(places.dims().begin(), places.dims().end())}};
  const SampleInput mask = target({2, 300}, Fill::mask), pooled{{2, 40}};
  samples.push_back({"global_avg_pool", {{places}, mask}, {}});
  samples.push_back({"global_max_pool", {{places}, mask}, {}});
  samples.push_back({"global_avg_pool_grad", {pooled, mask}, shape});
  samples.push_back({"global_max_pool_grad", {pooled, labels({2, 40}, 300)}, shape});
}

/// Some tokens once, some in a few positions, some in more than a piece or a tile of a kernel.
void add_embeddings(std::vector<OpSample>& samples) {
  for (const std::int64_t rows : {3, 40, 255, 256, 3000, 70000}) {
    samples.push_back(
        {"embedding_grad", {labels({3, 700}, rows), {{3, 700, 5}}}, {{"rows", rows}}});
  }
  samples.push_back(
      {"embedding_grad", {labels({100}, 1), {{100, 300}}}, {{"rows", std::int64_t{2}}}});
  samples.push_back({"embedding", {labels({3, 40}, 90), {{90, 36}}}, {}});
}

}  // namespace

std::vector<OpSample> large_op_samples() {
  std::vector<OpSample> samples;
  add_norms(samples);
  add_images(samples);
  add_embeddings(samples);
  return samples;
}

}  // namespace dlt::support
