// SPDX-License-Identifier: Apache-2.0
// layer_norm, add_layer_norm, rms_norm and their derivatives. Rows of up to 1,024 numbers stay in
// the registers of one warp; longer ones are a block's, and are read again.
#include <cstdint>
#include <memory>

#include "backend/cuda/columns.h"
#include "backend/cuda/each_element.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/reduce.h"
#include "backend/cuda/row_quads.h"

namespace dlt::cuda {
namespace {

using tensor::Kernel;
using tensor::KernelArgs;
using tensor::KernelSpec;
using tensor::Shape;

constexpr int kWarpsPerBlock = 8;
constexpr int kLongRowThreads = 256;
constexpr std::int64_t kMostInRegisters = 1024;
constexpr std::int64_t kMostBlocks = 1 << 20;

/// The norm of each row of x, or of a + b.
struct RowNorm {
  const float *a = nullptr, *b = nullptr, *gamma = nullptr, *beta = nullptr;
  float *sum = nullptr, *y = nullptr, *mean = nullptr, *inv_std = nullptr;
  std::int64_t rows = 0, n = 0;
  float eps = 0;
  bool aligned = false;
};

template <bool kCentered>
__device__ void store_moments(const RowNorm& p, std::int64_t row, float mean, float inv_std) {
  if (kCentered) p.mean[row] = mean;
  p.inv_std[row] = inv_std;
}

template <int kQuads, bool kCentered, bool kAdd>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarp) norm_rows(RowNorm p) {
  const auto size = static_cast<float>(p.n);
  const RowQuads<kQuads> quads(p.n, p.aligned);
  for (std::int64_t row = quads.first_row(); row < p.rows; row += quads.row_step()) {
    float v[4 * kQuads];
    quads.load(p.a + row * p.n, v);
    if constexpr (kAdd) {
      quads.each_of(p.b + row * p.n, [&](int i, float b) { v[i] += b; });
      quads.store(v, p.sum + row * p.n);
    }
    float total = 0, squares = 0;
    if (kCentered) quads.each([&](int i, std::int64_t) { total += v[i]; });
    const float mean = kCentered ? warp_sum(total) / size : 0.0F;
    quads.each([&](int i, std::int64_t) { squares += (v[i] - mean) * (v[i] - mean); });
    const float inv_std = 1.0F / sqrtf(warp_sum(squares) / size + p.eps);
    quads.each_of(p.gamma, [&](int i, float gamma) { v[i] = (v[i] - mean) * inv_std * gamma; });
    if (kCentered) quads.each_of(p.beta, [&](int i, float beta) { v[i] += beta; });
    quads.store(v, p.y + row * p.n);
    if (quads.lane() == 0) store_moments<kCentered>(p, row, mean, inv_std);
  }
}

template <bool kCentered, bool kAdd>
__global__ void __launch_bounds__(kLongRowThreads) norm_long_rows(RowNorm p) {
  __shared__ double shared[kLongRowThreads / kWarp];
  const auto size = static_cast<double>(p.n);
  for (std::int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const std::int64_t start = row * p.n;
    const float* x = (kAdd ? p.sum : p.a) + start;
    double total = 0, squares = 0;
    for (std::int64_t j = threadIdx.x; j < p.n; j += kLongRowThreads) {
      const float v = kAdd ? p.a[start + j] + p.b[start + j] : x[j];
      if (kAdd) p.sum[start + j] = v;
      total += static_cast<double>(v);
    }
    const auto mean = static_cast<float>(kCentered ? block_sum(total, shared) / size : 0.0);
    for (std::int64_t j = threadIdx.x; j < p.n; j += kLongRowThreads) {
      squares += static_cast<double>((x[j] - mean) * (x[j] - mean));
    }
    const float variance = static_cast<float>(block_sum(squares, shared) / size);
    const float inv_std = 1.0F / sqrtf(variance + p.eps);
    for (std::int64_t j = threadIdx.x; j < p.n; j += kLongRowThreads) {
      const float v = (x[j] - mean) * inv_std * p.gamma[j];
      p.y[start + j] = kCentered ? v + p.beta[j] : v;
    }
    if (threadIdx.x == 0) store_moments<kCentered>(p, row, mean, inv_std);
  }
}

template <int kQuads, bool kCentered, bool kAdd>
void launch_short(const RowNorm& p, cudaStream_t stream) {
  const std::int64_t blocks = std::min(kMostBlocks, (p.rows + kWarpsPerBlock - 1) / kWarpsPerBlock);
  launch(norm_rows<kQuads, kCentered, kAdd>,
         {.blocks = dim3(static_cast<unsigned>(blocks)), .threads = dim3(kWarpsPerBlock * kWarp)},
         stream, p);
}

template <bool kCentered, bool kAdd>
void launch_norm(const RowNorm& p, cudaStream_t stream) {
  if (p.n <= 128) return launch_short<1, kCentered, kAdd>(p, stream);
  if (p.n <= 384) return launch_short<3, kCentered, kAdd>(p, stream);
  if (p.n <= 768) return launch_short<6, kCentered, kAdd>(p, stream);
  if (p.n <= kMostInRegisters) return launch_short<8, kCentered, kAdd>(p, stream);
  launch(norm_long_rows<kCentered, kAdd>,
         {.blocks = dim3(static_cast<unsigned>(std::min(kMostBlocks, p.rows))),
          .threads = dim3(kLongRowThreads)},
         stream, p);
}

template <bool kCentered, bool kAdd>
class RowNormKernel final : public Kernel {
 public:
  explicit RowNormKernel(const KernelSpec& spec) {
    const Shape& x = spec.inputs[0].shape;
    plan_.rows = x.rows();
    plan_.n = x.last();
    plan_.eps = static_cast<float>(spec.attrs.number("eps", 1e-5));
  }
  void run(const KernelArgs& args) const override {
    RowNorm p = plan_;
    p.a = args.inputs[0].as<const float>();
    if (kAdd) p.b = args.inputs[1].as<const float>();
    constexpr std::size_t kGamma = kAdd ? 2 : 1, kY = kAdd ? 1 : 0;
    p.gamma = args.inputs[kGamma].as<const float>();
    if (kCentered) p.beta = args.inputs[kGamma + 1].as<const float>();
    if (kAdd) p.sum = args.outputs[0].as<float>();
    p.y = args.outputs[kY].as<float>();
    if (kCentered) p.mean = args.outputs[kY + 1].as<float>();
    p.inv_std = args.outputs[kY + (kCentered ? 2 : 1)].as<float>();
    p.aligned = may_use_quads(p.n, {p.a, p.b, p.gamma, p.beta, p.sum, p.y});
    launch_norm<kCentered, kAdd>(p, stream_of(args));
  }

