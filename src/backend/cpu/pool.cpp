// SPDX-License-Identifier: Apache-2.0
// Pooling over windows, channels side by side in vectors.
#include "backend/cpu/pool.h"

#include "backend/cpu/groups.h"

namespace dlt::cpu::DLT_ISA {
namespace {

#ifdef __AVX512F__
DLT_INLINE vi load_bytes(const std::uint8_t* p, std::int64_t count) {
  const auto lanes = static_cast<__mmask16>(count >= kLanes ? 0xffffu : (1u << count) - 1u);
  return reinterpret_cast<vi>(_mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(lanes, p)));
}
DLT_INLINE void store_bytes(std::uint8_t* p, vi v, std::int64_t count) {
  const auto lanes = static_cast<__mmask16>(count >= kLanes ? 0xffffu : (1u << count) - 1u);
  _mm512_mask_cvtepi32_storeu_epi8(p, lanes, reinterpret_cast<__m512i>(v));
}
#else
DLT_INLINE vi load_bytes(const std::uint8_t* p, std::int64_t count) {
  std::int64_t packed = 0;
  if (count >= kLanes) {
    __builtin_memcpy(&packed, p, 8);
  } else {
    for (std::int64_t i = 0; i < count; ++i) packed |= static_cast<std::int64_t>(p[i]) << (8 * i);
  }
  return reinterpret_cast<vi>(_mm256_cvtepu8_epi32(_mm_cvtsi64_si128(packed)));
}
DLT_INLINE void store_bytes(std::uint8_t* p, vi v, std::int64_t count) {
  const __m256i all = reinterpret_cast<__m256i>(v);
  const __m128i words =
      _mm_packus_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256(all, 1));
  const std::int64_t packed = _mm_cvtsi128_si64(_mm_packus_epi16(words, words));
  if (count >= kLanes) {
    __builtin_memcpy(p, &packed, 8);
  } else {
    for (std::int64_t i = 0; i < count; ++i) p[i] = static_cast<std::uint8_t>(packed >> (8 * i));
  }
}
#endif

/// The cells of one output place that lie in the image.
struct Window {
  std::int64_t first_row, last_row, first_column, last_column;  // in the window; last exclusive
  std::int64_t start;                                           // input element of cell (0, 0)
  std::int64_t row_stride, channels;
  DLT_INLINE_MEMBER std::int64_t cells() const {
    return (last_row - first_row) * (last_column - first_column);
  }
  DLT_INLINE_MEMBER std::int64_t element(std::int64_t row, std::int64_t column) const {
    return start + row * row_stride + column * channels;
  }
};

DLT_INLINE std::int64_t clamp(std::int64_t v, std::int64_t low, std::int64_t high) {
  return v < low ? low : v > high ? high : v;
}

/// f(output element, window) for every output place.
template <typename F>
DLT_INLINE void each_window(const PoolPlan& p, F f) {
  Window w;
  w.channels = p.channels;
  w.row_stride = p.in_width * p.channels;
  std::int64_t out = 0;
  for (std::int64_t b = 0; b < p.batch; ++b) {
    for (std::int64_t h = 0; h < p.out_height; ++h) {
      const std::int64_t y = h * p.stride_height - p.top;
      w.first_row = clamp(-y, 0, p.window_height);
      w.last_row = clamp(p.in_height - y, 0, p.window_height);
      for (std::int64_t i = 0; i < p.out_width; ++i, out += p.channels) {
        const std::int64_t x = i * p.stride_width - p.left;
        w.first_column = clamp(-x, 0, p.window_width);
        w.last_column = clamp(p.in_width - x, 0, p.window_width);
        w.start = ((b * p.in_height + y) * p.in_width + x) * p.channels;
        f(out, w);
      }
    }
  }
}

/// f(cell number, input element) row by row.
template <typename F>
DLT_INLINE void each_cell(const Window& w, std::int64_t window_width, F f) {
  for (std::int64_t row = w.first_row; row < w.last_row; ++row) {
    for (std::int64_t column = w.first_column; column < w.last_column; ++column) {
      f(row * window_width + column, w.element(row, column));
    }
  }
}

DLT_INLINE float share_of(const PoolPlan& plan, const Window& w) {
  const std::int64_t cells =
      plan.count_include_pad ? plan.window_height * plan.window_width : w.cells();
  return 1.0f / static_cast<float>(cells);
}

