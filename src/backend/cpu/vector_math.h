// SPDX-License-Identifier: Apache-2.0
// Elementary functions of a vector of floats: about 2 ulp, exact limits, NaN stays NaN. The
// polynomials of exp, log and tanh are those of S. Moshier's Cephes library (expf, logf, tanhf).
#pragma once

#include "backend/cpu/simd.h"

namespace dlt::cpu::DLT_ISA {

constexpr float kInfinity = __builtin_inff();

/// x · 2^n for whole n from -252 to 254.
DLT_INLINE vf scale_by_power(vf x, vf n) {
#ifdef __AVX512F__
  return _mm512_scalef_ps(x, n);
#else
  // Two factors, so that results below the smallest normal number round once.
  const vf half = round(n * 0.5f - 0.25f);
  const auto power = [](vf e) {
    return from_bits(reinterpret_cast<vi>((reinterpret_cast<vu>(to_int(e)) + 127u) << 23));
  };
  return x * power(half) * power(n - half);
#endif
}

/// 2^t for t up to about 100; never below the smallest normal number. Taylor's series about the
/// nearest whole number, relative error 1.2e-7 before rounding.
DLT_INLINE vf power_of_two(vf t) {
  t = max(set1(-126.0f), t);
  const vf n = round(t), f = t - n;
  vf p = fma(set1(1.54035304e-4f), f, set1(1.33335581e-3f));
  p = fma(p, f, set1(9.61812911e-3f));
  p = fma(p, f, set1(5.55041087e-2f));
  p = fma(p, f, set1(2.40226507e-1f));
  p = fma(p, f, set1(6.93147181e-1f));
  return scale_by_power(fma(p, f, set1(1.0f)), n);
}

/// 1 / d for normal numbers, to about 2 roundings; a division takes as long as all else in the
/// functions that use it.
DLT_INLINE vf reciprocal(vf d) {
#ifdef __AVX512F__
  const vf r = _mm512_rcp14_ps(d);
#else
  const vf r = _mm256_rcp_ps(d);
#endif
  return fma(r, fma(-d, r, set1(1.0f)), r);
}

DLT_INLINE vf exp(vf x) {
  // Beyond these the result is 0 or infinite; the order of operands keeps NaN.
  x = min(set1(89.0f), max(set1(-104.0f), x));
  const vf n = round(x * 1.44269504088896341f);
  const vf r = fma(n, set1(2.12194440e-4f), fma(n, set1(-0.693359375f), x));
  vf p = fma(set1(1.9875691500e-4f), r, set1(1.3981999507e-3f));
  p = fma(p, r, set1(8.3334519073e-3f));
  p = fma(p, r, set1(4.1665795894e-2f));
  p = fma(p, r, set1(1.6666665459e-1f));
  p = fma(p, r, set1(5.0000001201e-1f));
  return scale_by_power(fma(p, r * r, r) + 1.0f, n);
}

DLT_INLINE vf log(vf x) {
  const vi tiny = x < 1.17549435e-38f;
  const vf scaled = select(tiny, x * 8388608.0f, x);
  const vi raw = bits(scaled);
  vf m = from_bits((raw & set1i(0x007fffff)) | set1i(0x3f000000));  // [0.5, 1)
  vf e = to_float((raw >> 23) - 126) - select(tiny, set1(23.0f), vf{});
  const vi low = m < 0.707106781186547524f;
  e = select(low, e - 1.0f, e);
  m = select(low, m + m, m) - 1.0f;
  const vf z = m * m;
  vf p = fma(set1(7.0376836292e-2f), m, set1(-1.1514610310e-1f));
  p = fma(p, m, set1(1.1676998740e-1f));
  p = fma(p, m, set1(-1.2420140846e-1f));
  p = fma(p, m, set1(1.4249322787e-1f));
  p = fma(p, m, set1(-1.6668057665e-1f));
  p = fma(p, m, set1(2.0000714765e-1f));
  p = fma(p, m, set1(-2.4999993993e-1f));
  p = fma(p, m, set1(3.3333331174e-1f));
  vf y = fma(e, set1(-2.12194440e-4f), p * m * z);
  y = fma(e, set1(0.693359375f), m + fma(set1(-0.5f), z, y));
  y = select(x == 0.0f, set1(-kInfinity), y);
  y = select(x == kInfinity, x, y);
  return select((x < 0.0f) | (x != x), set1(__builtin_nanf("")), y);
}

/// log(1 + e) for e above -1 and up to 1. source: Kahan's correction of the rounding of 1 + e.
DLT_INLINE vf log1p(vf e) {
  const vf u = e + 1.0f, d = u - 1.0f;
  const vi small = d == 0.0f;
  return select(small, e, log(u) * (e / select(small, set1(1.0f), d)));
}

/// Below this tanh is best computed by a polynomial: the other way loses digits.
constexpr float kTanhNear = 0.625f;

DLT_INLINE vf tanh_near(vf x) {
  const vf z = x * x;
  vf p = fma(set1(-5.70498872745e-3f), z, set1(2.06390887954e-2f));
  p = fma(p, z, set1(-5.37397155531e-2f));
  p = fma(p, z, set1(1.33314422036e-1f));
  p = fma(p, z, set1(-3.33332819422e-1f));
  return fma(p * z, x, x);
}

DLT_INLINE vf tanh(vf x) {
  const vf a = abs(x);
  const vf far = copy_sign(1.0f - 2.0f / (exp(a + a) + 1.0f), x);
  return select(a < kTanhNear, tanh_near(x), far);
}

DLT_INLINE vf sigmoid(vf x) {
  const vf e = exp(-abs(x)), y = 1.0f / (1.0f + e);
  return select(x < 0.0f, e * y, y);
}

DLT_INLINE vf softplus(vf x) { return max(vf{}, x) + log1p(exp(-abs(x))); }

/// base^exponent for base >= 0 and exponent >= 0; 0^0 is 1.
DLT_INLINE vf power(vf base, float exponent) {
  if (exponent == 0.0f) return set1(1.0f);
  if (exponent == 1.0f) return base;
  if (exponent == 2.0f) return base * base;
  return exp(exponent * log(base));
}

/// 1 - exp(-y) for y >= 0, without cancellation.
DLT_INLINE vf one_minus_exp(vf y) {
  vf p = fma(set1(1.0f / 5040.0f), y, set1(-1.0f / 720.0f));
  p = fma(p, y, set1(1.0f / 120.0f));
  p = fma(p, y, set1(-1.0f / 24.0f));
  p = fma(p, y, set1(1.0f / 6.0f));
  p = fma(p, y, set1(-0.5f));
  return select(y < 0.35f, fma(p * y, y, y), 1.0f - exp(-y));
}

/// Normal distribution function, 1/2 erfc(-x/sqrt 2), with a small relative error on both sides.
/// source  Press et al., Numerical Recipes, erfcc: relative error below 1.2e-7 in exact arithmetic
DLT_INLINE vf normal_cdf(vf x) {
  const vf z = abs(x) * 0.707106781186547524f, t = 1.0f / fma(set1(0.5f), z, set1(1.0f));
  vf p = fma(set1(0.17087277f), t, set1(-0.82215223f));
  p = fma(p, t, set1(1.48851587f));
  p = fma(p, t, set1(-1.13520398f));
  p = fma(p, t, set1(0.27886807f));
  p = fma(p, t, set1(-0.18628806f));
  p = fma(p, t, set1(0.09678418f));
  p = fma(p, t, set1(0.37409196f));
  p = fma(p, t, set1(1.00002368f));
  p = fma(p, t, set1(-1.26551223f));
  const vf half_tail = 0.5f * t * exp(-0.5f * x * x) * exp(p);
  return select(x < 0.0f, half_tail, 1.0f - half_tail);
}

/// exp(-x²/2) / sqrt(2 pi)
DLT_INLINE vf normal_density(vf x) { return 0.398942280401432678f * exp(-0.5f * x * x); }

/// s = 1/2 (1 + tanh u) = sigmoid(2u) with u = sqrt(2/pi) (x + 0.044715 x³), the gate of gelu by
/// tanh; and 1 - s without cancellation.
struct GeluGate {
  vf open, closed;
};
DLT_INLINE GeluGate gelu_gate(vf x) {
  constexpr float kFirst = -2.30220819814f, kThird = -0.10294324f;  // -2 sqrt(2/pi) log2(e) ...
  const vf t = x * fma(x * x, set1(kThird), set1(kFirst));
  const vf e = power_of_two(min(set1(125.0f), t));
  const vf open = select(t > 125.0f, vf{}, reciprocal(1.0f + e));
  return {open, e * open};
}

}  // namespace dlt::cpu::DLT_ISA
