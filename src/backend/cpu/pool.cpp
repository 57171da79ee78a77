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

/// Windows of a size known when compiling, without padding; 0 x 0: of any kind.
template <int kHeight, int kWidth>
struct Kind {
  static constexpr bool kKnown = kHeight > 0;
  static constexpr int kRows = kHeight, kColumns = kWidth;
};

template <typename F>
DLT_INLINE void by_kind(const PoolPlan& p, F f) {
  const bool padded = p.top > 0 || p.left > 0 ||
                      (p.out_height - 1) * p.stride_height + p.window_height > p.in_height ||
                      (p.out_width - 1) * p.stride_width + p.window_width > p.in_width;
  if (!padded && p.window_height == 2 && p.window_width == 2) {
    f(Kind<2, 2>{});
  } else {
    f(Kind<0, 0>{});
  }
}

/// The cells of one output place that lie in the image.
template <typename K>
struct Window {
  std::int64_t first_row, last_row, first_column, last_column;  // in the window; last exclusive
  std::int64_t start;                                           // input element of cell (0, 0)
  std::int64_t row_stride, channels, window_width;
  DLT_INLINE_MEMBER std::int64_t cells() const {
    return (last_row - first_row) * (last_column - first_column);
  }
  DLT_INLINE_MEMBER std::int64_t element(std::int64_t row, std::int64_t column) const {
    return start + row * row_stride + column * channels;
  }
  /// f(cell number, input element) row by row.
  template <typename F>
  DLT_INLINE_MEMBER void each_cell(F f) const {
    if constexpr (K::kKnown) {
#pragma GCC unroll 8
      for (int row = 0; row < K::kRows; ++row) {
#pragma GCC unroll 8
        for (int column = 0; column < K::kColumns; ++column) {
          f(row * K::kColumns + column, element(row, column));
        }
      }
    } else {
      for (std::int64_t row = first_row; row < last_row; ++row) {
        for (std::int64_t column = first_column; column < last_column; ++column) {
          f(static_cast<int>(row * window_width + column), element(row, column));
        }
      }
    }
  }
};

DLT_INLINE std::int64_t clamp(std::int64_t v, std::int64_t low, std::int64_t high) {
  return v < low ? low : v > high ? high : v;
}

/// f(output element, window) for every output place.
template <typename K, typename F>
DLT_INLINE void each_window(K /*kind*/, const PoolPlan& p, F f) {
  Window<K> w{0, p.window_height,         0,          p.window_width,
              0, p.in_width * p.channels, p.channels, p.window_width};
  std::int64_t out = 0;
  for (std::int64_t i = 0; i < p.batch * p.out_height; ++i) {
    const std::int64_t b = i / p.out_height, y = i % p.out_height * p.stride_height - p.top;
    const std::int64_t row = ((b * p.in_height + y) * p.in_width - p.left) * p.channels;
    if (!K::kKnown) {
      w.first_row = clamp(-y, 0, p.window_height);
      w.last_row = clamp(p.in_height - y, 0, p.window_height);
    }
    for (std::int64_t j = 0; j < p.out_width; ++j, out += p.channels) {
      if (!K::kKnown) {
        const std::int64_t x = j * p.stride_width - p.left;
        w.first_column = clamp(-x, 0, p.window_width);
        w.last_column = clamp(p.in_width - x, 0, p.window_width);
      }
      w.start = row + j * p.stride_width * p.channels;
      f(out, w);
    }
  }
}

/// The largest number so far in each lane and its cell. NaN is the largest of all.
struct Best {
  vf value;
  vi cell;
  DLT_INLINE_MEMBER void offer(vf v, int k) {
#ifdef __AVX512F__
    const __mmask16 larger = static_cast<__mmask16>(_mm512_cmp_ps_mask(v, value, _CMP_NLE_UQ) &
                                                    _mm512_cmp_ps_mask(value, value, _CMP_ORD_Q));
    value = _mm512_mask_mov_ps(value, larger, v);
    cell = reinterpret_cast<vi>(
        _mm512_mask_mov_epi32(reinterpret_cast<__m512i>(cell), larger, _mm512_set1_epi32(k)));
#else
    const vi larger = ~(v <= value) & (value == value);
    value = select(larger, v, value);
    cell = bits(select(larger, from_bits(set1i(k)), from_bits(cell)));
#endif
  }
};

