// SPDX-License-Identifier: Apache-2.0
// nll and softmax_cross_entropy. Probabilities are never stored: the derivative makes them again
// from the logits and lse.
#include <cstdint>
#include <memory>

#include "backend/cuda/device.h"
#include "backend/cuda/device_table.h"
#include "backend/cuda/factories.h"
#include "backend/cuda/label_rows.h"
#include "tensor/spec_form.h"

namespace dlt::cuda {
namespace {

/// The target distribution of one row, q = weight (keep · target + rest).
class Targets {
 public:
  __device__ Targets(const LabelCall& c, std::int64_t row)
      : call_(&c),
        keep_(1.0f - c.p0),
        rest_(c.p0 / static_cast<float>(c.columns)),
        label_(c.labels != nullptr ? c.labels[row] : -1) {}
  /// One class and no smoothing: q is weight() at label() and 0 elsewhere.
  [[nodiscard]] __device__ bool one_class() const {
    return call_->labels != nullptr && rest_ == 0.0f;
  }
  [[nodiscard]] __device__ std::int64_t label() const { return label_; }
  [[nodiscard]] __device__ float weight() const {
    return call_->weights == nullptr ? 1.0f : call_->weights[label_];
  }
  [[nodiscard]] __device__ float q(const Row& row, std::int64_t column) const {
    const float plain = call_->labels == nullptr
                            ? fmaf(call_->distribution[row.start + column], keep_, rest_)
                        : column == label_ ? keep_ + rest_
                                           : rest_;
    return call_->weights == nullptr ? plain : plain * call_->weights[column];
  }
  template <typename Team>
  [[nodiscard]] __device__ float sum_q(const Row& row) const {
    if (call_->labels != nullptr && call_->weights == nullptr) return 1.0f;
    float sum = 0.0f;
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      for (int u = 0; u < 4; ++u) {
        const std::int64_t column = row.column(g) + u;
        if (row.has(column)) sum += q(row, column);
      }
    }
    return Team::sum(sum);
  }

 private:
  const LabelCall* call_;
  float keep_, rest_;
  std::int64_t label_;
};

/// -sum(q · value(x)), where q = 0 counts for nothing.
template <typename Team, typename F>
__device__ float minus_sum(const LabelCall& c, const Row& row, const Targets& targets, F value) {
  float sum = 0.0f;
  each_number<Team>(c.x, row, c.aligned, [&](std::int64_t column, float x) {
    const float q = targets.q(row, column);
    if (q != 0.0f) sum += q * value(x);
  });
  return -Team::sum(sum);
}

template <typename Team>
__global__ void nll_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    float loss = 0.0f;
    if (c.counts(i)) {
      const Row row(i, c.columns);
      const Targets targets(c, i);
      if (!c.is_valid(i)) {
        loss = nanf("");
      } else if (targets.one_class()) {
        loss = -c.x[row.start + targets.label()] * targets.weight();
      } else {
        loss = minus_sum<Team>(c, row, targets, [](float x) { return x; });
      }
    }
    if (Team::rank() == 0) c.out[i] = loss;
  }
}

template <typename Team>
__global__ void nll_grad_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    const Row row(i, c.columns);
    const Targets targets(c, i);
    const bool counts = c.counts(i);
    const float factor = counts ? -c.row_factor(i) : 0.0f;
    for (std::int64_t g = Team::rank(); g < row.groups; g += Team::kSize) {
      Four four{};
      for (int u = 0; u < 4; ++u) {
        const std::int64_t column = row.column(g) + u;
        if (counts && row.has(column)) four.x[u] = targets.q(row, column) * factor;
      }
      store_four(c.out, four, row, g, c.aligned);
    }
  }
}

/// lse = log(sum(exp(x))), loss = sum(q (lse - x))
template <typename Team>
__global__ void softmax_cross_entropy_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    float loss = 0.0f, lse = 0.0f;
    if (c.counts(i)) {
      const Row row(i, c.columns);
      const Targets targets(c, i);
      const LogSum sum = log_sum<Team>(c.x, row, c.aligned);
      lse = sum.shift + sum.log_total;
      if (!c.is_valid(i)) {
        loss = nanf("");
      } else if (targets.one_class()) {
        const float x = c.x[row.start + targets.label()];
        loss = (sum.log_total - (x - sum.shift)) * targets.weight();
      } else {
        loss = minus_sum<Team>(c, row, targets,
                               [=](float x) { return (x - sum.shift) - sum.log_total; });
      }
    }
    if (Team::rank() == 0) {
      c.out[i] = loss;
      c.lse_out[i] = lse;
    }
  }
}

