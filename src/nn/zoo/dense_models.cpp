// SPDX-License-Identifier: Apache-2.0
// mlp, lenet5, vgg11
#include "base/text.h"
#include "nn/zoo.h"

namespace dlt::nn {
namespace {

constexpr std::int64_t kMaxUnits = 1 << 20;

/// Images of at most this height come from small data sets (28, 32, 64 pixels).
constexpr std::int64_t kSmallImage = 64;

std::int64_t read_classes(config::MapReader& options, std::int64_t fallback) {
  return options.integer("classes", {.min = 1, .max = kMaxUnits}, fallback);
}

}  // namespace

/// Dense layers of `units` each, then `classes` outputs without an activation.
std::string zoo_mlp(config::MapReader& options, const tensor::Shape& input) {
  const std::vector<std::int64_t> units =
      options.integers("units", {.min = 1, .max = kMaxUnits}, std::vector<std::int64_t>{512, 512});
  const std::int64_t classes = read_classes(options, 10);
  const std::string activation =
      options.choice("activation", activation_names(), std::string("relu"));
  const double dropout = options.number("dropout", {.min = 0, .max = 1, .max_open = true}, 0.0);
  std::string out = input.rank() > 1 ? "- flatten\n" : "";
  for (const std::int64_t n : units) {
    out += cat("- dense: {units: ", n, ", activation: ", activation, "}\n");
    if (dropout > 0) out += cat("- dropout: {rate: ", dropout, "}\n");
  }
  return out + cat("- dense: {units: ", classes, "}\n");
}

/// source  LeCun et al. 1998, "Gradient-based learning applied to document recognition": the two
///         convolutions and three dense layers of LeNet-5, with ReLU and max pooling
std::string zoo_lenet5(config::MapReader& options, const tensor::Shape& input) {
  const std::int64_t classes = read_classes(options, 10);
  const bool small = input.rank() == 3 && input[0] < 32;  // the paper's images have 32 pixels
  return cat("- conv2d: {filters: 6, kernel_size: 5, padding: ", small ? "same" : "valid",
             ", activation: relu}\n"
             "- max_pool2d\n"
             "- conv2d: {filters: 16, kernel_size: 5, activation: relu}\n"
             "- max_pool2d\n"
             "- flatten\n"
             "- dense: {units: 120, activation: relu}\n"
             "- dense: {units: 84, activation: relu}\n"
             "- dense: {units: ",
             classes, "}\n");
}

/// source  Simonyan & Zisserman 2015, "Very deep convolutional networks", configuration A
std::string zoo_vgg11(config::MapReader& options, const tensor::Shape& input) {
  const bool small = input.rank() == 3 && input[0] <= kSmallImage;
  const std::int64_t classes = read_classes(options, 1000);
  const std::int64_t units =
      options.integer("dense_units", {.min = 1, .max = kMaxUnits}, small ? 512 : 4096);
  const double dropout = options.number("dropout", {.min = 0, .max = 1, .max_open = true}, 0.5);
  const bool batch_norm = options.boolean("batch_norm", false);
  std::string out;
  for (const std::int64_t filters : {64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0}) {
    if (filters == 0) {
      out += "- max_pool2d\n";
    } else if (batch_norm) {
      out += cat("- conv2d: {filters: ", filters,
                 ", kernel_size: 3, padding: same, use_bias: false, kernel_init: he_normal}\n"
                 "- batch_norm\n- relu\n");
    } else {
      out += cat("- conv2d: {filters: ", filters,
                 ", kernel_size: 3, padding: same, activation: relu, kernel_init: he_normal}\n");
    }
  }
  out += "- flatten\n";
  for (int i = 0; i < 2; ++i) {
    out += cat("- dense: {units: ", units, ", activation: relu}\n");
    if (dropout > 0) out += cat("- dropout: {rate: ", dropout, "}\n");
  }
  return out + cat("- dense: {units: ", classes, "}\n");
}

}  // namespace dlt::nn
