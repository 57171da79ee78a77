// SPDX-License-Identifier: Apache-2.0
// conv1d, conv2d, depthwise_conv2d and conv2d_transpose.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "base/text.h"
#include "nn/activation.h"
#include "nn/registry.h"
#include "nn/window.h"

namespace dlt::nn {
namespace {

using autodiff::ValueId;
using tensor::Attrs;
using tensor::Shape;

constexpr std::int64_t kMaxFilters = 1 << 24;

struct ConvOptions {
  std::size_t axes = 2;
  std::int64_t filters = 0;
  std::int64_t depth_multiplier = 0;  // depthwise only: filters a channel, in place of filters
  std::vector<std::int64_t> size, strides, dilation, output_padding;
  Padding padding;
  std::int64_t groups = 1;
  Activation activation;
  bool use_bias = true;
  Init kernel_init, bias_init;
};

/// How windows lie along an axis of the larger image, the one that a convolution reads.
struct AxisWindows {
  std::int64_t length = 0;  // of that image
  Sides pads;
};

class ConvLayer : public Layer {
 public:
  explicit ConvLayer(ConvOptions options) : options_(std::move(options)) {}

 protected:
  /// Places that a kernel spans along an axis.
  [[nodiscard]] std::int64_t span(std::size_t axis) const {
    return (options_.size[axis] - 1) * options_.dilation[axis] + 1;
  }

  /// "kernel [3, 3], dilation [2, 2]"
  [[nodiscard]] std::string kernel_text() const {
    const auto list = [](const std::vector<std::int64_t>& values) {
      return Shape(std::span<const std::int64_t>(values)).text();
    };
    std::string text = cat("kernel ", list(options_.size));
    const bool spread = std::any_of(options_.dilation.begin(), options_.dilation.end(),
                                    [](std::int64_t step) { return step != 1; });
    if (spread) text += cat(", dilation ", list(options_.dilation));
    return text;
  }

  void expect_groups(const BuildContext& context, ValueId x) const {
    const std::int64_t channels = context.graph.shape(x).last();
    if (channels % options_.groups == 0) return;
    refuse_input(context, x,
                 cat("a number of channels that groups (", options_.groups, ") divides"));
  }

  /// The attributes of the op: those of the axes of an image, of which a sequence has the second.
  [[nodiscard]] Attrs attrs(const std::vector<AxisWindows>& windows, std::int64_t groups) const {
    static const char* const kAxes[] = {"_h", "_w"};
    static const char* const kBefore[] = {"pad_top", "pad_left"};
    static const char* const kBehind[] = {"pad_bottom", "pad_right"};
    Attrs result;
    if (groups != 1) result.set("groups", groups);
    for (std::size_t axis = 0; axis < options_.axes; ++axis) {
      const std::size_t at = axis + 2 - options_.axes;
      const auto set = [&](const std::string& name, std::int64_t value, std::int64_t fallback) {
        if (value != fallback) result.set(name, value);
      };
      set(cat("stride", kAxes[at]), options_.strides[axis], 1);
      set(cat("dilation", kAxes[at]), options_.dilation[axis], 1);
      set(kBefore[at], windows[axis].pads.before, 0);
      set(kBehind[at], windows[axis].pads.behind, 0);
    }
    return result;
  }

  /// The parameter `weight` [kernel..., a, b] as the op wants it.
  [[nodiscard]] ValueId weight(BuildContext& context, std::int64_t a, std::int64_t b,
                               std::int64_t fan_in, std::int64_t fan_out) const {
    std::vector<std::int64_t> dims = options_.size;
    std::int64_t taps = 1;
    for (const std::int64_t size : options_.size) taps *= size;
    dims.push_back(a);
    dims.push_back(b);
    Init init = options_.kernel_init;
    init.fan_in = static_cast<double>(taps * fan_in);
    init.fan_out = static_cast<double>(taps * fan_out);
    const ValueId value = context.param("weight", Shape(std::span<const std::int64_t>(dims)), init);
    if (options_.axes == 2) return value;
    dims.insert(dims.begin(), 1);
    return context.graph.add_one("reshape", {value}, {{"shape", dims}});
  }