/// dx = (exp(x - lse) sum(q) - q) dloss; a target distribution need not sum to one.
template <typename Team>
__global__ void softmax_cross_entropy_grad_kernel(LabelCall c) {
  for (std::int64_t i = Team::first(); i < c.rows(); i += Team::stride()) {
    const Row row(i, c.columns);
    if (!c.counts(i)) {
      map_numbers<Team>(c.x, c.out, row, c.aligned, [](std::int64_t, float) { return 0.0f; });
      continue;
    }
    const Targets targets(c, i);
    const float lse = c.lse[i], dloss = c.row_factor(i);
    if (targets.one_class() && c.is_valid(i)) {
      const float factor = dloss * targets.weight();
      map_numbers<Team>(c.x, c.out, row, c.aligned, [&](std::int64_t column, float x) {
        const float p = expf(x - lse);
        return (column == targets.label() ? p - 1.0f : p) * factor;
      });
      continue;
    }
    const float total = targets.template sum_q<Team>(row);
    map_numbers<Team>(c.x, c.out, row, c.aligned, [&](std::int64_t column, float x) {
      if (!row.has(column)) return 0.0f;
      return (expf(x - lse) * total - targets.q(row, column)) * dloss;
    });
  }
}

enum class CrossEntropyOp : std::uint8_t { nll, nll_grad, softmax, softmax_grad };

class CrossEntropy final : public tensor::Kernel {
 public:
  CrossEntropy(CrossEntropyOp op, const tensor::SpecForm& form, const DeviceLibraries& libraries)
      : op_(op), loss_(form.numbers, libraries), weights_(form.class_weights) {}
  [[nodiscard]] std::int64_t scratch_bytes() const override { return loss_.scratch_bytes(); }
  void run(const tensor::KernelArgs& args) const override {
    LabelCall call = loss_.call_of(args);
    call.weights = weights_.data();
    switch (op_) {
      case CrossEntropyOp::nll:
        return loss_.run_loss({nll_kernel<Warp>, nll_kernel<Block>}, call, 1.0f, args);
      case CrossEntropyOp::nll_grad:
        call.dloss = args.inputs[2].as<const float>();
        return loss_.run_gradient({nll_grad_kernel<Warp>, nll_grad_kernel<Block>}, call, args);
      case CrossEntropyOp::softmax:
        call.lse_out = args.outputs[1].as<float>();
        return loss_.run_loss(
            {softmax_cross_entropy_kernel<Warp>, softmax_cross_entropy_kernel<Block>}, call, 1.0f,
            args);
      case CrossEntropyOp::softmax_grad:
        call.lse = args.inputs[2].as<const float>();
        call.dloss = args.inputs[3].as<const float>();
        return loss_.run_gradient(
            {softmax_cross_entropy_grad_kernel<Warp>, softmax_cross_entropy_grad_kernel<Block>},
            call, args);
    }
  }

 private:
  CrossEntropyOp op_;
  LabelLoss loss_;
  DeviceTable weights_;
};

std::unique_ptr<tensor::Kernel> make_cross_entropy(CrossEntropyOp op,
                                                   const tensor::KernelSpec& spec,
                                                   const DeviceLibraries& libraries) {
  tensor::SpecForm form;
  if (!tensor::forms::label_loss(spec, form)) return nullptr;
  return std::make_unique<CrossEntropy>(op, form, libraries);
}

}  // namespace

std::unique_ptr<tensor::Kernel> make_nll(const tensor::KernelSpec& spec,
                                         const DeviceLibraries& libraries) {
  return make_cross_entropy(CrossEntropyOp::nll, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_nll_grad(const tensor::KernelSpec& spec,
                                              const DeviceLibraries& libraries) {
  return make_cross_entropy(CrossEntropyOp::nll_grad, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_softmax_cross_entropy(const tensor::KernelSpec& spec,
                                                           const DeviceLibraries& libraries) {
  return make_cross_entropy(CrossEntropyOp::softmax, spec, libraries);
}
std::unique_ptr<tensor::Kernel> make_softmax_cross_entropy_grad(const tensor::KernelSpec& spec,
                                                                const DeviceLibraries& libraries) {
  return make_cross_entropy(CrossEntropyOp::softmax_grad, spec, libraries);
}

}  // namespace dlt::cuda
