// SPDX-License-Identifier: Apache-2.0
// Sums of squares in f64, and lars_measure and lamb_measure, which make two of them. A block of
// threads adds up one range, in an order that depends on its length alone.
#include <algorithm>
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/elements.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/rows.h"
#include "backend/cuda/update_gradient.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

__device__ inline double square(float x) { return static_cast<double>(x) * static_cast<double>(x); }

/// Of x[0, count), to every thread of the block.
__device__ double sum_of_squares(const float* x, std::int64_t count) {
  const bool aligned = reinterpret_cast<std::uintptr_t>(x) % sizeof(float4) == 0;
  double sum = 0;
  each_number<Block>(x, Row(0, count), aligned, [&](std::int64_t, float v) { sum += square(v); });
  return Block::sum(sum);
}

__global__ void __launch_bounds__(kThreads)
    sum_of_squares_kernel(const float* x, std::int64_t count, double* out) {
  const double sum = sum_of_squares(x, count);
  if (threadIdx.x == 0) *out = sum;
}

__global__ void __launch_bounds__(kThreads)
    sum_of_squares_blocks_kernel(const float* x, const std::int64_t* ranges, std::int64_t count,
                                 double* out) {
  for (std::int64_t i = blockIdx.x; i < count; i += gridDim.x) {
    const std::int64_t begin = ranges[2 * i], end = ranges[2 * i + 1];
    const double sum = sum_of_squares(x + begin, end - begin);
    if (threadIdx.x == 0) out[i] = sum;
  }
}

struct MeasureCall {
  const float* grads;
  const float* params;
  float *m, *v;  // lamb
  std::int64_t count;
  double* out;  // sums of squares of the parameters and of what the optimiser would add
  bool aligned;
  Scalars scalars;
};

/// scalars  beta1, beta2, eps, weight decay, 1 - beta1^t, 1 - beta2^t
struct LambMeasure {
  Gradient gradient;
  LambMove move;
  float beta1, rest1, beta2, rest2;
  __device__ explicit LambMeasure(const double* s)
      : gradient(s),
        move(s),
        beta1(f32(s[5])),
        rest1(f32(1.0 - s[5])),
        beta2(f32(s[6])),
        rest2(f32(1.0 - s[6])) {}
  __device__ float update(float grad, float p, float& m, float& v) const {
    const float g = gradient(grad, p);
    m = fmaf(beta1, m, rest1 * g);
    v = fmaf(beta2, v, rest2 * (g * g));
    return move(p, m, v);
  }
};

struct LarsMeasure {
  Gradient gradient;
  __device__ explicit LarsMeasure(const double* s) : gradient(s) {}
  __device__ float update(float grad, float p, float&, float&) const { return gradient(grad, p); }
};

template <typename Measure>
__global__ void __launch_bounds__(kThreads) measure_kernel(MeasureCall c) {
  double scalars[Scalars::kMax];
  c.scalars.read(scalars);
  const Measure measure(scalars);
  double of_params = 0, of_update = 0;
  const std::int64_t groups = (c.count + 3) / 4;
  for (std::int64_t g = threadIdx.x; g < groups; g += kThreads) {
    const Four grads = load_four(c.grads, g, c.count, c.aligned);
    const Four params = load_four(c.params, g, c.count, c.aligned);
    Four m{}, v{};
    if (c.m != nullptr) {
      m = load_four(c.m, g, c.count, c.aligned);
      v = load_four(c.v, g, c.count, c.aligned);
    }
    for (int u = 0; u < 4; ++u) {
      const float update = measure.update(grads.x[u], params.x[u], m.x[u], v.x[u]);
      if (4 * g + u >= c.count) continue;
      of_params += square(params.x[u]);
      of_update += square(update);
    }
    if (c.m != nullptr) {
      store_four(c.m, m, g, c.count, c.aligned);
      store_four(c.v, v, g, c.count, c.aligned);
    }
  }
  of_params = Block::sum(of_params);
  of_update = Block::sum(of_update);
  if (threadIdx.x == 0) {
    c.out[0] = of_params;
    c.out[1] = of_update;
  }
}

