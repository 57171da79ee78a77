// SPDX-License-Identifier: Apache-2.0
// From the spec of a kernel to the numbers its arithmetic needs, the same for every device: one
// function for each form that the spec of an op can have.
#pragma once

#include <span>
#include <vector>

#include "tensor/kernel.h"
#include "tensor/kernel_form.h"

namespace dlt::tensor {

struct SpecForm {
  KernelForm numbers;
  std::vector<float> class_weights;  // losses of labels: one for each class, or none
};

[[nodiscard]] bool all_f32(std::span<const TensorType> types);
[[nodiscard]] bool all_f32(const KernelSpec& spec);

/// errors  Exit::internal if it is none
[[nodiscard]] Activation activation_of(const Attrs& attrs);

/// Each returns false if the dtypes are not f32 where the op has floats.
using ReadForm = bool (*)(const KernelSpec& spec, SpecForm& form);
namespace forms {

/// Output 0 has the size of each input; attributes alpha, approximate.
bool pointwise(const KernelSpec& spec, SpecForm& form);
/// The same with attributes factor, offset.
bool scaling(const KernelSpec& spec, SpecForm& form);
/// Output 0 alone; attribute value.
bool constant(const KernelSpec& spec, SpecForm& form);
/// Input 0 is [..., n]; attributes activation, alpha.
bool matrix(const KernelSpec& spec, SpecForm& form);
/// Input 0 is [B, ...].
bool samples(const KernelSpec& spec, SpecForm& form);
/// Predictions and targets [B, ...]; attribute label_smoothing.
bool sample_loss(const KernelSpec& spec, SpecForm& form);
/// The same with attribute delta.
bool huber(const KernelSpec& spec, SpecForm& form);
/// The same with attributes alpha, gamma.
bool focal_sample_loss(const KernelSpec& spec, SpecForm& form);
/// The same with attribute log_input.
bool poisson(const KernelSpec& spec, SpecForm& form);
/// Predictions and targets [B, ..., n]; the sum over n, averaged over the rest.
bool row_loss(const KernelSpec& spec, SpecForm& form);
/// Input 0 is [B, ..., n], input 1 labels, i32 [B, ...] or f32 like input 0; attributes
/// label_smoothing, ignore_index, class_weights.
bool label_loss(const KernelSpec& spec, SpecForm& form);
/// The same with i32 labels alone; attributes alpha, gamma, ignore_index, class_weights.
bool focal(const KernelSpec& spec, SpecForm& form);
/// i32 labels and an f32 mask of the same shape; attribute label.
bool mask_labels(const KernelSpec& spec, SpecForm& form);
/// Input 0 is [B, ...]; attributes rate, op.
bool dropout(const KernelSpec& spec, SpecForm& form);
/// f32 buffers of one length, that of output 0 in each run.
bool flat(const KernelSpec& spec, SpecForm& form);
/// An f32 buffer, of the length of input 0 in each run, into f64 [1].
bool flat_sum(const KernelSpec& spec, SpecForm& form);
/// As flat, with a last output f64 [n].
bool flat_measure(const KernelSpec& spec, SpecForm& form);

}  // namespace forms
}  // namespace dlt::tensor
