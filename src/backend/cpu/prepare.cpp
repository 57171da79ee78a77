// SPDX-License-Identifier: Apache-2.0
#include "backend/cpu/prepare.h"

#include <string>

#include "backend/cpu/gemm.h"
#include "backend/cpu/onednn.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/text.h"

namespace dlt::cpu::prepare {

using tensor::Attrs;
using tensor::KernelSpec;

void set_activation(const Attrs& attrs, Call& call) {
  call.activation = tensor::activation_of(attrs);
  call.p0 = static_cast<float>(attrs.number("alpha", 0.01));
}

Precision precision_of(const Attrs& attrs) {
  const std::string word = attrs.word("precision", "f32");
  if (word == "bf16") return Precision::bf16;
  if (word == "bf16_emulated") return Precision::bf16_emulated;
  DLT_CHECK(word == "f32" || word == "tf32", cat("precision ", word));
  return Precision::f32;
}

bool product(const KernelSpec& spec, Plan& plan) {
  Call& call = plan.call;
  call.trans_a = spec.attrs.integer("trans_a") != 0;
  call.trans_b = spec.attrs.integer("trans_b") != 0;
  call.rows = spec.outputs[0].shape[0];
  call.cols = spec.outputs[0].shape[1];
  call.inner = spec.inputs[0].shape[call.trans_a ? 0 : 1];
  set_activation(spec.attrs, call);
  call.precision = precision_of(spec.attrs);
  const GemmArgs sizes{.m = call.rows,
                       .n = call.cols,
                       .k = call.inner,
                       .trans_a = call.trans_a,
                       .trans_b = call.trans_b};
  call.onednn = call.precision == Precision::f32 && onednn_is_faster(sizes, cpu_features().amd);
  if (!call.onednn) {
    plan.scratch_bytes = gemm_scratch_floats(sizes.m, sizes.n, sizes.k, call.precision) *
                         static_cast<std::int64_t>(sizeof(float));
  }
  // In f32 a kept copy is no faster than packing on the way (docs/performance.md).
  constexpr std::uint32_t kSecond = 2;
  if (call.precision == Precision::bf16 && bf16_unit() != Bf16Unit::none &&
      (spec.params & kSecond) != 0) {
    plan.kept_bytes = gemm_packed_bf16_bytes(sizes.n, sizes.k);
  }
  return tensor::all_f32(spec);
}

}  // namespace dlt::cpu::prepare