 private:
  RowNorm plan_;
};

/// dx = inv_std (g - mean(g) - x̂ mean(g x̂)) + past with g = gamma dy, and the sums over rows.
struct RowGrad {
  const float *x = nullptr, *dy = nullptr, *gamma = nullptr, *mean = nullptr, *inv_std = nullptr,
              *past = nullptr;
  float *dx = nullptr, *dgamma = nullptr, *dbeta = nullptr;
  FloatSums* parts = nullptr;  // [blocks, n]
  std::int64_t rows = 0, n = 0;
  bool aligned = false;

  // As an operation on columns.
  using Part = Sums;
  __device__ Sums part(const ColumnRows& columns) const {
    SumsOfRows sums;
    struct Numbers {
      float normal, dy;
    };
    over_rows(
        columns,
        [&](std::int64_t row) {
          const std::int64_t i = row * n + columns.channel;
          return Numbers{(x[i] - (mean == nullptr ? 0.0F : mean[row])) * inv_std[row], dy[i]};
        },
        [&](std::int64_t, const Numbers& at) { sums.add(at.dy * at.normal, at.dy); },
        [&] { sums.flush(); });
    return sums.total();
  }
  __device__ void finish(std::int64_t channel, const Sums& sums) const {
    dgamma[channel] = static_cast<float>(sums.a);
    if (dbeta != nullptr) dbeta[channel] = static_cast<float>(sums.b);
  }
};

/// Adds what the warps of a block have, in their order, and stores it as the block's part.
template <int kQuads>
__device__ void store_part(const RowGrad& p, const RowQuads<kQuads>& quads, const float* dgamma,
                           const float* dbeta) {
  auto* sums = dynamic_shared<FloatSums>();
  for (unsigned warp = 0; warp < kWarpsPerBlock; ++warp) {
    if (threadIdx.x / kWarp == warp) {
      quads.each([&](int i, std::int64_t j) {
        const FloatSums before = warp == 0 ? FloatSums{0.0F, 0.0F} : sums[j];
        sums[j] = FloatSums{before.a + dgamma[i], before.b + dbeta[i]};
      });
    }
    __syncthreads();
  }
  for (std::int64_t j = threadIdx.x; j < p.n; j += kWarpsPerBlock * kWarp) {
    p.parts[static_cast<std::int64_t>(blockIdx.x) * p.n + j] = sums[j];
  }
}

template <int kQuads, bool kCentered>
__global__ void __launch_bounds__(kWarpsPerBlock* kWarp) grad_of_rows(RowGrad p) {
  const RowQuads<kQuads> quads(p.n, p.aligned);
  const float share = 1.0F / static_cast<float>(p.n);
  float dgamma[4 * kQuads] = {}, dbeta[4 * kQuads] = {};
  for (std::int64_t row = quads.first_row(); row < p.rows; row += quads.row_step()) {
    float normal[4 * kQuads], g[4 * kQuads];
    quads.load(p.x + row * p.n, normal);
    quads.load(p.dy + row * p.n, g);
    const float mean = kCentered ? p.mean[row] : 0.0F, inv_std = p.inv_std[row];
    float sum = 0, product = 0;
    quads.each_of(p.gamma, [&](int i, float gamma) {
      normal[i] = (normal[i] - mean) * inv_std;
      dgamma[i] += g[i] * normal[i];
      dbeta[i] += g[i];
      g[i] *= gamma;
      sum += g[i];
      product += g[i] * normal[i];
    });
    const float shift = kCentered ? warp_sum(sum) * share : 0.0F;
    const float slope = warp_sum(product) * share;
    quads.each([&](int i, std::int64_t) { g[i] = inv_std * (g[i] - shift - normal[i] * slope); });
    if (p.past != nullptr) {
      quads.each_of(p.past + row * p.n, [&](int i, float past) { g[i] += past; });
    }
    quads.store(g, p.dx + row * p.n);
  }
  store_part(p, quads, dgamma, dbeta);
}

template <bool kCentered>
__global__ void __launch_bounds__(kLongRowThreads) grad_of_long_rows(RowGrad p) {
  __shared__ double shared[kLongRowThreads / kWarp];
  const double share = 1.0 / static_cast<double>(p.n);
  for (std::int64_t row = blockIdx.x; row < p.rows; row += gridDim.x) {
    const std::int64_t start = row * p.n;
    const float mean = kCentered ? p.mean[row] : 0.0F, inv_std = p.inv_std[row];
    double sum = 0, product = 0;
    for (std::int64_t j = threadIdx.x; j < p.n; j += kLongRowThreads) {
      const float g = p.gamma[j] * p.dy[start + j];
      sum += static_cast<double>(g);
      product += static_cast<double>(g * ((p.x[start + j] - mean) * inv_std));
    }
    const auto shift = static_cast<float>(kCentered ? block_sum(sum, shared) * share : 0.0);
    const auto slope = static_cast<float>(block_sum(product, shared) * share);
    for (std::int64_t j = threadIdx.x; j < p.n; j += kLongRowThreads) {
      const float normal = (p.x[start + j] - mean) * inv_std;
      const float g = inv_std * (p.gamma[j] * p.dy[start + j] - shift - normal * slope);
      p.dx[start + j] = p.past == nullptr ? g : g + p.past[start + j];
    }
  }
}

template <bool kCentered>
class RowGradKernel final : public Kernel {
 public:
  explicit RowGradKernel(const KernelSpec& spec)
      : columns_(spec.inputs[0].shape.rows(), spec.inputs[0].shape.last()) {
    constexpr std::int64_t kBlocks = 264;  // each keeps its sums over many rows
    blocks_ = std::min(kBlocks, (columns_.rows + kWarpsPerBlock - 1) / kWarpsPerBlock);
  }
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    if (!in_registers()) return column_scratch_bytes<RowGrad>(columns_);
    return blocks_ * columns_.channels * static_cast<std::int64_t>(sizeof(FloatSums));
  }
  void run(const KernelArgs& args) const override {
    RowGrad p;
    constexpr std::size_t kInv = kCentered ? 4 : 3;
    p.x = args.inputs[0].as<const float>();
    p.dy = args.inputs[1].as<const float>();
    p.gamma = args.inputs[2].as<const float>();
    if (kCentered) p.mean = args.inputs[3].as<const float>();
    p.inv_std = args.inputs[kInv].as<const float>();
    if (args.inputs.size() > kInv + 1) p.past = args.inputs[kInv + 1].as<const float>();
    p.dx = args.outputs[0].as<float>();
    p.dgamma = args.outputs[1].as<float>();
    if (kCentered) p.dbeta = args.outputs[2].as<float>();
    p.rows = columns_.rows;
    p.n = columns_.channels;
    if (!in_registers()) {  // the sums first: dx may lie over x
      reduce_columns(columns_, p, args.scratch, stream_of(args));
      launch(grad_of_long_rows<kCentered>,
             {.blocks = dim3(static_cast<unsigned>(std::min(kMostBlocks, p.rows))),
              .threads = dim3(kLongRowThreads)},
             stream_of(args), p);
      return;
    }
    p.aligned = may_use_quads(p.n, {p.x, p.dy, p.gamma, p.past, p.dx});
    p.parts = reinterpret_cast<FloatSums*>(args.scratch);
    launch_in_registers(p, stream_of(args));
    finish_parts<RowGrad, FloatSums>(columns_, blocks_, p, p.parts, stream_of(args));
  }