  [[nodiscard]] ValueId finish(BuildContext& context, ValueId y, std::int64_t fan_in) const {
    if (options_.use_bias) {
      const std::int64_t filters = context.graph.shape(y).last();
      Init init = options_.bias_init;
      std::int64_t taps = 1;
      for (const std::int64_t size : options_.size) taps *= size;
      init.fan_in = static_cast<double>(taps * fan_in);
      init.fan_out = static_cast<double>(filters);
      y = context.graph.add_one("bias_add", {y, context.param("bias", {filters}, init)});
    }
    return apply_activation(context.graph, options_.activation, y);
  }

  ConvOptions options_;
};

/// activation(cross-correlation of x and weight + bias).
/// shapes  x [B, H, W, C] or [B, T, C], weight [kernel..., C / groups, filters], bias [filters]
class Conv final : public ConvLayer {
 public:
  using ConvLayer::ConvLayer;

  [[nodiscard]] ValueId build(BuildContext& context, ValueId x) const override {
    expect_places(context, x, options_.axes);
    autodiff::Graph& graph = context.graph;
    const std::int64_t channels = graph.shape(x).last();
    const bool depthwise = options_.depth_multiplier > 0;
    const std::int64_t groups = depthwise ? channels : options_.groups;
    const std::int64_t filters =
        depthwise ? channels * options_.depth_multiplier : options_.filters;
    if (!depthwise) expect_groups(context, x);
    const Attrs op = attrs(windows(context, x), groups);
    const std::int64_t fan_in = channels / groups;
    const std::int64_t fan_out = depthwise ? options_.depth_multiplier : filters;
    const ValueId kernel = weight(context, fan_in, filters, fan_in, fan_out);
    if (options_.axes == 2) {
      return finish(context, graph.add_one("conv2d", {x, kernel}, op), fan_in);
    }
    const std::int64_t length = graph.shape(x)[1];
    const ValueId y =
        finish(context, graph.add_one("conv2d", {as_image(graph, x), kernel}, op), fan_in);
    if (graph.shape(y)[2] != length) context.mask = {};
    return as_sequence(graph, y);
  }

 private:
  [[nodiscard]] std::vector<AxisWindows> windows(const BuildContext& context, ValueId x) const {
    std::vector<AxisWindows> result;
    for (std::size_t axis = 0; axis < options_.axes; ++axis) {
      const std::int64_t length = context.graph.shape(x)[1 + static_cast<int>(axis)];
      const Sides pads =
          padding_of(options_.padding, axis, length, span(axis), options_.strides[axis]);
      if (length + pads.before + pads.behind < span(axis)) {
        refuse_input(context, x,
                     cat("at least ", span(axis) - pads.before - pads.behind, " places along axis ",
                         axis, " (", kernel_text(), ")"),
                     "give a smaller kernel_size, or padding: same");
      }
      result.push_back({length, pads});
    }
    return result;
  }
};

/// The gradient of a convolution as a layer of its own: each input adds weight · x to the places
/// that a kernel over the output would read.
/// shapes  x [B, H, W, C], weight [kernel_h, kernel_w, filters / groups, C], bias [filters];
///         padding valid: stride · H + max(span - stride, 0), same: stride · H,
///         given: stride · (H - 1) + span - both sides + output_padding
class ConvTranspose final : public ConvLayer {
 public:
  using ConvLayer::ConvLayer;

  [[nodiscard]] ValueId build(BuildContext& context, ValueId x) const override {
    expect_places(context, x, options_.axes);
    expect_groups(context, x);
    autodiff::Graph& graph = context.graph;
    const std::int64_t channels = graph.shape(x).last();
    std::vector<AxisWindows> windows;
    for (std::size_t axis = 0; axis < options_.axes; ++axis) {
      windows.push_back(output_axis(context, x, axis));
    }
    Attrs op = attrs(windows, options_.groups);
    op.set("in_h", windows[0].length);
    op.set("in_w", windows[1].length);
    const std::int64_t fan_in = channels / options_.groups;
    const ValueId kernel =
        weight(context, options_.filters / options_.groups, channels, fan_in, options_.filters);
    return finish(context, graph.add_one("conv2d_input_grad", {x, kernel}, std::move(op)), fan_in);
  }

