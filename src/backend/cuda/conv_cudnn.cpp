// SPDX-License-Identifier: Apache-2.0
// Convolutions by cuDNN. Its filters are [channels out, kernel_h, kernel_w, channels in / groups],
// the transpose of ours as a matrix of taps and channels in by channels out.
#include <array>
#include <string>
#include <vector>

#include "backend/cuda/conv_spec.h"
#include "backend/cuda/cudnn_plans.h"
#include "backend/cuda/narrow.h"
#include "backend/cuda/queue.h"
#include "base/error.h"
#include "base/text.h"
#include "tensor/storage.h"

namespace dlt::cuda {
namespace {

constexpr std::int64_t kMaxWorkspace_bytes = std::int64_t{512} << 20;
/// What cudaMalloc gives, and so what the library may expect of its workspace.
constexpr std::int64_t kWorkspaceAlignment_bytes = 256;
enum Id : std::int64_t { kX = 1, kWeight = 2, kY = 3 };

/// How operands that attribute precision rounds are held.
enum class Held : std::uint8_t { in_16_bits, in_f32 };

cudnnDataType_t operand_type(const ConvSpec& spec, Held held) {
  if (held == Held::in_f32) return CUDNN_DATA_FLOAT;
  return spec.precision == Precision::bf16 ? CUDNN_DATA_BFLOAT16 : CUDNN_DATA_HALF;
}

/// Sizes n, c, h, w of a tensor whose memory is n, h, w, c.
Descriptor channels_last(Id id, cudnnDataType_t type, const std::array<std::int64_t, 4>& sizes) {
  const auto [n, c, h, w] = sizes;
  const std::array<std::int64_t, 4> strides{h * w * c, 1, w * c, c};
  return make_tensor({.id = id, .type = type, .sizes = sizes, .strides = strides});
}

Descriptor movement(const tensor::ConvGeometry& g) {
  Descriptor conv(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const auto pair = [&](cudnnBackendAttributeName_t name, std::int64_t h, std::int64_t w) {
    const std::array<std::int64_t, 2> values{h, w};
    conv.set(name, CUDNN_TYPE_INT64, std::span<const std::int64_t>(values));
  };
  conv.set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_TYPE_DATA_TYPE, CUDNN_DATA_FLOAT);
  conv.set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, CUDNN_CROSS_CORRELATION);
  conv.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, CUDNN_TYPE_INT64, std::int64_t{2});
  pair(CUDNN_ATTR_CONVOLUTION_DILATIONS, g.dilation_h, g.dilation_w);
  pair(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, g.stride_h, g.stride_w);
  pair(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, g.pad_top, g.pad_left);
  pair(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, g.pad_bottom, g.pad_right);
  conv.finalize();
  return conv;
}

/// The names that cuDNN has for the same things in each direction.
struct OperationNames {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t movement, x, weight, y, alpha, beta;
};

OperationNames names_of(ConvDirection direction) {
  switch (direction) {
    case ConvDirection::forward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvDirection::input_grad:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvDirection::weight_grad:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
  }
  check_failed(__FILE__, __LINE__, "direction", "unknown");
}

/// cuDNN pads both ends of an axis alike: else the image that it sees has its padding in memory.
bool has_padding_in_memory(const tensor::ConvGeometry& g) {
  return g.pad_top != g.pad_bottom || g.pad_left != g.pad_right;
}

/// The convolution as cuDNN sees it.
ConvSpec library_spec(ConvSpec spec) {
  tensor::ConvGeometry& g = spec.g;
  if (!has_padding_in_memory(g)) return spec;
  g.in_h += g.pad_top + g.pad_bottom;
  g.in_w += g.pad_left + g.pad_right;
  g.pad_top = g.pad_bottom = g.pad_left = g.pad_right = 0;
  return spec;
}

/// The graph of one operation; its descriptors, the operation last.
std::vector<Descriptor> graph_of(const ConvSpec& spec, Held held) {
  const tensor::ConvGeometry& g = spec.g;
  const cudnnDataType_t narrow = operand_type(spec, held);
  const auto type = [&](ConvDirection result) {  // of the tensor that is the result there
    return spec.direction == result ? CUDNN_DATA_FLOAT : narrow;
  };
  std::vector<Descriptor> parts;
  parts.push_back(
      channels_last(kX, type(ConvDirection::input_grad), {g.batch, g.in_channels, g.in_h, g.in_w}));
  parts.push_back(channels_last(kWeight, type(ConvDirection::weight_grad),
                                {g.out_channels, g.group_in(), g.kernel_h, g.kernel_w}));
  parts.push_back(
      channels_last(kY, type(ConvDirection::forward), {g.batch, g.out_channels, g.out_h, g.out_w}));
  parts.push_back(movement(g));
  const OperationNames names = names_of(spec.direction);
  Descriptor operation(names.type);
  operation.set(names.x, parts[0]);
  operation.set(names.weight, parts[1]);
  operation.set(names.y, parts[2]);
  operation.set(names.movement, parts[3]);
  operation.set(names.alpha, CUDNN_TYPE_FLOAT, 1.0f);
  operation.set(names.beta, CUDNN_TYPE_FLOAT, 0.0f);
  operation.finalize();
  parts.push_back(std::move(operation));
  return parts;
}

