// SPDX-License-Identifier: Apache-2.0
// upsample1d, upsample2d, zero_pad1d, zero_pad2d, cropping1d, cropping2d.
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "nn/registry.h"
#include "nn/window.h"

namespace dlt::nn {
namespace {

/// An op on images, or on sequences as images of height 1.
autodiff::ValueId add_resizing(BuildContext& context, autodiff::ValueId x, std::size_t axes,
                               const std::string& op, const tensor::Attrs& attrs) {
  autodiff::Graph& graph = context.graph;
  if (axes == 2) return graph.add_one(op, {x}, attrs);
  context.mask = {};
  return as_sequence(graph, graph.add_one(op, {as_image(graph, x)}, attrs));
}

class Upsample final : public Layer {
 public:
  Upsample(std::vector<std::int64_t> size, std::string interpolation)
      : size_(std::move(size)), interpolation_(std::move(interpolation)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    expect_places(context, x, size_.size());
    std::vector<std::int64_t> size = size_;
    if (size.size() == 1) size.insert(size.begin(), 1);
    return add_resizing(context, x, size_.size(), "upsample2d",
                        {{"size", size}, {"interpolation", interpolation_}});
  }

 private:
  std::vector<std::int64_t> size_;
  std::string interpolation_;
};

/// Zeros around an image or a sequence (pad2d), or its edges taken away (crop2d).
class Frame final : public Layer {
 public:
  Frame(std::string op, std::vector<std::int64_t> sides)
      : op_(std::move(op)), sides_(std::move(sides)) {}

  [[nodiscard]] autodiff::ValueId build(BuildContext& context, autodiff::ValueId x) const override {
    const std::size_t axes = sides_.size() / 2;
    expect_places(context, x, axes);
    for (std::size_t axis = 0; axis < axes && op_ == "crop2d"; ++axis) {
      const std::int64_t cropped = sides_[2 * axis] + sides_[2 * axis + 1];
      if (context.graph.shape(x)[1 + static_cast<int>(axis)] > cropped) continue;
      refuse_input(context, x, cat("more than ", cropped, " places along axis ", axis));
    }
    std::vector<std::int64_t> pads = sides_;
    if (axes == 1) pads.insert(pads.begin(), 2, 0);
    return add_resizing(context, x, axes, op_, {{"pads", pads}});
  }

 private:
  std::string op_;
  std::vector<std::int64_t> sides_;
};

std::unique_ptr<Layer> make_upsample(config::MapReader& options, std::size_t axes) {
  std::vector<std::int64_t> size =
      read_axes(options, "size", axes, std::vector<std::int64_t>(axes, 2));
  std::string interpolation =
      options.choice("interpolation", {"bilinear", "nearest"}, std::string("nearest"));
  return std::make_unique<Upsample>(std::move(size), std::move(interpolation));
}

std::unique_ptr<Layer> make_frame(config::MapReader& options, const char* op, const char* key,
                                  std::size_t axes) {
  return std::make_unique<Frame>(op, read_sides(options, key, axes, {1}));
}

}  // namespace

std::unique_ptr<Layer> make_upsample1d(config::MapReader& options) {
  return make_upsample(options, 1);
}
std::unique_ptr<Layer> make_upsample2d(config::MapReader& options) {
  return make_upsample(options, 2);
}
std::unique_ptr<Layer> make_zero_pad1d(config::MapReader& options) {
  return make_frame(options, "pad2d", "padding", 1);
}
std::unique_ptr<Layer> make_zero_pad2d(config::MapReader& options) {
  return make_frame(options, "pad2d", "padding", 2);
}
std::unique_ptr<Layer> make_cropping1d(config::MapReader& options) {
  return make_frame(options, "crop2d", "cropping", 1);
}
std::unique_ptr<Layer> make_cropping2d(config::MapReader& options) {
  return make_frame(options, "crop2d", "cropping", 2);
}

}  // namespace dlt::nn
