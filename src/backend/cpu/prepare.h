// SPDX-License-Identifier: Apache-2.0
// From the spec of a kernel to the numbers its routine needs: one function for each form of
// kernels.def. All return false if the dtypes are not served.
#pragma once

#include <utility>
#include <vector>

#include "backend/cpu/call.h"
#include "tensor/spec_form.h"

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

/// The numbers of a form that is the same on every device, in the order of tensor::forms.
template <tensor::ReadForm read>
bool shared_form(const tensor::KernelSpec& spec, Plan& plan) {
  tensor::SpecForm form;
  const bool served = read(spec, form);
  static_cast<tensor::KernelForm&>(plan.call) = form.numbers;
  plan.table = std::move(form.class_weights);
  return served;
}
inline constexpr Prepare pointwise = shared_form<tensor::forms::pointwise>;
inline constexpr Prepare scaling = shared_form<tensor::forms::scaling>;
inline constexpr Prepare constant = shared_form<tensor::forms::constant>;
inline constexpr Prepare matrix = shared_form<tensor::forms::matrix>;
inline constexpr Prepare samples = shared_form<tensor::forms::samples>;
inline constexpr Prepare sample_loss = shared_form<tensor::forms::sample_loss>;
inline constexpr Prepare huber = shared_form<tensor::forms::huber>;
inline constexpr Prepare focal_sample_loss = shared_form<tensor::forms::focal_sample_loss>;
inline constexpr Prepare poisson = shared_form<tensor::forms::poisson>;
inline constexpr Prepare row_loss = shared_form<tensor::forms::row_loss>;
inline constexpr Prepare label_loss = shared_form<tensor::forms::label_loss>;
inline constexpr Prepare focal = shared_form<tensor::forms::focal>;
inline constexpr Prepare mask_labels = shared_form<tensor::forms::mask_labels>;
inline constexpr Prepare dropout = shared_form<tensor::forms::dropout>;
inline constexpr Prepare flat = shared_form<tensor::forms::flat>;
inline constexpr Prepare flat_sum = shared_form<tensor::forms::flat_sum>;
inline constexpr Prepare flat_measure = shared_form<tensor::forms::flat_measure>;

/// A matrix product into output 0; attributes trans_a, trans_b, activation, alpha, precision.
bool product(const tensor::KernelSpec& spec, Plan& plan);

}  // namespace prepare
}  // namespace dlt::cpu
