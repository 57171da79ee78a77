// SPDX-License-Identifier: Apache-2.0
// focal_loss, categorical_hinge_loss, cosine_similarity_loss, masked_mean and mask_labels.
#include "backend/cpu/label_rows.h"
#include "backend/cpu/map.h"
#include "backend/cpu/routines.h"
#include "backend/cpu/vector_math.h"

namespace dlt::cpu::DLT_ISA {
namespace {

bool valid(const Call& c, std::int64_t row) {
  const std::int32_t label = label_of(c, row);
  return label >= 0 && label < c.cols;
}

/// The label's log-probability, 1 - its probability, and the weight of the row.
struct Focal {
  float lse = 0, logp = 0, miss = 0, weight = 0;
  Focal(const Call& c, std::int64_t row) {
    const float* x = c.x(0) + row * c.cols;
    const std::int32_t label = label_of(c, row);
    const LogSum sum(x, c.cols);
    lse = sum.shift + sum.log_total;
    logp = (x[label] - sum.shift) - sum.log_total;
    miss = one_minus_exp(set1(-logp))[0];
    weight = c.p0 * (c.table == nullptr ? 1.0f : c.table[label]);
  }
};

/// The largest number but the label's and 0, and its place (-1: it is the 0).
struct Rival {
  float value = 0;
  std::int64_t at = -1;
  Rival(const float* x, std::int64_t n, std::int32_t label) {
    vf best = {}, poison = {};
    const vi own = set1i(label);
    for (std::int64_t j = 0; j < n; j += kLanes) {
      const vi number = lane_numbers() + set1i(static_cast<std::int32_t>(j));
      const vf v = load_some(x + j, n - j);
      best = max(best, select(number == own, vf{}, v));
      poison = select(v == v, poison, v);
    }
    value = largest(best) + sum(poison);
    if (!(value > 0.0f)) return;
    for (at = 0; at == label || x[at] != value; ++at) {
    }
  }
};

/// 1 / max(|x|, 1e-6) of prediction and target, and their cosine.
struct Cosine {
  float prediction, target, cosine;
  bool tiny;
  Cosine(const float* p, const float* t, std::int64_t n) {
    const auto dot = [n](const float* a, const float* b) {
      return reduce_sum(n, [&](std::int64_t j, std::int64_t count) {
        return load_some(a + j, count) * load_some(b + j, count);
      });
    };
    const float length = sqrt(set1(dot(p, p)))[0], other = sqrt(set1(dot(t, t)))[0];
    tiny = length < 1e-6f;
    prediction = 1.0f / (tiny ? 1e-6f : length);
    target = 1.0f / (other < 1e-6f ? 1e-6f : other);
    cosine = dot(p, t) * prediction * target;
  }
};

}  // namespace

void run_focal_loss(const Call& c) {
  label_losses(c, [&](std::int64_t row) {
    if (!valid(c, row)) return kNan;
    const Focal f(c, row);
    return -f.weight * power(set1(f.miss), c.p1)[0] * f.logp;
  });
}

void run_focal_loss_grad(const Call& c) {
  label_gradients(c, c.x(2), [&](std::int64_t row, float dloss) {
    const float* x = c.x(0) + row * c.cols;
    float* dx = c.y(0) + row * c.cols;
    if (!valid(c, row)) {
      map(x, dx, c.cols, [](vf) { return set1(kNan); });
      return;
    }
    const Focal f(c, row);
    const float factor = power(set1(f.miss), c.p1)[0];
    const float p = 1.0f - f.miss;
    const float rest = c.p1 > 0 && f.miss > 0 ? c.p1 * p * f.logp * factor / f.miss : 0.0f;
    const float slope = f.weight * (rest - factor) * dloss;
    map(x, dx, c.cols, [&](vf v) { return exp(v - f.lse) * -slope; });
    dx[label_of(c, row)] = slope * f.miss;
  });
}

void run_categorical_hinge_loss(const Call& c) {
  label_losses(c, [&](std::int64_t row) {
    if (!valid(c, row)) return kNan;
    const float* x = c.x(0) + row * c.cols;
    const std::int32_t label = label_of(c, row);
    const float gap = 1.0f + Rival(x, c.cols, label).value - x[label];
    return gap > 0.0f || gap != gap ? gap : 0.0f;
  });
}

void run_categorical_hinge_loss_grad(const Call& c) {
  label_gradients(c, c.x(2), [&](std::int64_t row, float dloss) {
    const float* x = c.x(0) + row * c.cols;
    float* dx = c.y(0) + row * c.cols;
    if (!valid(c, row)) {
      map(x, dx, c.cols, [](vf) { return set1(kNan); });
      return;
    }
    const std::int32_t label = label_of(c, row);
    const Rival rival(x, c.cols, label);
    const bool active = 1.0f + rival.value - x[label] > 0.0f;
    map(x, dx, c.cols, [](vf) { return vf{}; });
    if (!active) return;
    if (rival.at >= 0) dx[rival.at] = dloss;
    dx[label] = -dloss;
  });
}

void run_cosine_similarity_loss(const Call& c) {
  for (std::int64_t b = 0; b < c.rows; ++b) {
    double sum = 0;
    for (std::int64_t row = b * c.inner; row < (b + 1) * c.inner; ++row) {
      const Cosine cosine(c.x(0) + row * c.cols, c.x(1) + row * c.cols, c.cols);
      sum += static_cast<double>(cosine.cosine);
    }
    c.y(0)[b] = static_cast<float>(-sum / static_cast<double>(c.inner));
  }
}

/// d cosine / dp = (t/|t| - cosine p/|p|) / |p|
void run_cosine_similarity_loss_grad(const Call& c) {
  const std::int64_t n = c.cols;
  for (std::int64_t row = 0; row < c.rows * c.inner; ++row) {
    const float *p = c.x(0) + row * n, *t = c.x(1) + row * n;
    float* dp = c.y(0) + row * n;
    const Cosine cosine(p, t, n);
    const float scale = -c.x(2)[row / c.inner] / static_cast<float>(c.inner) * cosine.prediction;
    const float along = cosine.tiny ? 0.0f : cosine.cosine * cosine.prediction;
    for (std::int64_t j = 0; j < n; j += kLanes) {
      const vf slope = load_some(t + j, n - j) * cosine.target - load_some(p + j, n - j) * along;
      store_some(dp + j, slope * scale, n - j);
    }
  }
}

void run_masked_mean(const Call& c) {
  for (std::int64_t b = 0; b < c.rows; ++b) {
    const float *x = c.x(0) + b * c.cols, *mask = c.x(1) + b * c.cols;
    double sum = 0;
    std::int64_t count = 0;
    for (std::int64_t j = 0; j < c.cols; ++j) {
      if (mask[j] > 0.5f) {
        sum += static_cast<double>(x[j]);
        ++count;
      }
    }
    c.y(0)[b] = count == 0 ? 0.0f : static_cast<float>(sum / static_cast<double>(count));
  }
}

void run_masked_mean_grad(const Call& c) {
  for (std::int64_t b = 0; b < c.rows; ++b) {
    const float* mask = c.x(0) + b * c.cols;
    float* out = c.y(0) + b * c.cols;
    std::int64_t count = 0;
    for (std::int64_t j = 0; j < c.cols; ++j) count += mask[j] > 0.5f ? 1 : 0;
    const float dx = count == 0 ? 0.0f : c.x(1)[b] / static_cast<float>(count);
    for (std::int64_t j = 0; j < c.cols; ++j) out[j] = mask[j] > 0.5f ? dx : 0.0f;
  }
}

void run_mask_labels(const Call& c) {
  const auto* labels = static_cast<const std::int32_t*>(c.in[0]);
  auto* out = static_cast<std::int32_t*>(c.out[0]);
  for (std::int64_t i = 0; i < c.cols; ++i) out[i] = c.x(1)[i] > 0.5f ? labels[i] : c.ignored;
}

}  // namespace dlt::cpu::DLT_ISA