 private:
  [[nodiscard]] AxisWindows output_axis(const BuildContext& context, ValueId x,
                                        std::size_t axis) const {
    const std::int64_t length = context.graph.shape(x)[1 + static_cast<int>(axis)];
    const std::int64_t stride = options_.strides[axis];
    const std::int64_t more = std::max<std::int64_t>(span(axis) - stride, 0);
    switch (options_.padding.kind) {
      case PaddingKind::valid:
        return {stride * length + more, {}};
      case PaddingKind::same:
        return {stride * length, {more / 2, more - more / 2}};
      case PaddingKind::given:
        break;
    }
    const Sides pads{options_.padding.sides[2 * axis], options_.padding.sides[2 * axis + 1]};
    const std::int64_t result = stride * (length - 1) + span(axis) - pads.before - pads.behind +
                                options_.output_padding[axis];
    if (result < 1) {
      refuse_input(context, x,
                   cat("more places along axis ", axis, " (", kernel_text(), ", padding ",
                       pads.before, " and ", pads.behind, " leave ", result, ")"));
    }
    return {result, pads};
  }
};

void read_common(config::MapReader& options, ConvOptions& conv) {
  const std::vector<std::int64_t> ones(conv.axes, 1);
  conv.size = options.has("kernel_size")
                  ? read_axes(options, "kernel_size", conv.axes, ones)
                  : options.integers("kernel_size", {.min = 1});  // says that it is missing
  conv.size.resize(conv.axes, 1);
  conv.strides = read_axes(options, "strides", conv.axes, ones);
  conv.padding = read_padding(options, conv.axes);
  conv.dilation = read_axes(options, "dilation", conv.axes, ones);
  conv.activation = read_activation(options, "activation");
  conv.use_bias = options.boolean("use_bias", true);
  conv.kernel_init = read_init(options, "kernel_init", InitKind::glorot_uniform);
  conv.bias_init = read_init(options, "bias_init", InitKind::zeros);
}

void read_filters(config::MapReader& options, ConvOptions& conv) {
  conv.filters = options.integer("filters", {.min = 1, .max = kMaxFilters});
  conv.groups = options.integer("groups", {.min = 1, .max = kMaxFilters}, 1);
  if (conv.groups > 0 && conv.filters % conv.groups != 0) {
    options.error("groups", cat("expected a divisor of filters (", conv.filters, "), got '",
                                conv.groups, "'"));
  }
}

std::unique_ptr<Layer> make_conv(config::MapReader& options, std::size_t axes) {
  ConvOptions conv;
  conv.axes = axes;
  read_filters(options, conv);
  read_common(options, conv);
  return std::make_unique<Conv>(std::move(conv));
}

}  // namespace

std::unique_ptr<Layer> make_conv1d(config::MapReader& options) { return make_conv(options, 1); }
std::unique_ptr<Layer> make_conv2d(config::MapReader& options) { return make_conv(options, 2); }

std::unique_ptr<Layer> make_depthwise_conv2d(config::MapReader& options) {
  ConvOptions conv;
  conv.depth_multiplier = options.integer("depth_multiplier", {.min = 1, .max = 1 << 16}, 1);
  read_common(options, conv);
  return std::make_unique<Conv>(std::move(conv));
}

std::unique_ptr<Layer> make_conv2d_transpose(config::MapReader& options) {
  ConvOptions conv;
  read_filters(options, conv);
  read_common(options, conv);
  conv.output_padding =
      options.integers("output_padding", {.min = 0, .max = 1 << 20}, std::vector<std::int64_t>{0});
  if (conv.output_padding.size() == 1) conv.output_padding.resize(2, conv.output_padding[0]);
  if (conv.output_padding.size() != 2) {
    options.error("output_padding",
                  cat("expected 1 or 2 numbers, got ", conv.output_padding.size()));
    conv.output_padding.assign(2, 0);
  }
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (conv.output_padding[axis] == 0) continue;
    if (conv.padding.kind != PaddingKind::given) {
      options.error("output_padding", "expected only together with a padding in numbers",
                    "padding: valid and same say how large the output is");
      break;
    }
    if (conv.output_padding[axis] >= conv.strides[axis]) {
      options.error("output_padding", cat("expected less than the stride ", conv.strides[axis],
                                          ", got '", conv.output_padding[axis], "'"));
      break;
    }
  }
  return std::make_unique<ConvTranspose>(std::move(conv));
}

}  // namespace dlt::nn
