// SPDX-License-Identifier: Apache-2.0
// From the spec of a kernel to the numbers its routine needs: one function for each form of
// kernels.def. All return false if the dtypes are not served.
#pragma once

#include <vector>

#include "backend/cpu/call.h"
#include "tensor/kernel.h"

namespace dlt::cpu {

struct Plan {
  Call call;
  std::int64_t scratch_bytes = 0;
  std::int64_t kept_bytes = 0;
  std::vector<float> table;  // what call.table will point to
};

namespace prepare {

/// Of a product's operands: attribute precision, f32 where there is none.
[[nodiscard]] Precision precision_of(const tensor::Attrs& attrs);

using Prepare = bool (*)(const tensor::KernelSpec& spec, Plan& plan);

/// Attributes activation (none), alpha (0.01).
void set_activation(const tensor::Attrs& attrs, Call& call);

/// Output 0 has the size of each input; attributes alpha, approximate.
bool pointwise(const tensor::KernelSpec& spec, Plan& plan);
/// The same with attributes factor, offset.
bool scaling(const tensor::KernelSpec& spec, Plan& plan);
/// Output 0 alone; attribute value.
bool constant(const tensor::KernelSpec& spec, Plan& plan);
/// Input 0 is [..., n]; attributes activation, alpha.
bool matrix(const tensor::KernelSpec& spec, Plan& plan);
/// Input 0 is [B, ...].
bool samples(const tensor::KernelSpec& spec, Plan& plan);
/// Predictions and targets [B, ...]; attribute label_smoothing.
bool sample_loss(const tensor::KernelSpec& spec, Plan& plan);
/// The same with attribute delta.
bool huber(const tensor::KernelSpec& spec, Plan& plan);
/// The same with attributes alpha, gamma.
bool focal_sample_loss(const tensor::KernelSpec& spec, Plan& plan);
/// The same with attribute log_input.
bool poisson(const tensor::KernelSpec& spec, Plan& plan);
/// Predictions and targets [B, ..., n]; the sum over n, averaged over the rest.
bool row_loss(const tensor::KernelSpec& spec, Plan& plan);
/// Input 0 is [B, ..., n], input 1 labels, i32 [B, ...] or f32 like input 0; attributes
/// label_smoothing, ignore_index, class_weights.
bool label_loss(const tensor::KernelSpec& spec, Plan& plan);
/// The same with i32 labels alone; attributes alpha, gamma, ignore_index, class_weights.
bool focal(const tensor::KernelSpec& spec, Plan& plan);
/// i32 labels and an f32 mask of the same shape; attribute label.
bool mask_labels(const tensor::KernelSpec& spec, Plan& plan);
/// Input 0 is [B, ...]; attributes rate, op.
bool dropout(const tensor::KernelSpec& spec, Plan& plan);
/// A matrix product into output 0; attributes trans_a, trans_b, activation, alpha, precision.
bool product(const tensor::KernelSpec& spec, Plan& plan);
/// f32 buffers of one length, that of output 0 in each run.
bool flat(const tensor::KernelSpec& spec, Plan& plan);
/// An f32 buffer, of the length of input 0 in each run, into f64 [1].
bool flat_sum(const tensor::KernelSpec& spec, Plan& plan);
/// As flat, with a last output f64 [n].
bool flat_measure(const tensor::KernelSpec& spec, Plan& plan);

}  // namespace prepare
}  // namespace dlt::cpu