/// v where the cell is k, else 0.
DLT_INLINE vf only(vi cell, int k, vf v) {
#ifdef __AVX512F__
  return _mm512_maskz_mov_ps(
      _mm512_cmpeq_epi32_mask(reinterpret_cast<__m512i>(cell), _mm512_set1_epi32(k)), v);
#else
  return from_bits((cell == set1i(k)) & bits(v));
#endif
}

template <typename K>
DLT_INLINE float share_of(const PoolPlan& plan, const Window<K>& w) {
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

template <bool kAdd, typename K>
DLT_INLINE void max_grad(K kind, const PoolPlan& plan, const Memory& m) {
  const float* dy = m.x(0);
  const auto* index = static_cast<const std::uint8_t*>(m.in[1]);
  float* dx = m.y(0);
  each_window(kind, plan, [&](std::int64_t out, const Window<K>& w) {
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf d[kWidth];
      vi chosen[kWidth];
      for (int g = 0; g < kWidth; ++g) {
        d[g] = group.load(dy + out + group.column + g * kLanes);
        chosen[g] = load_bytes(index + out + group.column + g * kLanes, group.count);
      }
      w.each_cell([&](int k, std::int64_t element) {
        for (int g = 0; g < kWidth; ++g) {
          float* to = dx + element + group.column + g * kLanes;
          const vf part = only(chosen[g], k, d[g]);
          group.store(to, kAdd ? group.load(to) + part : part);
        }
      });
    });
  });
}

template <bool kAdd, typename K>
DLT_INLINE void avg_grad(K kind, const PoolPlan& plan, const Memory& m) {
  float* dx = m.y(0);
  each_window(kind, plan, [&](std::int64_t out, const Window<K>& w) {
    const float share = share_of(plan, w);
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf d[kWidth];
      group.load_all(m.x(0) + out, d);
      for (int g = 0; g < kWidth; ++g) d[g] *= share;
      w.each_cell([&](int, std::int64_t element) {
        for (int g = 0; g < kWidth; ++g) {
          float* to = dx + element + group.column + g * kLanes;
          group.store(to, kAdd ? group.load(to) + d[g] : d[g]);
        }
      });
    });
  });
}

template <typename K>
DLT_INLINE void max_pool(K kind, const PoolPlan& plan, const Memory& m) {
  const float* x = m.x(0);
  auto* index = static_cast<std::uint8_t*>(m.out[1]);
  each_window(kind, plan, [&](std::int64_t out, const Window<K>& w) {
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      const std::int64_t first = w.first_row * plan.window_width + w.first_column;
      Best best[kWidth];
      for (int g = 0; g < kWidth; ++g) {
        best[g].value =
            group.load(x + w.element(w.first_row, w.first_column) + group.column + g * kLanes);
        best[g].cell = set1i(static_cast<std::int32_t>(first));
      }
      w.each_cell([&](int k, std::int64_t element) {
        if (K::kKnown && k == 0) return;
        for (int g = 0; g < kWidth; ++g) {
          best[g].offer(group.load(x + element + group.column + g * kLanes), k);
        }
      });
      for (int g = 0; g < kWidth; ++g) {
        group.store(m.y(0) + out + group.column + g * kLanes, best[g].value);
        store_bytes(index + out + group.column + g * kLanes, best[g].cell, group.count);
      }
    });
  });
}

template <typename K>
DLT_INLINE void avg_pool(K kind, const PoolPlan& plan, const Memory& m) {
  each_window(kind, plan, [&](std::int64_t out, const Window<K>& w) {
    const float share = share_of(plan, w);
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf sum[kWidth] = {};
      w.each_cell([&](int, std::int64_t element) {
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

}  // namespace

void max_pool2d(const PoolPlan& plan, const Memory& m) {
  by_kind(plan, [&](auto kind) { max_pool(kind, plan, m); });
}

void max_pool2d_grad(const PoolPlan& plan, const Memory& m) {
  clear(plan, m.y(0));
  by_kind(plan, [&](auto kind) {
    plan.overlap ? max_grad<true>(kind, plan, m) : max_grad<false>(kind, plan, m);
  });
}

void avg_pool2d(const PoolPlan& plan, const Memory& m) {
  by_kind(plan, [&](auto kind) { avg_pool(kind, plan, m); });
}

void avg_pool2d_grad(const PoolPlan& plan, const Memory& m) {
  clear(plan, m.y(0));
  by_kind(plan, [&](auto kind) {
    plan.overlap ? avg_grad<true>(kind, plan, m) : avg_grad<false>(kind, plan, m);
  });
}

}  // namespace dlt::cpu::DLT_ISA