std::string key_of(const ConvSpec& s, Held held) {
  const tensor::ConvGeometry& g = s.g;
  return cat("conv ", static_cast<int>(s.direction), " ", static_cast<int>(s.precision), " ",
             static_cast<int>(held), " x ", g.input().text(), " w ", g.weight().text(), " y ",
             g.output().text(), " stride ", g.stride_h, " ", g.stride_w, " dilation ", g.dilation_h,
             " ", g.dilation_w, " pads ", g.pad_top, " ", g.pad_left, " ", g.pad_bottom, " ",
             g.pad_right);
}

std::shared_ptr<const GraphPlan> find_plan(const ConvSpec& spec, Held held,
                                           const DeviceLibraries& libraries) {
  // Numbers of 16 bits are numbers of tf32, so there tensor cores round nothing more.
  const EngineRules rules{.tensor_cores = spec.precision != Precision::f32,
                          .max_workspace_bytes = kMaxWorkspace_bytes};
  return libraries.cudnn_plans().get(key_of(spec, held), [&](cudnnHandle_t handle) {
    std::vector<Descriptor> parts = graph_of(spec, held);
    const std::size_t operation = parts.size() - 1;
    return GraphPlan::find(handle, std::move(parts), operation, rules);
  });
}

/// Scratch: the library's workspace, then copies of both operands, then the weights' gradient as
/// the library has it.
class ConvByCudnn final : public tensor::Kernel {
 public:
  ConvByCudnn(const ConvSpec& spec, Held held, std::shared_ptr<const GraphPlan> plan,
              const DeviceLibraries& libraries)
      : spec_(spec),
        seen_(library_spec(spec).g),
        pads_(has_padding_in_memory(spec.g)),
        held_(held),
        plan_(std::move(plan)),
        plans_(libraries.cudnn_plans()) {
    workspace_bytes_ = tensor::aligned(plan_->workspace_bytes());
    if (workspace_bytes_ > 0) workspace_bytes_ += kWorkspaceAlignment_bytes;
    const bool copies = is_narrow(spec_.precision);
    if (copies) y_bytes_ = tensor::aligned(seen_.output().numel() * element_bytes());
    if (copies || pads_) x_bytes_ = tensor::aligned(seen_.input().numel() * element_bytes());
    weight_bytes_ = tensor::aligned(seen_.weight().numel() * element_bytes());
  }

  [[nodiscard]] std::int64_t scratch_bytes() const override {
    switch (spec_.direction) {
      case ConvDirection::forward:
        return workspace_bytes_ + weight_bytes_ + x_bytes_;
      case ConvDirection::input_grad:
        return workspace_bytes_ + weight_bytes_ + y_bytes_ +
               (pads_ ? tensor::aligned(4 * seen_.input().numel()) : 0);
      case ConvDirection::weight_grad:
        return workspace_bytes_ + tensor::aligned(4 * spec_.g.weight().numel()) + x_bytes_ +
               y_bytes_;
    }
    return 0;
  }
  [[nodiscard]] std::int64_t kept_bytes() const override {
    return spec_.weight_is_param ? weight_bytes_ : 0;
  }
  void run(const tensor::KernelArgs& args) const override {
    switch (spec_.direction) {
      case ConvDirection::forward:
        return forward(args);
      case ConvDirection::input_grad:
        return input_grad(args);
      case ConvDirection::weight_grad:
        return weight_grad(args);
    }
  }