constexpr Grid one_block() { return {.blocks = dim3(1), .threads = dim3(kThreads)}; }

class SumOfSquares final : public tensor::Kernel {
 public:
  void run(const tensor::KernelArgs& args) const override {
    launch(sum_of_squares_kernel, one_block(), stream_of(args), args.inputs[0].as<const float>(),
           args.inputs[0].numel(), args.outputs[0].as<double>());
  }
};

class SumOfSquaresBlocks final : public tensor::Kernel {
 public:
  explicit SumOfSquaresBlocks(const DeviceLibraries& libraries) : libraries_(&libraries) {}
  void run(const tensor::KernelArgs& args) const override {
    const std::int64_t count = args.outputs[0].numel();
    if (count == 0) return;
    launch(sum_of_squares_blocks_kernel, grid_of(count * kThreads, *libraries_), stream_of(args),
           args.inputs[0].as<const float>(), args.inputs[1].as<const std::int64_t>(), count,
           args.outputs[0].as<double>());
  }

 private:
  const DeviceLibraries* libraries_;
};

/// outputs  params (read), f64 [2]; lamb: params (read), m, v, f64 [2]
class MeasureKernel final : public tensor::Kernel {
 public:
  explicit MeasureKernel(void (*kernel)(MeasureCall)) : kernel_(kernel) {}
  void run(const tensor::KernelArgs& args) const override {
    MeasureCall call{};
    call.grads = args.inputs[0].as<const float>();
    call.params = args.outputs[0].as<const float>();
    call.count = args.inputs[0].numel();
    call.out = args.outputs.back().as<double>();
    call.aligned = is_aligned(call.grads) && is_aligned(call.params);
    if (args.outputs.size() > 2) {
      call.m = args.outputs[1].as<float>();
      call.v = args.outputs[2].as<float>();
      call.aligned = call.aligned && is_aligned(call.m) && is_aligned(call.v);
    }
    call.scalars = Scalars(args.run);
    launch(kernel_, one_block(), stream_of(args), call);
  }

 private:
  void (*kernel_)(MeasureCall);
};

std::unique_ptr<tensor::Kernel> make_measure(void (*kernel)(MeasureCall),
                                             const tensor::KernelSpec& spec) {
  tensor::SpecForm form;
  if (!tensor::forms::flat_measure(spec, form)) return nullptr;
  return std::make_unique<MeasureKernel>(kernel);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_sum_of_squares(const tensor::KernelSpec& spec,
                                                    const DeviceLibraries&) {
  tensor::SpecForm form;
  if (!tensor::forms::flat_sum(spec, form)) return nullptr;
  return std::make_unique<SumOfSquares>();
}

/// inputs   x f32 [n], ranges i64 [k, 2]: begin and end of each in x     outputs  f64 [k]
/// The same bits as sum_of_squares of each range.
std::unique_ptr<tensor::Kernel> make_sum_of_squares_blocks(const tensor::KernelSpec& spec,
                                                           const DeviceLibraries& libraries) {
  if (spec.inputs[0].dtype != DType::f32 || spec.inputs[1].dtype != DType::i64 ||
      spec.outputs[0].dtype != DType::f64) {
    return nullptr;
  }
  return std::make_unique<SumOfSquaresBlocks>(libraries);
}

std::unique_ptr<tensor::Kernel> make_lamb_measure(const tensor::KernelSpec& spec,
                                                  const DeviceLibraries&) {
  return make_measure(measure_kernel<LambMeasure>, spec);
}
std::unique_ptr<tensor::Kernel> make_lars_measure(const tensor::KernelSpec& spec,
                                                  const DeviceLibraries&) {
  return make_measure(measure_kernel<LarsMeasure>, spec);
}

}  // namespace dlt::cuda
