// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "checkpoint/store.h"
#include "tensor/tensor.h"

namespace dlt::checkpoint::test {

template <typename T>
tensor::Tensor make_tensor(tensor::Shape shape, DType dtype, const std::vector<T>& values) {
  tensor::Tensor out(shape, dtype);
  if (!values.empty()) std::memcpy(out.bytes(), values.data(), values.size() * sizeof(T));
  return out;
}

/// Four tensors of three dtypes; weights_hash.py gives kSampleHash for them.
[[nodiscard]] tensor::StateDict sample_model();
inline constexpr const char* kSampleHash =
    "5638a334373bc2fc2a482f2be9ed416490a440667775c02260504d1fd9ae45b8";

/// A checkpoint whose every field and tensor depends on step and variant.
[[nodiscard]] Checkpoint sample_checkpoint(std::int64_t step, int variant = 0);

/// "" if both are the same, else what differs.
[[nodiscard]] std::string difference(const Checkpoint& a, const Checkpoint& b);
[[nodiscard]] bool same(const tensor::StateDict& a, const tensor::StateDict& b);

}  // namespace dlt::checkpoint::test
