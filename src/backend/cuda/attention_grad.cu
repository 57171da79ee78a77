// SPDX-License-Identifier: Apache-2.0
// attention_grad: the probabilities are computed again from the log-sum-exp of their rows, once for
// the gradient of the queries (a block for each tile of queries) and once for those of keys and
// values (a block for each tile of keys), so that no two blocks add to the same number.
#include "backend/cuda/attention.h"
#include "backend/cuda/attention_tiles.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"
#include "backend/cuda/reduce.h"

namespace dlt::cuda {
namespace {

/// Rows of the tile that gets a gradient, and of the one that it is summed over.
template <int kD>
struct GradTiles {
  static constexpr int kOwn = kD <= 64 ? 64 : kD <= 128 ? 32 : 16;
  static constexpr int kOther = kD <= 128 ? 32 : 16;
  static constexpr int kR = kOwn / kSide, kC = kOther / kSide;
  static constexpr int kOwnFloats = kOwn * kPitch<kD>, kOtherFloats = kOther * kPitch<kD>;
  static constexpr int kScoreFloats = kOwn * kPitch<kOther>;
  static constexpr std::size_t kShared_bytes =
      sizeof(float) * (2 * kOwnFloats + 2 * kOtherFloats + 2 * kScoreFloats);
};

struct Grad {
  AttentionForm form;
  AttentionInputs in;
  const float *y, *lse, *dy;  // y, dy [batch, length, heads, head_size]
  float* dot;                 // [batch, heads, length]: of a row of dy with that of y
  float* dqkv;                // as qkv
};

/// One warp a row.
__global__ void dot_kernel(Grad g) {
  const AttentionForm& form = g.form;
  const std::int64_t rows = form.batch * form.length * form.heads;
  const std::int64_t row =
      (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) / kWarp;
  const int lane = static_cast<int>(threadIdx.x) % kWarp;
  if (row >= rows) return;
  const float* y = g.y + row * form.head_size;
  const float* dy = g.dy + row * form.head_size;
  float sum = 0.0f;
  for (std::int64_t d = lane; d < form.head_size; d += kWarp) sum = fmaf(y[d], dy[d], sum);
  for (int lanes = kWarp / 2; lanes > 0; lanes /= 2) {
    sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  }
  if (lane != 0) return;
  const std::int64_t h = row % form.heads, query = row / form.heads % form.length;
  const std::int64_t b = row / form.heads / form.length;
  g.dot[(b * form.heads + h) * form.length + query] = sum;
}

/// Head h of sample b with what belongs to its rows of queries.
struct GradHead {
  AttentionHead head;
  const float *dy, *lse, *dot;
  std::int64_t stride;  // of dy

  __device__ GradHead(const Grad& g, std::int64_t b, std::int64_t h)
      : head(g.form, g.in, b, h),
        dy(g.dy + (b * g.form.length * g.form.heads + h) * g.form.head_size),
        lse(g.lse + (b * g.form.heads + h) * g.form.length),
        dot(g.dot + (b * g.form.heads + h) * g.form.length),
        stride(g.form.heads * g.form.head_size) {}

