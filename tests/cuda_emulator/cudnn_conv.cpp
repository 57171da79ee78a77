// SPDX-License-Identifier: Apache-2.0
// libcudnn: convolutions of two spatial dimensions, as products with the unfolded image.
#include <algorithm>

#include "cuda_emulator/arithmetic.h"
#include "cuda_emulator/cudnn_tensor.h"

namespace dlt::emulator {
namespace {

struct Names {
  cudnnBackendAttributeName_t movement, x, w, y, alpha, beta;
};

Names names_of(const CudnnDescriptor& operation) {
  if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
    return {CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
  }
  if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
    return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
            CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
  }
  return {CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

struct Conv {
  explicit Conv(const CudnnDescriptor& operation);
  [[nodiscard]] std::int64_t group_in() const { return w.sizes[1]; }
  [[nodiscard]] std::int64_t groups() const { return x.sizes[1] / group_in(); }
  [[nodiscard]] std::int64_t group_out() const { return w.sizes[0] / groups(); }
  [[nodiscard]] std::int64_t taps() const { return group_in() * w.sizes[2] * w.sizes[3]; }
  [[nodiscard]] std::int64_t places() const { return y.sizes[2] * y.sizes[3]; }
  [[nodiscard]] std::int64_t pixels() const { return x.sizes[2] * x.sizes[3]; }
  /// visit(tap, place, index into one group's image) of every tap that does not fall on padding.
  template <typename Visit>
  void for_each(const Visit& visit) const;
  /// One group's image as [taps, places].
  [[nodiscard]] std::vector<float> unfold(const float* image) const;

  Names names;
  CudnnTensor x, w, y;
  std::vector<std::int64_t> strides, dilations, before, after;
  cudnnConvolutionMode_t mode;
  cudnnDataType_t compute;
};

Conv::Conv(const CudnnDescriptor& operation)
    : names(names_of(operation)),
      x(*operation.child(names.x)),
      w(*operation.child(names.w)),
      y(*operation.child(names.y)) {
  const CudnnDescriptor& movement = *operation.child(names.movement);
  strides = movement.get_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES);
  dilations = movement.get_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_DILATIONS);
  before = movement.get_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS);
  after = movement.get_all<std::int64_t>(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS);
  mode = movement.get<cudnnConvolutionMode_t>(CUDNN_ATTR_CONVOLUTION_CONV_MODE);
  compute = movement.get<cudnnDataType_t>(CUDNN_ATTR_CONVOLUTION_COMP_TYPE);
}

template <typename Visit>
void Conv::for_each(const Visit& visit) const {
  const std::int64_t kernel_h = w.sizes[2], kernel_w = w.sizes[3];
  for (std::int64_t tap = 0; tap < taps(); ++tap) {
    const std::int64_t c = tap / (kernel_h * kernel_w), kh = tap / kernel_w % kernel_h,
                       kw = tap % kernel_w;
    for (std::int64_t place = 0; place < places(); ++place) {
      const std::int64_t row = place / y.sizes[3] * strides[0] - before[0] + kh * dilations[0];
      const std::int64_t column = place % y.sizes[3] * strides[1] - before[1] + kw * dilations[1];
      if (row < 0 || row >= x.sizes[2] || column < 0 || column >= x.sizes[3]) continue;
      visit(tap, place, c * pixels() + row * x.sizes[3] + column);
    }
  }
}

std::vector<float> Conv::unfold(const float* image) const {
  std::vector<float> columns(static_cast<std::size_t>(taps() * places()));
  for_each([&](std::int64_t tap, std::int64_t place, std::int64_t at) {
    columns[static_cast<std::size_t>(tap * places() + place)] = image[at];
  });
  return columns;
}

std::vector<float> transposed(const float* data, std::int64_t rows, std::int64_t columns) {
  std::vector<float> out(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t c = 0; c < columns; ++c)
      out[static_cast<std::size_t>(c * rows + r)] = data[r * columns + c];
  }
  return out;
}

/// For each image of the batch and each group: where its part of x, w and y begins.
template <typename Visit>
void for_each_group(const Conv& conv, const Visit& visit) {
  for (std::int64_t n = 0; n < conv.x.sizes[0]; ++n) {
    for (std::int64_t g = 0; g < conv.groups(); ++g) {
      const std::int64_t x_at = (n * conv.x.sizes[1] + g * conv.group_in()) * conv.pixels();
      const std::int64_t w_at = g * conv.group_out() * conv.taps();
      const std::int64_t y_at = (n * conv.y.sizes[1] + g * conv.group_out()) * conv.places();
      visit(x_at, w_at, y_at);
    }
  }
}

