// SPDX-License-Identifier: Apache-2.0
// Losses of class labels: rows of `columns` numbers, `inner` rows a sample, a label each. A
// sample's loss is the mean over its labels that count. Data loading checks that labels are in
// range; here one that is not makes the loss NaN, and nothing is read out of bounds.
#pragma once

#include <cstdint>

#include "backend/cuda/device.h"
#include "backend/cuda/device_libraries.h"
#include "backend/cuda/rows.h"
#include "tensor/kernel.h"
#include "tensor/kernel_form.h"

namespace dlt::cuda {

struct LabelCall {
  float* out;
  const float* x;
  const std::int32_t* labels;  // null: a distribution
  const float* distribution;   // null: labels
  const float* weights;        // one a class, or null
  const float* lse;            // softmax_cross_entropy_grad
  float* lse_out;              // softmax_cross_entropy
  const float* dloss;          // of a derivative, one a sample
  const float* factors;        // of a derivative: dloss over the labels that count, or null
  std::int64_t samples, inner, columns;
  std::int32_t ignored;
  float p0, p1;  // as in tensor::KernelForm
  bool aligned;  // x, distribution, weights and out, where a row of it is read or written

  [[nodiscard]] __device__ std::int64_t rows() const { return samples * inner; }
  [[nodiscard]] __device__ bool counts(std::int64_t row) const {
    return labels == nullptr || labels[row] != ignored;
  }
  [[nodiscard]] __device__ bool is_valid(std::int64_t row) const {
    return labels == nullptr || (labels[row] >= 0 && labels[row] < columns);
  }
  /// The derivative of one row's loss.
  [[nodiscard]] __device__ float row_factor(std::int64_t row) const {
    const std::int64_t sample = row / inner;
    return factors != nullptr ? factors[sample] : dloss[sample] / static_cast<float>(inner);
  }
};

/// The sizes of a loss and how its rows become samples.
class LabelLoss {
 public:
  LabelLoss(const tensor::KernelForm& form, const DeviceLibraries& libraries)
      : form_(form), libraries_(&libraries) {}
  /// One number a row, or a sample's factors.
  [[nodiscard]] std::int64_t scratch_bytes() const;
  /// The call without what an op has of its own; inputs 0 and 1 and output 0 are set.
  [[nodiscard]] LabelCall call_of(const tensor::KernelArgs& args) const;

  /// Runs a kernel that writes a loss for each row that counts, else 0, then the mean of each
  /// sample times sign into output 0.
  void run_loss(RowKernel<LabelCall> kernel, LabelCall call, float sign,
                const tensor::KernelArgs& args) const;
  /// Runs a kernel that writes rows; input 2 or 3 is the losses' derivative, set in the call.
  void run_gradient(RowKernel<LabelCall> kernel, LabelCall call,
                    const tensor::KernelArgs& args) const;

 private:
  [[nodiscard]] bool can_ignore() const;

  tensor::KernelForm form_;
  const DeviceLibraries* libraries_;
};

}  // namespace dlt::cuda
