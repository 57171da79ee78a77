// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using tensor::Shape;

/// Shapes [B, ..., C] whose channels meet whole vectors, remainders and rows packed together.
const std::vector<Shape> kShapes{{6, 7},     {5, 3, 2, 3}, {4, 3, 3, 16},
                                 {3, 2, 65}, {3, 5, 5, 6}, {2, 2, 2, 144},
                                 {3, 9, 1},  {4, 2, 1000}, {3, 11, 9, 10}};

void add_batch_norm(std::vector<OpSample>& samples) {
  for (const char* activation : {"none", "relu"}) {
    const Attrs attrs{{"activation", std::string(activation)}, {"eps", 1e-2}};
    for (const Shape& shape : kShapes) {
      const SampleInput x{shape}, channel{{shape.last()}};
      const SampleInput positive{{shape.last()}, Fill::positive};
      const SampleInput weight = target({shape[0]}, Fill::weights);
      if (shape.numel() < 5000) {  // differences of each element
        samples.push_back({"batch_norm", {x, channel, channel, weight}, attrs});
      }
      if (shape.numel() < 600) {
        samples.push_back({"batch_norm", {x, channel, channel, weight, x}, attrs});
      }
      samples.push_back(
          {"batch_norm_grad", {x, x, channel, channel, channel, positive, weight}, attrs});
      samples.push_back({"batch_norm_inference", {x, channel, channel, channel, positive}, attrs});
      samples.push_back(
          {"batch_norm_inference", {x, channel, channel, channel, positive, x}, attrs});
      if (std::string(activation) == "none") continue;
      samples.push_back(
          {"batch_norm_grad", {x, x, channel, channel, channel, positive, weight, x}, attrs});
    }
  }
  for (const Shape& shape : {Shape{6, 7}, Shape{4, 3, 3, 16}, Shape{3, 2, 65}}) {
    const SampleInput x{shape}, c{{shape.last()}}, w = target({shape[0]}, Fill::weights);
    const SampleInput shift = target({shape.last()});
    const SampleInput m{{2 * shape.last() + 1}, Fill::positive};
    samples.push_back({"batch_moments", {x, w, shift}, {}});
    samples.push_back({"batch_moments_grad", {x, w, shift, m}, {}});
    samples.push_back({"batch_norm_moments", {x, c, c, m, shift}, {{"eps", 4.0}}});
    samples.push_back({"batch_norm_moments_grad", {x, x, c, m, shift}, {{"eps", 4.0}}});
  }
  samples.push_back({"sync_sum", {{{3, 7}}}, {}});
  const SampleInput channel{{7}}, weight = target({3}, Fill::weights);
  samples.push_back({"batch_norm_statistics", {channel, channel, weight, channel}, {}});
}

void add_row_norms(std::vector<OpSample>& samples) {
  const Attrs attrs{{"eps", 1e-2}};
  for (const Shape& shape : {Shape{3, 7}, Shape{2, 3, 19}, Shape{5, 64}, Shape{1, 3, 130}}) {
    const SampleInput x{shape}, channel{{shape.last()}};
    const SampleInput row{{shape.rows()}}, positive{{shape.rows()}, Fill::positive};
    samples.push_back({"layer_norm", {x, channel, channel}, attrs});
    samples.push_back({"layer_norm_grad", {x, x, channel, row, positive}, attrs});
    samples.push_back({"layer_norm_grad", {x, x, channel, row, positive, x}, attrs});
    samples.push_back({"rms_norm", {x, channel}, attrs});
    samples.push_back({"rms_norm_grad", {x, x, channel, positive}, attrs});
    samples.push_back({"rms_norm_grad", {x, x, channel, positive, x}, attrs});
    samples.push_back({"add_layer_norm", {x, x, channel, channel}, attrs, 1});
  }
}

void add_group_norm(std::vector<OpSample>& samples) {
  const auto add = [&](const Shape& shape, std::int64_t groups) {
    const Attrs attrs{{"groups", groups}, {"eps", 1e-2}};
    const SampleInput x{shape}, channel{{shape.last()}}, group{{shape[0], groups}};
    const SampleInput positive{{shape[0], groups}, Fill::positive};
    samples.push_back({"group_norm", {x, channel, channel}, attrs});
    samples.push_back({"group_norm_grad", {x, x, channel, group, positive}, attrs});
  };
  add({2, 3, 2, 6}, 3);
  add({3, 4, 6}, 1);
  add({2, 3, 3, 32}, 4);
  add({2, 2, 40}, 2);
  add({3, 8}, 2);
  add({2, 5, 7}, 7);
}

}  // namespace

void add_norm_samples(std::vector<OpSample>& samples) {
  add_batch_norm(samples);
  add_row_norms(samples);
  add_group_norm(samples);
}

}  // namespace dlt::support
