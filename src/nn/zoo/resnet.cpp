// SPDX-License-Identifier: Apache-2.0
// resnet18, resnet34, resnet50
// source  He et al. 2016, "Deep Residual Learning for Image Recognition", table 1; the stride of a
//         bottleneck is that of its 3x3 convolution, as in torchvision
#include <array>

#include "base/text.h"
#include "nn/zoo.h"

namespace dlt::nn {
namespace {

constexpr std::int64_t kSmallInput = 64;

/// "{conv2d: {...}}, {batch_norm: {}}"
std::string conv_norm(std::int64_t filters, std::int64_t kernel, std::int64_t strides) {
  return cat("{conv2d: {filters: ", filters, ", kernel_size: ", kernel, ", strides: ", strides,
             ", padding: ", kernel / 2 > 0 ? cat("[", kernel / 2, ", ", kernel / 2, "]") : "valid",
             ", use_bias: false, kernel_init: he_normal}}, {batch_norm: {}}");
}

std::string block(const std::string& layers, const std::string& shortcut) {
  return cat("- residual: {activation: relu, layers: [", layers, "]",
             shortcut.empty() ? "" : cat(", shortcut: [", shortcut, "]"), "}\n");
}

struct Design {
  std::array<int, 4> blocks;
  bool bottleneck = false;
};

std::string resnet(config::MapReader& options, const tensor::Shape& input, const Design& design) {
  const std::int64_t classes = options.integer("classes", {.min = 1, .max = 1 << 20}, 1000);
  const std::string stem = options.choice("stem", {"auto", "large", "small"}, std::string("auto"));
  const bool small =
      stem == "small" || (stem == "auto" && input.rank() == 3 && input[0] <= kSmallInput);
  std::string out = cat("- ", conv_norm(64, small ? 3 : 7, small ? 1 : 2));
  out.replace(out.find("}}, {batch_norm"), 4, "}}\n- ");
  out += "\n- relu\n";
  if (!small) out += "- max_pool2d: {pool_size: 3, strides: 2, padding: [1, 1]}\n";
  std::int64_t width = 64, channels = 64;
  for (std::size_t stage = 0; stage < design.blocks.size(); ++stage, width *= 2) {
    const std::int64_t wide = design.bottleneck ? 4 * width : width;
    for (int i = 0; i < design.blocks[stage]; ++i) {
      const std::int64_t strides = i == 0 && stage > 0 ? 2 : 1;
      const std::string layers =
          design.bottleneck ? cat(conv_norm(width, 1, 1), ", relu, ", conv_norm(width, 3, strides),
                                  ", relu, ", conv_norm(wide, 1, 1))
                            : cat(conv_norm(width, 3, strides), ", relu, ", conv_norm(width, 3, 1));
      const bool changes = strides != 1 || channels != wide;
      out += block(layers, changes ? conv_norm(wide, 1, strides) : "");
      channels = wide;
    }
  }
  return out + cat("- global_avg_pool2d\n- dense: {units: ", classes, "}\n");
}

}  // namespace

std::string zoo_resnet18(config::MapReader& options, const tensor::Shape& input) {
  return resnet(options, input, {.blocks = {2, 2, 2, 2}});
}

std::string zoo_resnet34(config::MapReader& options, const tensor::Shape& input) {
  return resnet(options, input, {.blocks = {3, 4, 6, 3}});
}

std::string zoo_resnet50(config::MapReader& options, const tensor::Shape& input) {
  return resnet(options, input, {.blocks = {3, 4, 6, 3}, .bottleneck = true});
}

}  // namespace dlt::nn
