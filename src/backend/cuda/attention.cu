// SPDX-License-Identifier: Apache-2.0
// attention: tiles of scores in shared memory, a running maximum and sum for each row.
// source  Dao et al. 2022, "FlashAttention", arXiv:2205.14135
#include <cmath>

#include "backend/cuda/attention.h"
#include "backend/cuda/attention_tiles.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/queue.h"

namespace dlt::cuda {
namespace {

/// Rows of queries and keys that a block holds at a time, for heads of up to kD numbers.
template <int kD>
struct AttentionTiles {
  static constexpr int kQueries = kD <= 128 ? 64 : 32, kKeys = kD <= 64 ? 64 : 32;
  static constexpr std::size_t kShared_bytes =
      sizeof(float) * (kQueries * kPitch<kD> + kKeys * kPitch<kD> + kQueries * kPitch<kKeys>);
};

struct Outputs {
  float* y = nullptr;    // [batch, length, heads, head_size]
  float* lse = nullptr;  // [batch, heads, length]
};

/// What a thread knows of its rows of queries.
template <int kD, int kR>
struct Rows {
  float largest[kR], total[kR], sums[kR][HeadColumns<kD>::kCount];

  __device__ Rows() {
#pragma unroll
    for (int i = 0; i < kR; ++i) {
      largest[i] = -INFINITY;
      total[i] = 0.0f;
#pragma unroll
      for (float& sum : sums[i]) sum = 0.0f;
    }
  }
  /// Row i's scores become probabilities (of a maximum that may still grow), in place.
  template <int kC>
  __device__ void absorb(int i, float (&scores)[kC]) {
    float most = largest[i];
#pragma unroll
    for (const float score : scores) most = fmaxf(most, score);
    most = row_max(most);
    const float shrink = most == -INFINITY ? 1.0f : expf(largest[i] - most);
    float sum = 0.0f;
#pragma unroll
    for (float& score : scores) {
      score = score == -INFINITY ? 0.0f : expf(score - most);
      sum += score;
    }
    largest[i] = most;
    total[i] = fmaf(total[i], shrink, row_sum(sum));
#pragma unroll
    for (float& x : sums[i]) x *= shrink;
  }
};

template <int kD, int kR>
__device__ void store_rows(const AttentionForm& form, const Rows<kD, kR>& rows,
                           std::int64_t first_query, const Outputs& out) {
  const std::int64_t b = blockIdx.z, h = blockIdx.y;
#pragma unroll
  for (int i = 0; i < kR; ++i) {
    const std::int64_t query = first_query + tile_row() * kR + i;
    if (query >= form.length) continue;
    float* y = out.y + ((b * form.length + query) * form.heads + h) * form.head_size;
#pragma unroll
    for (int v = 0; v < HeadColumns<kD>::kCount; ++v) {
      const int d = HeadColumns<kD>::at(v);
      if (d < form.head_size) y[d] = rows.total[i] == 0.0f ? 0.0f : rows.sums[i][v] / rows.total[i];
    }
    if (tile_lane() != 0) continue;
    out.lse[(b * form.heads + h) * form.length + query] = rows.largest[i] + logf(rows.total[i]);
  }
}

/// Block (tile of queries, head, sample).
template <int kD>
__global__ void __launch_bounds__(kTileThreads)
    attention_kernel(AttentionForm form, AttentionInputs in, Outputs out) {
  constexpr int kQueries = AttentionTiles<kD>::kQueries, kKeys = AttentionTiles<kD>::kKeys;
  constexpr int kR = kQueries / kSide, kC = kKeys / kSide;
  auto* const q_tile = dynamic_shared<float>();
  float* const kv_tile = q_tile + kQueries * kPitch<kD>;
  float* const p_tile = kv_tile + kKeys * kPitch<kD>;
  const AttentionHead head(form, in, blockIdx.z, blockIdx.y);
  const std::int64_t first_query = static_cast<std::int64_t>(blockIdx.x) * kQueries;
  const std::int64_t visible =
      form.causal && first_query + kQueries < form.length ? first_query + kQueries : form.length;
  const int size = static_cast<int>(form.head_size);
  load_tile<kD, kQueries, 1>(
      q_tile, {head.q + first_query * head.stride, head.stride, form.length - first_query, size});
  Rows<kD, kR> rows;
  for (std::int64_t first_key = 0; first_key < visible; first_key += kKeys) {
    __syncthreads();
    const std::int64_t keys = form.length - first_key;
    load_tile<kD, kKeys, kC>(kv_tile, {head.k + first_key * head.stride, head.stride, keys, size});
    __syncthreads();
    float p[kR][kC];
    dot_rows<kD, kR, kC>(p, q_tile, kv_tile);
    __syncthreads();
    load_tile<kD, kKeys, kC>(kv_tile, {head.v + first_key * head.stride, head.stride, keys, size});
#pragma unroll
    for (int i = 0; i < kR; ++i) {
      const std::int64_t query = first_query + tile_row() * kR + i;
      const std::int64_t key = first_key + tile_lane() * kC;
#pragma unroll
      for (int j = 0; j < kC; ++j) {
        p[i][j] = head.sees(form, query, key + j) ? p[i][j] * form.scale : -INFINITY;
      }
      rows.absorb(i, p[i]);
      if (form.threshold == 0) continue;
      float factors[kC];
      dropout_factors(form, head, query, key, factors);
#pragma unroll
      for (int j = 0; j < kC; ++j) p[i][j] *= factors[j];
    }
    store_scores<kR, kC>(p_tile, p);
    __syncthreads();
    add_weighted_rows<kD, kKeys, kR, kC>(rows.sums, p_tile, kv_tile);
  }
  store_rows<kD, kR>(form, rows, first_query, out);
}

class Attention final : public tensor::Kernel {
 public:
  explicit Attention(const AttentionForm& form) : form_(form) {}
  void run(const tensor::KernelArgs& args) const override {
    if (form_.head_size <= 32) return start<32>(args);
    if (form_.head_size <= 64) return start<64>(args);
    if (form_.head_size <= 128) return start<128>(args);
    start<256>(args);
  }

