// SPDX-License-Identifier: Apache-2.0
// focal_loss, categorical_hinge_loss and cosine_similarity_loss.
#include <cstdint>
#include <limits>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/device_table.h"
#include "backend/cuda/elementary.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/label_rows.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

/// The label's log-probability, 1 - its probability, and the weight of the row.
struct Focal {
  float lse, logp, miss, weight;
};
template <typename Team>
__device__ Focal focal_of(const LabelCall& c, const Row& row, std::int32_t label) {
  const float x = c.x[row.start + label];  // before the row is written over
  const LogSum sum = log_sum<Team>(c.x, row, c.aligned);
  const float logp = (x - sum.shift) - sum.log_total;
  return {sum.shift + sum.log_total, logp, -expm1f(logp),
          c.p0 * (c.weights == nullptr ? 1.0f : c.weights[label])};
}

template <typename Team>
__global__ void focal_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    float loss = 0.0f;
    if (c.counts(i)) {
      if (c.is_valid(i)) {
        const Focal f = focal_of<Team>(c, Row(i, c.columns), c.labels[i]);
        loss = -f.weight * power(f.miss, c.p1) * f.logp;
      } else {
        loss = nanf("");
      }
    }
    if (Team::rank() == 0) c.out[i] = loss;
  }
}

template <typename Team>
__global__ void focal_grad_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    const Row row(i, c.columns);
    if (!c.counts(i) || !c.is_valid(i)) {
      const float all = c.counts(i) ? nanf("") : 0.0f;
      map_numbers<Team>(c.x, c.out, row, c.aligned, [=](std::int64_t, float) { return all; });
      continue;
    }
    const std::int32_t label = c.labels[i];
    const Focal f = focal_of<Team>(c, row, label);
    const float factor = power(f.miss, c.p1), p = 1.0f - f.miss;
    const float rest = c.p1 > 0.0f && f.miss > 0.0f ? c.p1 * p * f.logp * factor / f.miss : 0.0f;
    const float slope = f.weight * (rest - factor) * c.row_factor(i);
    map_numbers<Team>(c.x, c.out, row, c.aligned, [=](std::int64_t column, float x) {
      return column == label ? slope * f.miss : expf(x - f.lse) * -slope;
    });
  }
}

/// The largest number but the label's and 0, and its place (-1: it is the 0).
struct Rival {
  float value;
  int at;
};
template <typename Team>
__device__ Rival rival_of(const LabelCall& c, const Row& row, std::int32_t label) {
  constexpr int kNowhere = std::numeric_limits<int>::max();
  float best = 0.0f, poison = 0.0f;  // what is not a number makes the rival none
  int at = kNowhere;
  each_number<Team>(c.x, row, c.aligned, [&](std::int64_t column, float x) {
    if (x != x) poison = x;
    if (column != label && x > best) {
      best = x;
      at = static_cast<int>(column);
    }
  });
  const float largest = Team::largest(best);
  const int first = Team::smallest(best == largest ? at : kNowhere);
  const float value = largest + Team::sum(poison);
  return {value, value > 0.0f ? first : -1};
}

template <typename Team>
__global__ void categorical_hinge_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    float loss = 0.0f;
    if (c.counts(i)) {
      if (c.is_valid(i)) {
        const Row row(i, c.columns);
        const float gap =
            1.0f + rival_of<Team>(c, row, c.labels[i]).value - c.x[row.start + c.labels[i]];
        loss = gap < 0.0f ? 0.0f : gap;
      } else {
        loss = nanf("");
      }
    }
    if (Team::rank() == 0) c.out[i] = loss;
  }
}

template <typename Team>
__global__ void categorical_hinge_grad_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    const Row row(i, c.columns);
    if (!c.counts(i) || !c.is_valid(i)) {
      const float all = c.counts(i) ? nanf("") : 0.0f;
      map_numbers<Team>(c.x, c.out, row, c.aligned, [=](std::int64_t, float) { return all; });
      continue;
    }
    const std::int32_t label = c.labels[i];
    const float own = c.x[row.start + label];  // before the row is written over
    const Rival rival = rival_of<Team>(c, row, label);
    const float dloss = 1.0f + rival.value - own > 0.0f ? c.row_factor(i) : 0.0f;
    map_numbers<Team>(c.x, c.out, row, c.aligned, [=](std::int64_t column, float) {
      return column == label ? -dloss : column == rival.at ? dloss : 0.0f;
    });
  }
}

