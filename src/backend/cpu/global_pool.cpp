// SPDX-License-Identifier: Apache-2.0
// Pooling over all places of a sample.
#include "backend/cpu/groups.h"
#include "backend/cpu/pool.h"

namespace dlt::cpu::DLT_ISA {
namespace {

/// The mask of one sample, or null if all places count.
DLT_INLINE const float* mask_of(const GlobalPoolPlan& plan, const Memory& m, std::int64_t b) {
  return m.in[1] == nullptr ? nullptr : m.x(1) + b * plan.places;
}
DLT_INLINE bool counts(const float* mask, std::int64_t place) {
  return mask == nullptr || mask[place] != 0;
}

/// One over the number of places that count; 0 where there are none.
DLT_INLINE float share_of(const GlobalPoolPlan& plan, const float* mask) {
  std::int64_t count = 0;
  for (std::int64_t p = 0; p < plan.places; ++p) count += counts(mask, p) ? 1 : 0;
  return count == 0 ? 0 : 1.0f / static_cast<float>(count);
}

}  // namespace

void global_avg_pool(const GlobalPoolPlan& plan, const Memory& m) {
  constexpr std::int64_t kBlock = 64;  // places summed at a time, so that long sums stay accurate
  for (std::int64_t b = 0; b < plan.batch; ++b) {
    const float* mask = mask_of(plan, m, b);
    const float share = share_of(plan, mask);
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      const float* x = m.x(0) + b * plan.places * plan.channels + group.column;
      vf total[kWidth] = {};
      for (std::int64_t start = 0; start < plan.places; start += kBlock) {
        const std::int64_t end = start + kBlock < plan.places ? start + kBlock : plan.places;
        vf sum[kWidth] = {};
        for (std::int64_t p = start; p < end; ++p) {
          if (!counts(mask, p)) continue;
          for (int g = 0; g < kWidth; ++g) {
            sum[g] += group.load(x + p * plan.channels + g * kLanes);
          }
        }
        for (int g = 0; g < kWidth; ++g) total[g] += sum[g];
      }
      float* y = m.y(0) + b * plan.channels + group.column;
      for (int g = 0; g < kWidth; ++g) group.store(y + g * kLanes, total[g] * share);
    });
  }
}

void global_avg_pool_grad(const GlobalPoolPlan& plan, const Memory& m) {
  for (std::int64_t b = 0; b < plan.batch; ++b) {
    const float* mask = mask_of(plan, m, b);
    const float share = share_of(plan, mask);
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf d[kWidth];
      group.load_all(m.x(0) + b * plan.channels, d);
      for (int g = 0; g < kWidth; ++g) d[g] *= share;
      float* dx = m.y(0) + b * plan.places * plan.channels + group.column;
      for (std::int64_t p = 0; p < plan.places; ++p) {
        for (int g = 0; g < kWidth; ++g) {
          group.store(dx + p * plan.channels + g * kLanes, counts(mask, p) ? d[g] : vf{});
        }
      }
    });
  }
}

void global_max_pool(const GlobalPoolPlan& plan, const Memory& m) {
  for (std::int64_t b = 0; b < plan.batch; ++b) {
    const float* mask = mask_of(plan, m, b);
    std::int64_t first = 0;
    while (first < plan.places && !counts(mask, first)) ++first;
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      const float* x = m.x(0) + b * plan.places * plan.channels + group.column;
      vf best[kWidth] = {};
      vi chosen[kWidth];
      for (int g = 0; g < kWidth; ++g) {
        const bool any = first < plan.places;
        chosen[g] = set1i(any ? static_cast<std::int32_t>(first) : -1);
        if (any) best[g] = group.load(x + first * plan.channels + g * kLanes);
      }
      for (std::int64_t p = first + 1; p < plan.places; ++p) {
        if (!counts(mask, p)) continue;
        for (int g = 0; g < kWidth; ++g) {
          const vf v = group.load(x + p * plan.channels + g * kLanes);
          const vi larger = ~(v <= best[g]) & (best[g] == best[g]);  // NaN is the largest
          best[g] = select(larger, v, best[g]);
          chosen[g] = bits(
              select(larger, from_bits(set1i(static_cast<std::int32_t>(p))), from_bits(chosen[g])));
        }
      }
      const std::int64_t out = b * plan.channels + group.column;
      for (int g = 0; g < kWidth; ++g) {
        group.store(m.y(0) + out + g * kLanes, best[g]);
        group.store(m.y(1) + out + g * kLanes, from_bits(chosen[g]));
      }
    });
  }
}

void global_max_pool_grad(const GlobalPoolPlan& plan, const Memory& m) {
  for (std::int64_t b = 0; b < plan.batch; ++b) {
    each_group(plan.channels, [&](auto group) {
      constexpr int kWidth = decltype(group)::kWidth;
      vf d[kWidth], chosen[kWidth];
      group.load_all(m.x(0) + b * plan.channels, d);
      group.load_all(m.x(1) + b * plan.channels, chosen);
      float* dx = m.y(0) + b * plan.places * plan.channels + group.column;
      for (std::int64_t p = 0; p < plan.places; ++p) {
        const vi here = set1i(static_cast<std::int32_t>(p));
        for (int g = 0; g < kWidth; ++g) {
          group.store(dx + p * plan.channels + g * kLanes,
                      select(bits(chosen[g]) == here, d[g], vf{}));
        }
      }
    });
  }
}

}  // namespace dlt::cpu::DLT_ISA