 private:
  template <int kD>
  void start(const tensor::KernelArgs& args) const {
    const auto tiles = static_cast<unsigned>((form_.length + AttentionTiles<kD>::kQueries - 1) /
                                             AttentionTiles<kD>::kQueries);
    launch(
        attention_kernel<kD>,
        {.blocks =
             dim3(tiles, static_cast<unsigned>(form_.heads), static_cast<unsigned>(form_.batch)),
         .threads = dim3(kTileThreads),
         .shared_bytes = AttentionTiles<kD>::kShared_bytes},
        stream_of(args), form_,
        AttentionInputs{.qkv = args.inputs[0].as<const float>(),
                        .mask = args.inputs.size() > 1 ? args.inputs[1].as<const float>() : nullptr,
                        .run = args.run.device},
        Outputs{args.outputs[0].as<float>(), args.outputs[1].as<float>()});
  }
  AttentionForm form_;
};

}  // namespace

std::optional<AttentionForm> attention_form(const tensor::KernelSpec& spec) {
  constexpr std::int64_t kMost = 65535;  // of a grid's second and third sizes
  const tensor::TensorType& qkv = spec.inputs[0];
  AttentionForm form{.batch = qkv.shape[0],
                     .length = qkv.shape[1],
                     .heads = spec.attrs.integer("heads", 1),
                     .op = static_cast<std::uint64_t>(spec.attrs.integer("op")),
                     .causal = spec.attrs.integer("causal") != 0};
  form.kv_heads = spec.attrs.integer("kv_heads", form.heads);
  form.head_size = qkv.shape[2] / (form.heads + 2 * form.kv_heads);
  form.row_draws = (form.length + 3) / 4 * 4;
  form.scale = 1.0f / std::sqrt(static_cast<float>(form.head_size));
  const double rate = spec.attrs.number("rate");
  form.threshold = static_cast<std::uint32_t>(std::ceil(std::ldexp(rate, 24)));
  form.keep_scale = static_cast<float>(1.0 / (1.0 - rate));
  const bool fits = form.head_size <= kMaxHeadSize && form.batch <= kMost && form.heads <= kMost;
  if (spec.outputs[0].dtype != DType::f32 || !fits || qkv.shape.numel() == 0) return std::nullopt;
  return form;
}

std::unique_ptr<tensor::Kernel> make_attention(const tensor::KernelSpec& spec,
                                               const DeviceLibraries&) {
  const std::optional<AttentionForm> form = attention_form(spec);
  return form ? std::make_unique<Attention>(*form) : nullptr;
}

}  // namespace dlt::cuda