 private:
  [[nodiscard]] std::int64_t element_bytes() const { return held_ == Held::in_16_bits ? 2 : 4; }
  /// The images as the library takes them: as they are, or a copy.
  [[nodiscard]] const void* image(const tensor::View& view, std::byte* copy,
                                  cudaStream_t stream) const {
    if (!is_narrow(spec_.precision)) return view.data;
    const std::int64_t numel = view.numel();
    narrow(NarrowCopy{.from = view.as<const float>(),
                      .to = copy,
                      .rows = 1,
                      .columns = numel,
                      .from_stride = numel,
                      .to_stride = numel,
                      .precision = spec_.precision,
                      .in_f32 = held_ == Held::in_f32},
           stream);
    return copy;
  }
  /// The same for x, whose padding may have to be in memory.
  [[nodiscard]] const void* input(const tensor::View& x, std::byte* copy,
                                  cudaStream_t stream) const {
    if (!pads_) return image(x, copy, stream);
    narrow(NarrowFrame{.from = x.as<const float>(),
                       .to = copy,
                       .batch = seen_.batch,
                       .channels = seen_.in_channels,
                       .from_h = spec_.g.in_h,
                       .from_w = spec_.g.in_w,
                       .to_h = seen_.in_h,
                       .to_w = seen_.in_w,
                       .first_h = -spec_.g.pad_top,
                       .first_w = -spec_.g.pad_left,
                       .precision = spec_.precision,
                       .in_f32 = held_ == Held::in_f32},
           stream);
    return copy;
  }
  [[nodiscard]] const void* weight(const tensor::KernelArgs& args) const {
    std::byte* copy = args.scratch + workspace_bytes_;
    if (spec_.weight_is_param && args.kept != nullptr) {
      copy = args.kept;
      if (args.kept_valid) return copy;
    }
    narrow(NarrowTranspose{.from = args.inputs[1].as<const float>(),
                           .to = copy,
                           .rows = spec_.taps() * spec_.g.group_in(),
                           .columns = spec_.g.out_channels,
                           .precision = spec_.precision,
                           .in_f32 = held_ == Held::in_f32},
           stream_of(args));
    return copy;
  }
  struct Tensors {
    const void *x, *weight, *y;
  };
  void convolve(const Tensors& t, const tensor::KernelArgs& args) const {
    const std::array<Binding, 3> bindings{{{kX, t.x}, {kWeight, t.weight}, {kY, t.y}}};
    const auto past = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(args.scratch) %
                                                kWorkspaceAlignment_bytes);
    std::byte* const workspace = args.scratch + (past == 0 ? 0 : kWorkspaceAlignment_bytes - past);
    plans_.run(*plan_, bindings, plan_->workspace_bytes() > 0 ? workspace : nullptr,
               stream_of(args));
  }
  void forward(const tensor::KernelArgs& args) const {
    std::byte* const copy = args.scratch + workspace_bytes_ + weight_bytes_;
    float* y = args.outputs[0].as<float>();
    convolve({input(args.inputs[0], copy, stream_of(args)), weight(args), y}, args);
    activate({.y = y,
              .bias = args.inputs.size() > 2 ? args.inputs[2].as<const float>() : nullptr,
              .rows = spec_.g.batch * spec_.g.out_h * spec_.g.out_w,
              .columns = spec_.g.out_channels,
              .activation = spec_.activation,
              .alpha = spec_.alpha},
             stream_of(args));
  }
  void input_grad(const tensor::KernelArgs& args) const {
    std::byte* const copy = args.scratch + workspace_bytes_ + weight_bytes_;
    const void* dy = image(args.inputs[0], copy, stream_of(args));
    if (!pads_) return convolve({args.outputs[0].data, weight(args), dy}, args);
    std::byte* const padded = copy + y_bytes_;
    convolve({padded, weight(args), dy}, args);
    narrow(NarrowFrame{.from = reinterpret_cast<const float*>(padded),
                       .to = args.outputs[0].data,
                       .batch = seen_.batch,
                       .channels = seen_.in_channels,
                       .from_h = seen_.in_h,
                       .from_w = seen_.in_w,
                       .to_h = spec_.g.in_h,
                       .to_w = spec_.g.in_w,
                       .first_h = spec_.g.pad_top,
                       .first_w = spec_.g.pad_left},
           stream_of(args));
  }
  void weight_grad(const tensor::KernelArgs& args) const {
    std::byte* const turned = args.scratch + workspace_bytes_;
    std::byte* const x_copy = turned + tensor::aligned(4 * spec_.g.weight().numel());
    const void* x = input(args.inputs[0], x_copy, stream_of(args));
    const void* dy = image(args.inputs[1], x_copy + x_bytes_, stream_of(args));
    convolve({x, turned, dy}, args);
    narrow(NarrowTranspose{.from = reinterpret_cast<const float*>(turned),
                           .to = args.outputs[0].data,
                           .rows = spec_.g.out_channels,
                           .columns = spec_.taps() * spec_.g.group_in()},
           stream_of(args));
  }

  ConvSpec spec_;
  tensor::ConvGeometry seen_;  // by the library
  bool pads_;
  Held held_;
  std::shared_ptr<const GraphPlan> plan_;
  CudnnPlans& plans_;
  std::int64_t workspace_bytes_ = 0, x_bytes_ = 0, y_bytes_ = 0, weight_bytes_ = 0;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_conv_by_cudnn(const ConvSpec& spec,
                                                   const DeviceLibraries& libraries) {
  for (const Held held : {Held::in_16_bits, Held::in_f32}) {
    if (held == Held::in_16_bits && !is_narrow(spec.precision)) continue;
    if (auto plan = find_plan(library_spec(spec), held, libraries)) {
      return std::make_unique<ConvByCudnn>(spec, held, std::move(plan), libraries);
    }
  }
  return nullptr;
}

}  // namespace dlt::cuda
