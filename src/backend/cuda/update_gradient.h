// SPDX-License-Identifier: Apache-2.0
// What the kernels of optimisers share: their scalars, and the gradient that they work with.
#pragma once

#include <algorithm>
#include <limits>

#include "backend/cuda/device.h"
#include "base/error.h"
#include "tensor/kernel.h"

namespace dlt::cuda {

/// RunContext::scalars by value, or where the device has them.
struct Scalars {
  static constexpr int kMax = 16;
  double values[kMax] = {};
  std::int64_t count = 0;  // wide, so that no hole follows it
  const double* device = nullptr;

  Scalars() = default;
  explicit Scalars(const tensor::RunContext& run)
      : count(static_cast<std::int64_t>(run.scalars.size())), device(run.device_scalars) {
    DLT_CHECK(count <= kMax, "more scalars than expected");
    std::copy(run.scalars.begin(), run.scalars.end(), values);
  }
  __device__ void read(double* to) const {
    for (int i = 0; i < kMax; ++i) {
      to[i] = i >= count ? 0.0 : device != nullptr ? device[i] : values[i];
    }
  }
};

__device__ inline float f32(double x) { return static_cast<float>(x); }

/// -1, 0 or 1; what is not a number gives 0.
__device__ inline float sign_of(float x) { return x > 0.0f ? 1.0f : x < 0.0f ? -1.0f : 0.0f; }

/// clip(grad_scale·grad) + l2·p + l1·sign(p), of scalars 1 to 4.
struct Gradient {
  float scale, l2, l1, clip;
  bool plain;
  __device__ explicit Gradient(const double* s)
      : scale(f32(s[1])),
        l2(f32(s[2])),
        l1(f32(s[3])),
        clip(f32(s[4])),
        plain(s[3] == 0.0 && s[4] > std::numeric_limits<double>::max()) {}
  __device__ float operator()(float grad, float p) const {
    if (plain) return fmaf(grad, scale, l2 * p);
    float g = grad * scale;  // comparisons leave what is not a number
    g = g < -clip ? -clip : g;
    g = g > clip ? clip : g;
    return fmaf(l1, sign_of(p), fmaf(l2, p, g));
  }
};

/// lamb's step before the trust ratio. scalars 7 to 10: eps, weight decay, 1 - beta1^t, 1 - beta2^t
struct LambMove {
  float eps, decay, scale, root;
  __device__ explicit LambMove(const double* s)
      : eps(f32(s[7])), decay(f32(s[8])), scale(f32(1.0 / s[9])), root(f32(1.0 / sqrt(s[10]))) {}
  __device__ float operator()(float p, float m, float v) const {
    return fmaf(decay, p, scale * m / fmaf(sqrtf(v), root, eps));
  }
};

}  // namespace dlt::cuda
