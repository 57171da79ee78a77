// SPDX-License-Identifier: Apache-2.0
#include "tensor/conv_geometry.h"

#include "base/error.h"
#include "base/text.h"

namespace dlt::tensor {
namespace {

constexpr std::int64_t kLargest = std::int64_t{1} << 20;  // of strides, dilations and paddings

std::int64_t attribute(const std::string& who, const Attrs& attrs, const char* name,
                       std::int64_t least) {
  const std::int64_t value = attrs.integer(name, least);
  if (value < least || value > kLargest) {
    throw Error(Exit::config,
                cat(who, ": ", name, " is ", value, "; want ", least, " to ", kLargest));
  }
  return value;
}

void check_channels(const std::string& who, const Shape& x, const Shape& weight,
                    std::int64_t groups) {
  const std::int64_t inputs = x[3], outputs = weight[3];
  if (groups < 1 || inputs % groups != 0 || outputs % groups != 0) {
    throw Error(Exit::config, cat(who, ": groups is ", groups, " for ", inputs, " channels in and ",
                                  outputs, " out; want a number that divides both"));
  }
  if (weight[2] * groups != inputs) {
    throw Error(Exit::config,
                cat(who, ": x is ", x.text(), ", weight is ", weight.text(), " with groups ",
                    groups, "; want weight.shape[2] == x.shape[3] / groups"));
  }
}

/// Positions of a kernel along one axis.
std::int64_t positions(const std::string& who, const char* axis, std::int64_t padded,
                       std::int64_t kernel, std::int64_t dilation, std::int64_t stride) {
  if (kernel < 1) throw Error(Exit::config, cat(who, ": the kernel has no ", axis));
  // Divided, not multiplied: kernel sizes come from users.
  if (padded < 1 || (kernel - 1) > (padded - 1) / dilation) {
    const std::string spread = dilation == 1 ? "" : cat(" with dilation ", dilation);
    throw Error(Exit::config, cat(who, ": the kernel's ", axis, " ", kernel, spread,
                                  " is larger than the padded input's ", padded));
  }
  return (padded - dilation * (kernel - 1) - 1) / stride + 1;
}

}  // namespace

ConvGeometry conv_geometry(const std::string& who, const Shape& x, const Shape& weight,
                           const Attrs& attrs) {
  DLT_CHECK(x.rank() == 4 && weight.rank() == 4, who);
  ConvGeometry g;
  g.batch = x[0];
  g.in_h = x[1];
  g.in_w = x[2];
  g.in_channels = x[3];
  g.kernel_h = weight[0];
  g.kernel_w = weight[1];
  g.out_channels = weight[3];
  g.stride_h = attribute(who, attrs, "stride_h", 1);
  g.stride_w = attribute(who, attrs, "stride_w", 1);
  g.dilation_h = attribute(who, attrs, "dilation_h", 1);
  g.dilation_w = attribute(who, attrs, "dilation_w", 1);
  g.pad_top = attribute(who, attrs, "pad_top", 0);
  g.pad_left = attribute(who, attrs, "pad_left", 0);
  g.pad_bottom = attribute(who, attrs, "pad_bottom", 0);
  g.pad_right = attribute(who, attrs, "pad_right", 0);
  g.groups = attribute(who, attrs, "groups", 1);
  check_channels(who, x, weight, g.groups);
  g.out_h = positions(who, "height", g.in_h + g.pad_top + g.pad_bottom, g.kernel_h, g.dilation_h,
                      g.stride_h);
  g.out_w = positions(who, "width", g.in_w + g.pad_left + g.pad_right, g.kernel_w, g.dilation_w,
                      g.stride_w);
  return g;
}

}  // namespace dlt::tensor
