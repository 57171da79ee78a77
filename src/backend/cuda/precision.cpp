// SPDX-License-Identifier: Apache-2.0
#include "backend/cuda/precision.h"

#include <string>

namespace dlt::cuda {

std::optional<Precision> precision_of(const tensor::Attrs& attrs) {
  const std::string word = attrs.word("precision", "f32");
  if (word == "f32") return Precision::f32;
  if (word == "tf32") return Precision::tf32;
  if (word == "bf16" || word == "bf16_emulated") return Precision::bf16;
  if (word == "fp16") return Precision::f16;
  return std::nullopt;
}

}  // namespace dlt::cuda