/// 1 / max(|x|, 1e-6) of prediction and target, and their cosine.
struct Cosine {
  float prediction, target, cosine;
  bool tiny;
};
template <typename Team>
__device__ Cosine cosine_of(const LabelCall& c, const Row& row) {
  float pp = 0.0f, tt = 0.0f, pt = 0.0f;
  for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
    const Four p = load_four(c.x, row, g, c.aligned);
    const Four t = load_four(c.distribution, row, g, c.aligned);
    for (int u = 0; u < 4; ++u) {
      pp = fmaf(p.x[u], p.x[u], pp);
      tt = fmaf(t.x[u], t.x[u], tt);
      pt = fmaf(p.x[u], t.x[u], pt);
    }
  }
  const float length = sqrtf(Team::sum(pp)), other = sqrtf(Team::sum(tt));
  const float prediction = 1.0f / (length < 1e-6f ? 1e-6f : length);
  const float target = 1.0f / (other < 1e-6f ? 1e-6f : other);
  return {prediction, target, Team::sum(pt) * prediction * target, length < 1e-6f};
}

template <typename Team>
__global__ void cosine_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    const float cosine = cosine_of<Team>(c, Row(i, c.columns)).cosine;
    if (Team::rank() == 0) c.out[i] = cosine;
  }
}

/// d cosine / dp = (t/|t| - cosine p/|p|) / |p|
template <typename Team>
__global__ void cosine_grad_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    const Row row(i, c.columns);
    const Cosine cosine = cosine_of<Team>(c, row);
    const float scale = -c.row_factor(i) * cosine.prediction;
    const float along = cosine.tiny ? 0.0f : cosine.cosine * cosine.prediction;
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      const Four t = load_four(c.distribution, row, g, c.aligned);
      Four four = load_four(c.x, row, g, c.aligned);
      for (int u = 0; u < 4; ++u) {
        four.x[u] = (t.x[u] * cosine.target - four.x[u] * along) * scale;
      }
      store_four(c.out, four, row, g, c.aligned);
    }
  }
}

class RowLoss final : public tensor::Kernel {
 public:
  RowLoss(RowKernel<LabelCall> kernel, float sign, const tensor::SpecForm& form,
          const DeviceLibraries& libraries)
      : kernel_(kernel),
        sign_(sign),
        loss_(form.numbers, libraries),
        weights_(form.class_weights) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return loss_.scratch_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    LabelCall call = loss_.call_of(args);
    call.weights = weights_.data();
    if (args.inputs.size() > 2) {
      call.dloss = args.inputs[2].as<const float>();
      loss_.run_gradient(kernel_, call, args);
    } else {
      loss_.run_loss(kernel_, call, sign_, args);
    }
  }

 private:
  RowKernel<LabelCall> kernel_;
  float sign_;
  LabelLoss loss_;
  DeviceTable weights_;
};

std::unique_ptr<tensor::Kernel> make_label_loss(RowKernel<LabelCall> kernel, float sign,
                                                tensor::ReadForm read,
                                                const tensor::KernelSpec& spec,
                                                const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!read(spec, form)) return nullptr;
  return std::make_unique<RowLoss>(kernel, sign, form, libraries);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_focal_loss(const tensor::KernelSpec& spec,
                                                const DeviceLibraries& libraries) {
  return make_label_loss({focal_kernel<Warp>, focal_kernel<Block>}, 1.0f, tensor::forms::focal,
                         spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_focal_loss_grad(const tensor::KernelSpec& spec,
                                                     const DeviceLibraries& libraries) {
  return make_label_loss({focal_grad_kernel<Warp>, focal_grad_kernel<Block>}, 1.0f,
                         tensor::forms::focal, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_categorical_hinge_loss(const tensor::KernelSpec& spec,
                                                            const DeviceLibraries& libraries) {
  return make_label_loss({categorical_hinge_kernel<Warp>, categorical_hinge_kernel<Block>}, 1.0f,
                         tensor::forms::label_loss, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_categorical_hinge_loss_grad(const tensor::KernelSpec& spec,
                                                                 const DeviceLibraries& libraries) {
  return make_label_loss(
      {categorical_hinge_grad_kernel<Warp>, categorical_hinge_grad_kernel<Block>}, 1.0f,
      tensor::forms::label_loss, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_cosine_similarity_loss(const tensor::KernelSpec& spec,
                                                            const DeviceLibraries& libraries) {
  return make_label_loss({cosine_kernel<Warp>, cosine_kernel<Block>}, -1.0f,
                         tensor::forms::label_loss, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_cosine_similarity_loss_grad(const tensor::KernelSpec& spec,
                                                                 const DeviceLibraries& libraries) {
  return make_label_loss({cosine_grad_kernel<Warp>, cosine_grad_kernel<Block>}, -1.0f,
                         tensor::forms::label_loss, spec, libraries);
}

}  // namespace dlt::cuda