std::vector<float> forward(const Conv& conv, const std::vector<float>& x,
                           const std::vector<float>& w) {
  std::vector<float> y(static_cast<std::size_t>(conv.y.numel()));
  for_each_group(conv, [&](std::int64_t x_at, std::int64_t w_at, std::int64_t y_at) {
    const std::vector<float> columns = conv.unfold(x.data() + x_at);
    multiply({conv.group_out(), conv.places(), conv.taps()}, w.data() + w_at, columns.data(),
             y.data() + y_at);
  });
  return y;
}

std::vector<float> backward_data(const Conv& conv, const std::vector<float>& w,
                                 const std::vector<float>& dy) {
  std::vector<float> dx(static_cast<std::size_t>(conv.x.numel()));
  std::vector<float> columns(static_cast<std::size_t>(conv.taps() * conv.places()));
  for_each_group(conv, [&](std::int64_t x_at, std::int64_t w_at, std::int64_t y_at) {
    const std::vector<float> turned = transposed(w.data() + w_at, conv.group_out(), conv.taps());
    multiply({conv.taps(), conv.places(), conv.group_out()}, turned.data(), dy.data() + y_at,
             columns.data());
    conv.for_each([&](std::int64_t tap, std::int64_t place, std::int64_t at) {
      dx[static_cast<std::size_t>(x_at + at)] +=
          columns[static_cast<std::size_t>(tap * conv.places() + place)];
    });
  });
  return dx;
}

std::vector<float> backward_filter(const Conv& conv, const std::vector<float>& x,
                                   const std::vector<float>& dy) {
  std::vector<float> dw(static_cast<std::size_t>(conv.w.numel()));
  std::vector<float> part(static_cast<std::size_t>(conv.group_out() * conv.taps()));
  for_each_group(conv, [&](std::int64_t x_at, std::int64_t w_at, std::int64_t y_at) {
    const std::vector<float> columns = conv.unfold(x.data() + x_at);
    const std::vector<float> turned = transposed(columns.data(), conv.taps(), conv.places());
    multiply({conv.group_out(), conv.taps(), conv.places()}, dy.data() + y_at, turned.data(),
             part.data());
    for (std::size_t i = 0; i < part.size(); ++i) dw[static_cast<std::size_t>(w_at) + i] += part[i];
  });
  return dw;
}

}  // namespace

cudnnStatus_t check_convolution(const CudnnDescriptor& operation) {
  const Conv conv(operation);
  if (conv.x.sizes.size() != 4 || conv.w.sizes.size() != 4 || conv.y.sizes.size() != 4 ||
      conv.strides.size() != 2 || conv.dilations.size() != 2 || conv.before.size() != 2 ||
      conv.after.size() != 2) {
    return CUDNN_STATUS_NOT_SUPPORTED_SHAPE;
  }
  if (conv.compute != CUDNN_DATA_FLOAT || conv.mode != CUDNN_CROSS_CORRELATION)
    return CUDNN_STATUS_NOT_SUPPORTED;
  if (conv.before != conv.after) return CUDNN_STATUS_NOT_SUPPORTED_PADDING;
  if (conv.x.sizes[1] % conv.group_in() != 0 || conv.w.sizes[0] % conv.groups() != 0 ||
      conv.x.sizes[0] != conv.y.sizes[0] || conv.w.sizes[0] != conv.y.sizes[1]) {
    return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
  }
  for (std::size_t d = 0; d < 2; ++d) {
    const std::int64_t span = conv.dilations[d] * (conv.w.sizes[2 + d] - 1) + 1;
    const std::int64_t out =
        (conv.x.sizes[2 + d] + 2 * conv.before[d] - span) / conv.strides[d] + 1;
    if (out != conv.y.sizes[2 + d]) return CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH;
  }
  return CUDNN_STATUS_SUCCESS;
}

void run_convolution(const CudnnDescriptor& operation, CudnnMemory& memory) {
  const Conv conv(operation);
  const CudnnTensor* to = &conv.y;
  std::vector<float> values;
  if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR) {
    values = forward(conv, memory.read_operand(conv.x), memory.read_operand(conv.w));
  } else if (operation.type == CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR) {
    values = backward_data(conv, memory.read_operand(conv.w), memory.read_operand(conv.y));
    to = &conv.x;
  } else {
    values = backward_filter(conv, memory.read_operand(conv.x), memory.read_operand(conv.y));
    to = &conv.w;
  }
  const float alpha = operation.get_factor(conv.names.alpha, 1.0f);
  const float beta = operation.get_factor(conv.names.beta, 0.0f);
  for (float& value : values) value *= alpha;
  if (beta != 0.0f) {
    const std::vector<float> old = memory.read(*to);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] += beta * old[i];
  }
  memory.write(*to, std::move(values));
}

}  // namespace dlt::emulator
