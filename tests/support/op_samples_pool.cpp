// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <string>
#include <vector>

#include "support/op_sample_families.h"

namespace dlt::support {
namespace {

using tensor::Attrs;
using tensor::Shape;
using Dims = std::vector<std::int64_t>;

struct PoolCase {
  Shape image;
  Dims window, strides, pads;
};

const std::vector<PoolCase> kPools{
    {{2, 4, 6, 3}, {2, 2}, {2, 2}, {0, 0, 0, 0}},  {{1, 5, 5, 16}, {2, 2}, {2, 2}, {0, 0, 0, 0}},
    {{2, 5, 4, 5}, {3, 3}, {1, 1}, {1, 1, 1, 1}},  {{1, 7, 6, 19}, {3, 3}, {2, 2}, {0, 1, 1, 0}},
    {{2, 1, 9, 7}, {1, 3}, {1, 2}, {0, 0, 1, 1}},  {{1, 5, 7, 2}, {2, 1}, {3, 2}, {0, 0, 0, 0}},
    {{1, 4, 4, 64}, {2, 2}, {2, 2}, {0, 0, 0, 0}}, {{1, 3, 3, 1}, {3, 3}, {3, 3}, {0, 0, 0, 0}}};

Attrs with_shape(Attrs attrs, const Shape& shape) {
  attrs.set("shape", Dims(shape.dims().begin(), shape.dims().end()));
  return attrs;
}

std::int64_t pooled(std::int64_t size, std::int64_t window, std::int64_t stride,
                    std::int64_t pads) {
  return (size + pads - window) / stride + 1;
}

void add_windows(std::vector<OpSample>& samples) {
  for (const PoolCase& pool : kPools) {
    const Shape& x = pool.image;
    const Shape y{x[0], pooled(x[1], pool.window[0], pool.strides[0], pool.pads[0] + pool.pads[1]),
                  pooled(x[2], pool.window[1], pool.strides[1], pool.pads[2] + pool.pads[3]), x[3]};
    Attrs attrs{{"window", pool.window}, {"strides", pool.strides}, {"pads", pool.pads}};
    samples.push_back({"max_pool2d", {{x}}, attrs});
    samples.push_back({"max_pool2d_grad",
                       {{y}, {y, Fill::bytes, pool.window[0] * pool.window[1]}},
                       with_shape(attrs, x)});
    for (const std::int64_t include : {0, 1}) {
      attrs.set("count_include_pad", include);
      samples.push_back({"avg_pool2d", {{x}}, attrs});
      samples.push_back({"avg_pool2d_grad", {{y}}, with_shape(attrs, x)});
    }
  }
}

void add_global(std::vector<OpSample>& samples) {
  for (const Shape& x : {Shape{4, 4, 3, 7}, Shape{2, 5, 19}, Shape{2, 9, 64}, Shape{4, 1, 2}}) {
    const Shape y{x[0], x.last()};
    const SampleInput index{y, Fill::labels, x.rows() / x[0]};
    samples.push_back({"global_avg_pool", {{x}}, {}});
    samples.push_back({"global_avg_pool_grad", {{y}}, with_shape({}, x)});
    samples.push_back({"global_max_pool", {{x}}, {}});
    samples.push_back({"global_max_pool_grad", {{y}, index}, with_shape({}, x)});
    if (x.rank() != 3) continue;
    const SampleInput mask = target({x[0], x[1]}, Fill::weights);
    samples.push_back({"global_avg_pool", {{x}, mask}, {}});
    samples.push_back({"global_avg_pool_grad", {{y}, mask}, with_shape({}, x)});
    samples.push_back({"global_max_pool", {{x}, mask}, {}});
  }
}

void add_resizing(std::vector<OpSample>& samples) {
  for (const char* interpolation : {"nearest", "bilinear"}) {
    for (const Dims& size : {Dims{2, 2}, Dims{1, 3}, Dims{3, 2}}) {
      const Attrs attrs{{"size", size}, {"interpolation", std::string(interpolation)}};
      samples.push_back({"upsample2d", {{{2, 3, 4, 5}}}, attrs});
      samples.push_back({"upsample2d", {{{1, 2, 1, 33}}}, attrs});
      samples.push_back({"upsample2d_grad", {{{2, 3 * size[0], 2 * size[1], 17}}}, attrs});
    }
  }
  const Attrs pads{{"pads", Dims{1, 2, 0, 3}}};
  for (const std::int64_t channels : {1, 5, 32}) {
    samples.push_back({"pad2d", {{{2, 3, 4, channels}}}, pads});
    samples.push_back({"crop2d", {{{2, 5, 4, channels}}}, pads});
  }
}

}  // namespace

void add_pool_samples(std::vector<OpSample>& samples) {
  add_windows(samples);
  add_global(samples);
  add_resizing(samples);
}

}  // namespace dlt::support