 private:
  [[nodiscard]] bool in_registers() const { return columns_.channels <= kMostInRegisters; }
  void launch_in_registers(const RowGrad& p, cudaStream_t stream) const {
    const Grid grid{.blocks = dim3(static_cast<unsigned>(blocks_)),
                    .threads = dim3(kWarpsPerBlock * kWarp),
                    .shared_bytes = static_cast<std::size_t>(p.n) * sizeof(FloatSums)};
    if (p.n <= 128) return launch(grad_of_rows<1, kCentered>, grid, stream, p);
    if (p.n <= 384) return launch(grad_of_rows<3, kCentered>, grid, stream, p);
    if (p.n <= 768) return launch(grad_of_rows<6, kCentered>, grid, stream, p);
    launch(grad_of_rows<8, kCentered>, grid, stream, p);
  }

  ColumnGrid columns_;
  std::int64_t blocks_ = 1;
};

}  // namespace

std::unique_ptr<Kernel> make_layer_norm(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<RowNormKernel<true, false>>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_add_layer_norm(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<RowNormKernel<true, true>>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_rms_norm(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<RowNormKernel<false, false>>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_layer_norm_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<RowGradKernel<true>>(spec) : nullptr;
}
std::unique_ptr<Kernel> make_rms_norm_grad(const KernelSpec& spec, const DeviceLibraries&) {
  return floats_are_f32(spec) ? std::make_unique<RowGradKernel<false>>(spec) : nullptr;
}

}  // namespace dlt::cuda