/// dx starts at zero where not every element is written.
DLT_INLINE void clear(const PoolPlan& plan, float* dx) {
  if (!plan.overlap && !plan.gaps) return;
  const std::int64_t count = plan.batch * plan.in_height * plan.in_width * plan.channels;
  __builtin_memset(dx, 0, static_cast<std::size_t>(count) * 4);
}

template <bool kAdd>
DLT_INLINE void max_grad(const PoolPlan& plan, const Memory& m) {
  const float* dy = m.x(0);
  const auto* index = static_cast<const std::uint8_t*>(m.in[1]);
  float* dx = m.y(0);
  each_window(plan, [&](std::int64_t out, const Window& w) {
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf d[kWidth];
      vi chosen[kWidth];
      for (int g = 0; g < kWidth; ++g) {
        d[g] = group.load(dy + out + group.column + g * kLanes);
        chosen[g] = load_bytes(index + out + group.column + g * kLanes, group.count);
      }
      each_cell(w, plan.window_width, [&](std::int64_t k, std::int64_t element) {
        for (int g = 0; g < kWidth; ++g) {
          float* to = dx + element + group.column + g * kLanes;
          const vf part = select(chosen[g] == set1i(static_cast<std::int32_t>(k)), d[g], vf{});
          group.store(to, kAdd ? group.load(to) + part : part);
        }
      });
    });
  });
}

template <bool kAdd>
DLT_INLINE void avg_grad(const PoolPlan& plan, const Memory& m) {
  float* dx = m.y(0);
  each_window(plan, [&](std::int64_t out, const Window& w) {
    const float share = share_of(plan, w);
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf d[kWidth];
      group.load_all(m.x(0) + out, d);
      for (int g = 0; g < kWidth; ++g) d[g] *= share;
      each_cell(w, plan.window_width, [&](std::int64_t, std::int64_t element) {
        for (int g = 0; g < kWidth; ++g) {
          float* to = dx + element + group.column + g * kLanes;
          group.store(to, kAdd ? group.load(to) + d[g] : d[g]);
        }
      });
    });
  });
}

}  // namespace

void max_pool2d(const PoolPlan& plan, const Memory& m) {
  const float* x = m.x(0);
  auto* index = static_cast<std::uint8_t*>(m.out[1]);
  each_window(plan, [&](std::int64_t out, const Window& w) {
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf best[kWidth];
      vi chosen[kWidth];
      group.load_all(x + w.element(w.first_row, w.first_column), best);
      const std::int64_t first = w.first_row * plan.window_width + w.first_column;
      for (vi& k : chosen) k = set1i(static_cast<std::int32_t>(first));
      each_cell(w, plan.window_width, [&](std::int64_t k, std::int64_t element) {
        for (int g = 0; g < kWidth; ++g) {
          const vf v = group.load(x + element + group.column + g * kLanes);
          const vi larger = ~(v <= best[g]) & (best[g] == best[g]);  // NaN is the largest
          best[g] = select(larger, v, best[g]);
          chosen[g] = bits(
              select(larger, from_bits(set1i(static_cast<std::int32_t>(k))), from_bits(chosen[g])));
        }
      });
      for (int g = 0; g < kWidth; ++g) {
        group.store(m.y(0) + out + group.column + g * kLanes, best[g]);
        store_bytes(index + out + group.column + g * kLanes, chosen[g], group.count);
      }
    });
  });
}

void max_pool2d_grad(const PoolPlan& plan, const Memory& m) {
  clear(plan, m.y(0));
  plan.overlap ? max_grad<true>(plan, m) : max_grad<false>(plan, m);
}

void avg_pool2d(const PoolPlan& plan, const Memory& m) {
  each_window(plan, [&](std::int64_t out, const Window& w) {
    const float share = share_of(plan, w);
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf sum[kWidth] = {};
      each_cell(w, plan.window_width, [&](std::int64_t, std::int64_t element) {
        for (int g = 0; g < kWidth; ++g) {
          sum[g] += group.load(m.x(0) + element + group.column + g * kLanes);
        }
      });
      for (int g = 0; g < kWidth; ++g) {
        group.store(m.y(0) + out + group.column + g * kLanes, sum[g] * share);
      }
    });
  });
}

void avg_pool2d_grad(const PoolPlan& plan, const Memory& m) {
  clear(plan, m.y(0));
  plan.overlap ? avg_grad<true>(plan, m) : avg_grad<false>(plan, m);
}

}  // namespace dlt::cpu::DLT_ISA
