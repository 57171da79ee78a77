// SPDX-License-Identifier: Apache-2.0
// Enlarging images, nearest or bilinear, and the derivatives.
#include "backend/cpu/groups.h"
#include "backend/cpu/pool.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// Where place o of the large image comes from along one axis: first + share (second - first).
struct Source {
  std::int64_t first, second;
  float share;
  DLT_INLINE_MEMBER Source(std::int64_t o, std::int64_t factor, std::int64_t length) {
    const double at = (static_cast<double>(o) + 0.5) / static_cast<double>(factor) - 0.5;
    first = at > 0 ? static_cast<std::int64_t>(at) : 0;
    second = first + 1 < length ? first + 1 : first;
    share = at > 0 ? static_cast<float>(at - static_cast<double>(first)) : 0;
  }
};

DLT_INLINE void copy(const float* from, float* to, std::int64_t count) {
  __builtin_memcpy(to, from, static_cast<std::size_t>(count) * 4);
}

/// f(four elements of the small image, their factors, element of the large one)
template <typename F>
DLT_INLINE void each_bilinear(const UpsamplePlan& p, F f) {
  const std::int64_t c = p.channels, height = p.height * p.factor_height;
  const std::int64_t width = p.width * p.factor_width;
  for (std::int64_t i = 0; i < p.batch * height; ++i) {
    const Source row(i % height, p.factor_height, p.height);
    const std::int64_t above = (i / height * p.height + row.first) * p.width;
    const std::int64_t below = (i / height * p.height + row.second) * p.width;
    for (std::int64_t w = 0; w < width; ++w) {
      const Source column(w, p.factor_width, p.width);
      const std::int64_t places[4] = {(above + column.first) * c, (above + column.second) * c,
                                      (below + column.first) * c, (below + column.second) * c};
      const float factors[4] = {(1 - row.share) * (1 - column.share),
                                (1 - row.share) * column.share, row.share * (1 - column.share),
                                row.share * column.share};
      f(places, factors, (i * width + w) * c);
    }
  }
}

DLT_INLINE void nearest(const UpsamplePlan& p, const float* x, float* y) {
  const std::int64_t c = p.channels, row = p.width * p.factor_width * c;
  for (std::int64_t i = 0; i < p.batch * p.height; ++i) {
    float* first = y + i * p.factor_height * row;
    for (std::int64_t w = 0; w < p.width; ++w) {
      for (std::int64_t k = 0; k < p.factor_width; ++k) {
        copy(x + (i * p.width + w) * c, first + (w * p.factor_width + k) * c, c);
      }
    }
    for (std::int64_t k = 1; k < p.factor_height; ++k) copy(first, first + k * row, row);
  }
}

DLT_INLINE void nearest_grad(const UpsamplePlan& p, const float* dy, float* dx) {
  const std::int64_t c = p.channels, row = p.width * p.factor_width * c;
  for (std::int64_t i = 0; i < p.batch * p.height; ++i) {
    for (std::int64_t w = 0; w < p.width; ++w) {
      const float* first = dy + i * p.factor_height * row + w * p.factor_width * c;
      each_group(c, [&](auto group) {
        constexpr int kWidth = decltype(group)::kWidth;
        vf sum[kWidth] = {};
        for (std::int64_t h = 0; h < p.factor_height; ++h) {
          for (std::int64_t k = 0; k < p.factor_width; ++k) {
            for (int g = 0; g < kWidth; ++g) {
              sum[g] += group.load(first + h * row + k * c + group.column + g * kLanes);
            }
          }
        }
        float* to = dx + (i * p.width + w) * c + group.column;
        for (int g = 0; g < kWidth; ++g) group.store(to + g * kLanes, sum[g]);
      });
    }
  }
}

}  // namespace

void upsample2d(const UpsamplePlan& p, const Memory& m) {
  const float* x = m.x(0);
  float* y = m.y(0);
  if (!p.bilinear) return nearest(p, x, y);
  each_bilinear(p, [&](const std::int64_t* places, const float* factors, std::int64_t out) {
    each_group(p.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      for (int g = 0; g < kWidth; ++g) {
        const std::int64_t column = group.column + g * kLanes;
        vf sum = {};
        for (int k = 0; k < 4; ++k) {
          sum = fma(group.load(x + places[k] + column), set1(factors[k]), sum);
        }
        group.store(y + out + column, sum);
      }
    });
  });
}

void upsample2d_grad(const UpsamplePlan& p, const Memory& m) {
  const float* dy = m.x(0);
  float* dx = m.y(0);
  if (!p.bilinear) return nearest_grad(p, dy, dx);
  const std::int64_t count = p.batch * p.height * p.width * p.channels;
  __builtin_memset(dx, 0, static_cast<std::size_t>(count) * 4);
  each_bilinear(p, [&](const std::int64_t* places, const float* factors, std::int64_t out) {
    each_group(p.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      for (int g = 0; g < kWidth; ++g) {
        const std::int64_t column = group.column + g * kLanes;
        const vf d = group.load(dy + out + column);
        for (int k = 0; k < 4; ++k) {
          float* to = dx + places[k] + column;
          group.store(to, fma(d, set1(factors[k]), group.load(to)));
        }
      }
    });
  });
}

}  // namespace dlt::cpu::DLT_ISA
