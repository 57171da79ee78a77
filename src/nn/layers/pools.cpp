// SPDX-License-Identifier: Apache-2.0
// max_pool1d, max_pool2d, avg_pool1d, avg_pool2d and the global ones.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "nn/registry.h"
#include "nn/window.h"

namespace dlt::nn {
namespace {

struct PoolOptions {
  std::string op;  // max_pool2d, avg_pool2d
  std::size_t axes = 2;
  std::vector<std::int64_t> size, strides;
  Padding padding;
  bool count_include_pad = false;
};

class Pool final : public Layer {
 public:
  explicit Pool(PoolOptions options) : options_(std::move(options)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    expect_places(context, x, options_.axes);
    autodiff::Graph& graph = context.graph;
    const tensor::Attrs attrs = windows(context, x);
    if (options_.axes == 2) return graph.add(options_.op, {x}, attrs)[0];
    context.mask = {};
    return as_sequence(graph, graph.add(options_.op, {as_image(graph, x)}, attrs)[0]);
  }

 private:
  /// Windows over an image; a sequence is one of height 1.
  [[nodiscard]] tensor::Attrs windows(const BuildContext& context, autodiff::ValueId x) const {
    std::vector<std::int64_t> window{1, 1}, strides{1, 1}, pads{0, 0, 0, 0};
    for (std::size_t axis = 0; axis < options_.axes; ++axis) {
      const std::size_t at = axis + 2 - options_.axes;
      const std::int64_t length = context.graph.shape(x)[1 + static_cast<int>(axis)];
      const std::int64_t size = options_.size[axis], stride = options_.strides[axis];
      const Sides sides = padding_of(options_.padding, axis, length, size, stride);
      if (length + sides.before + sides.behind < size) {
        refuse_input(
            context, x,
            cat("at least ", size - sides.before - sides.behind, " places along axis ", axis),
            "give a smaller pool_size, or padding: same");
      }
      window[at] = size;
      strides[at] = stride;
      pads[2 * at] = sides.before;
      pads[2 * at + 1] = sides.behind;
    }
    tensor::Attrs attrs{{"window", window}, {"strides", strides}, {"pads", pads}};
    if (options_.count_include_pad) attrs.set("count_include_pad", std::int64_t{1});
    return attrs;
  }

  PoolOptions options_;
};

std::unique_ptr<Layer> make_pool(config::MapReader& options, const char* op, std::size_t axes) {
  PoolOptions pool{.op = op, .axes = axes};
  const bool max = pool.op == "max_pool2d";
  pool.size = read_axes(options, "pool_size", axes, std::vector<std::int64_t>(axes, 2));
  pool.strides = read_axes(options, "strides", axes, pool.size);
  pool.padding = read_padding(options, axes);
  if (!max) pool.count_include_pad = options.boolean("count_include_pad", false);
  if (max && pool.size[0] * pool.size.back() > 256 && axes == 2) {
    options.error("pool_size", "expected a window of at most 256 cells");
  }
  if (max && axes == 1 && pool.size[0] > 256) {
    options.error("pool_size", "expected a window of at most 256 places");
  }
  for (std::size_t side = 0; side < pool.padding.sides.size(); ++side) {
    if (pool.padding.sides[side] < pool.size[side / 2]) continue;
    options.error("padding", "expected less than pool_size on each side",
                  "else a window lies in the padding alone");
    break;
  }
  return std::make_unique<Pool>(std::move(pool));
}

/// One number a channel over all places; those of a sequence that its mask leaves out do not count.
class GlobalPool final : public Layer {
 public:
  GlobalPool(std::string op, std::size_t axes) : op_(std::move(op)), axes_(axes) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    expect_places(context, x, axes_);
    std::vector<autodiff::ValueId> inputs{x};
    if (axes_ == 1 && context.mask.valid()) inputs.push_back(context.mask);
    context.mask = {};
    return context.graph.add(op_, std::move(inputs))[0];
  }

 private:
  std::string op_;
  std::size_t axes_;
};

}  // namespace

std::unique_ptr<Layer> make_avg_pool1d(config::MapReader& options) {
  return make_pool(options, "avg_pool2d", 1);
}
std::unique_ptr<Layer> make_avg_pool2d(config::MapReader& options) {
  return make_pool(options, "avg_pool2d", 2);
}
std::unique_ptr<Layer> make_max_pool1d(config::MapReader& options) {
  return make_pool(options, "max_pool2d", 1);
}
std::unique_ptr<Layer> make_max_pool2d(config::MapReader& options) {
  return make_pool(options, "max_pool2d", 2);
}

std::unique_ptr<Layer> make_global_avg_pool1d(config::MapReader& /*options*/) {
  return std::make_unique<GlobalPool>("global_avg_pool", 1);
}
std::unique_ptr<Layer> make_global_avg_pool2d(config::MapReader& /*options*/) {
  return std::make_unique<GlobalPool>("global_avg_pool", 2);
}
std::unique_ptr<Layer> make_global_max_pool1d(config::MapReader& /*options*/) {
  return std::make_unique<GlobalPool>("global_max_pool", 1);
}
std::unique_ptr<Layer> make_global_max_pool2d(config::MapReader& /*options*/) {
  return std::make_unique<GlobalPool>("global_max_pool", 2);
}

}  // namespace dlt::nn