  [[nodiscard]] __device__ HeadRows rows(const AttentionForm& form, const float* all,
                                         std::int64_t first) const {
    return {all + first * head.stride, head.stride, form.length - first,
            static_cast<int>(form.head_size)};
  }
  [[nodiscard]] __device__ HeadRows dy_rows(const AttentionForm& form, std::int64_t first) const {
    return {dy + first * stride, stride, form.length - first, static_cast<int>(form.head_size)};
  }
};

/// A score q·k and the product dy·v become the probability after dropout and the gradient of the
/// score.
struct Pair {
  float score, product;
};
__device__ inline Pair differentiate(const AttentionForm& form, const GradHead& head, Pair pair,
                                     std::int64_t query, std::int64_t key, float factor) {
  if (!head.head.sees(form, query, key)) return {0.0f, 0.0f};
  const float p = expf(pair.score * form.scale - head.lse[query]);
  return {p * factor, p * (factor * pair.product - head.dot[query])};
}

/// dropout_factors(), or ones.
template <int kCount>
__device__ void fill_factors(const AttentionForm& form, const AttentionHead& head, std::int64_t i,
                             std::int64_t j, float (&factors)[kCount]) {
#pragma unroll
  for (float& factor : factors) factor = 1.0f;
  if (form.threshold != 0) dropout_factors(form, head, i, j, factors);
}

/// Rows of a gradient, times factor.
template <int kD, int kR>
__device__ void store_grad_rows(const AttentionForm& form,
                                const float (&sums)[kR][HeadColumns<kD>::kCount], float factor,
                                std::int64_t first, float* to) {
  const std::int64_t stride = (form.heads + 2 * form.kv_heads) * form.head_size;
#pragma unroll
  for (int i = 0; i < kR; ++i) {
    const std::int64_t row = first + tile_row() * kR + i;
    if (row >= form.length) continue;
#pragma unroll
    for (int v = 0; v < HeadColumns<kD>::kCount; ++v) {
      const int d = HeadColumns<kD>::at(v);
      if (d < form.head_size) to[row * stride + d] = factor * sums[i][v];
    }
  }
}

template <int kR, int kN>
__device__ void clear(float (&sums)[kR][kN]) {
#pragma unroll
  for (auto& row : sums) {
#pragma unroll
    for (float& sum : row) sum = 0.0f;
  }
}

/// Block (tile of queries, head, sample).
template <int kD>
__global__ void __launch_bounds__(kTileThreads) query_grad_kernel(Grad g) {
  using T = GradTiles<kD>;
  const AttentionForm& form = g.form;
  auto* const q_tile = dynamic_shared<float>();
  float* const dy_tile = q_tile + T::kOwnFloats;
  float* const k_tile = dy_tile + T::kOwnFloats;
  float* const v_tile = k_tile + T::kOtherFloats;
  float* const score_tile = v_tile + T::kOtherFloats;
  const std::int64_t b = blockIdx.z, h = blockIdx.y;
  const GradHead head(g, b, h);
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * T::kOwn;
  load_tile<kD, T::kOwn, 1>(q_tile, head.rows(form, head.head.q, first));
  load_tile<kD, T::kOwn, 1>(dy_tile, head.dy_rows(form, first));
  float sums[T::kR][HeadColumns<kD>::kCount];
  clear(sums);
  const std::int64_t visible =
      form.causal && first + T::kOwn < form.length ? first + T::kOwn : form.length;
  for (std::int64_t key0 = 0; key0 < visible; key0 += T::kOther) {
    __syncthreads();
    load_tile<kD, T::kOther, T::kC>(k_tile, head.rows(form, head.head.k, key0));
    load_tile<kD, T::kOther, T::kC>(v_tile, head.rows(form, head.head.v, key0));
    __syncthreads();
    float score[T::kR][T::kC], product[T::kR][T::kC];
    dot_rows<kD, T::kR, T::kC>(score, q_tile, k_tile);
    dot_rows<kD, T::kR, T::kC>(product, dy_tile, v_tile);
#pragma unroll
    for (int i = 0; i < T::kR; ++i) {
      const std::int64_t query = first + tile_row() * T::kR + i;
      const std::int64_t key = key0 + tile_lane() * T::kC;
      float factors[T::kC];
      fill_factors(form, head.head, query, key, factors);
#pragma unroll
      for (int j = 0; j < T::kC; ++j) {
        const Pair pair{score[i][j], product[i][j]};
        score[i][j] = differentiate(form, head, pair, query, key + j, factors[j]).product;
      }
    }
    store_scores<T::kR, T::kC>(score_tile, score);
    __syncthreads();
    add_weighted_rows<kD, T::kOther, T::kR, T::kC>(sums, score_tile, k_tile);
  }
  float* const dq = g.dqkv + b * form.length * head.head.stride + h * form.head_size;
  store_grad_rows<kD, T::kR>(form, sums, form.scale, first, dq);
}

/// Block (tile of keys, head of keys and values, sample): over all heads of queries that read them.
/// Rows of the scores are keys here, and columns queries.
template <int kD>
__global__ void __launch_bounds__(kTileThreads) key_grad_kernel(Grad g) {
  using T = GradTiles<kD>;
  const AttentionForm& form = g.form;
  auto* const k_tile = dynamic_shared<float>();
  float* const v_tile = k_tile + T::kOwnFloats;
  float* const q_tile = v_tile + T::kOwnFloats;
  float* const dy_tile = q_tile + T::kOtherFloats;
  float* const p_tile = dy_tile + T::kOtherFloats;
  float* const score_tile = p_tile + T::kScoreFloats;
  const std::int64_t b = blockIdx.z, kv = blockIdx.y, readers = form.heads / form.kv_heads;
  const std::int64_t first = static_cast<std::int64_t>(blockIdx.x) * T::kOwn;
  float dk[T::kR][HeadColumns<kD>::kCount], dv[T::kR][HeadColumns<kD>::kCount];
  clear(dk);
  clear(dv);
  const std::int64_t first_query = form.causal ? first / T::kOther * T::kOther : 0;
  for (std::int64_t h = kv * readers; h < (kv + 1) * readers; ++h) {
    const GradHead head(g, b, h);
    if (h == kv * readers) {
      load_tile<kD, T::kOwn, 1>(k_tile, head.rows(form, head.head.k, first));
      load_tile<kD, T::kOwn, 1>(v_tile, head.rows(form, head.head.v, first));
    }
    for (std::int64_t query0 = first_query; query0 < form.length; query0 += T::kOther) {
      __syncthreads();
      load_tile<kD, T::kOther, T::kC>(q_tile, head.rows(form, head.head.q, query0));
      load_tile<kD, T::kOther, T::kC>(dy_tile, head.dy_rows(form, query0));
      __syncthreads();
      float score[T::kR][T::kC], product[T::kR][T::kC];
      dot_rows<kD, T::kR, T::kC>(score, k_tile, q_tile);
      dot_rows<kD, T::kR, T::kC>(product, v_tile, dy_tile);
#pragma unroll
      for (int j = 0; j < T::kC; ++j) {
        const std::int64_t query = query0 + tile_lane() * T::kC + j;
        const std::int64_t key = first + tile_row() * T::kR;
        float factors[T::kR];
        fill_factors(form, head.head, query, key, factors);
#pragma unroll
        for (int i = 0; i < T::kR; ++i) {
          const Pair pair =
              differentiate(form, head, {score[i][j], product[i][j]}, query, key + i, factors[i]);
          score[i][j] = pair.product;
          product[i][j] = pair.score;
        }
      }
      store_scores<T::kR, T::kC>(score_tile, score);
      store_scores<T::kR, T::kC>(p_tile, product);
      __syncthreads();
      add_weighted_rows<kD, T::kOther, T::kR, T::kC>(dk, score_tile, q_tile);
      add_weighted_rows<kD, T::kOther, T::kR, T::kC>(dv, p_tile, dy_tile);
    }
  }
  float* const sample =
      g.dqkv + b * form.length * (form.heads + 2 * form.kv_heads) * form.head_size;
  store_grad_rows<kD, T::kR>(form, dk, form.scale, first,
                             sample + (form.heads + kv) * form.head_size);
  store_grad_rows<kD, T::kR>(form, dv, 1.0f, first,
                             sample + (form.heads + form.kv_heads + kv) * form.head_size);
}

class AttentionGrad final : public tensor::Kernel {
 public:
  explicit AttentionGrad(const AttentionForm& form) : form_(form) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override {
    return static_cast<std::int64_t>(sizeof(float)) * form_.batch * form_.heads * form_.length;
  }
  void run(const tensor::KernelArgs& args) const override {
    const auto input = [&](std::size_t i) { return args.inputs[i].as<const float>(); };
    const Grad grad{.form = form_,
                    .in = {.qkv = input(0),
                           .mask = args.inputs.size() > 4 ? input(4) : nullptr,
                           .run = args.run.device},
                    .y = input(1),
                    .lse = input(2),
                    .dy = input(3),
                    .dot = reinterpret_cast<float*>(args.scratch),
                    .dqkv = args.outputs[0].as<float>()};
    constexpr std::int64_t kRowsEach = kTileThreads / kWarp;
    const std::int64_t rows = form_.batch * form_.length * form_.heads;
    launch(dot_kernel,
           {.blocks = dim3(static_cast<unsigned>((rows + kRowsEach - 1) / kRowsEach)),
            .threads = dim3(kTileThreads)},
           stream_of(args), grad);
    if (form_.head_size <= 32) return start<32>(grad, stream_of(args));
    if (form_.head_size <= 64) return start<64>(grad, stream_of(args));
    if (form_.head_size <= 128) return start<128>(grad, stream_of(args));
    start<256>(grad, stream_of(args));
  }

 private:
  template <int kD>
  void start(const Grad& grad, cudaStream_t stream) const {
    using T = GradTiles<kD>;
    const auto tiles = static_cast<unsigned>((form_.length + T::kOwn - 1) / T::kOwn);
    const auto grid = [&](std::int64_t heads) {
      return Grid{
          .blocks = dim3(tiles, static_cast<unsigned>(heads), static_cast<unsigned>(form_.batch)),
          .threads = dim3(kTileThreads),
          .shared_bytes = T::kShared_bytes};
    };
    launch(query_grad_kernel<kD>, grid(form_.heads), stream, grad);
    launch(key_grad_kernel<kD>, grid(form_.kv_heads), stream, grad);
  }
  AttentionForm form_;
};

}  // namespace

std::unique_ptr<tensor::Kernel> make_attention_grad(const tensor::KernelSpec& spec,
                                                    const DeviceLibraries&) {
  const std::optional<AttentionForm> form = attention_form(spec);
  return form ? std::make_unique<AttentionGrad>(*form) : nullptr;
}

}  // namespace dlt::cuda
