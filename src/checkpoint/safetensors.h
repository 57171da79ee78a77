// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "tensor/tensor.h"

namespace dlt::checkpoint {

using Metadata = std::map<std::string, std::string>;

/// Where what lies in a safetensors file: the header first, then each tensor in name order.
struct FilePlan {
  std::string header;                           // 8-byte length, JSON, spaces
  std::map<std::string, std::int64_t> offsets;  // of each tensor's bytes, from the file's begin
  std::int64_t num_bytes = 0;
};
/// errors  Error(Exit::config) for a name that cannot be written, or too long a header
[[nodiscard]] FilePlan plan_file(const std::map<std::string, tensor::TensorType>& tensors,
                                 const Metadata& metadata);

/// The bytes of a safetensors file: header (8-byte length, JSON) and then each tensor's memory, in
/// name order, without copying the tensors. header must outlive pieces.
/// source  github.com/huggingface/safetensors, "Format"
struct Encoded {
  std::string header;
  std::vector<std::span<const std::byte>> pieces;  // the header first
  std::int64_t num_bytes = 0;
};
[[nodiscard]] Encoded encode(const tensor::StateDict& state, const Metadata& metadata);

/// Reads bytes that may be hostile. errors  Error(Exit::data), prefixed by source, for: header
/// longer than 100 MB or than the file, not JSON, duplicate or path-like names ("..", "/", control
/// characters), unknown dtypes, shapes whose size overflows, offsets that overlap, leave holes, or
/// do not match shape and dtype, bytes behind the last tensor
struct Decoded {
  tensor::StateDict state;
  Metadata metadata;
};
[[nodiscard]] Decoded decode(const std::string& source, std::span<const std::byte> bytes);

/// What the weights hash takes of a tensor before its bytes: name, dtype and shape.
[[nodiscard]] std::string weights_hash_prefix(const std::string& name,
                                              const tensor::TensorType& type);
/// The weights hash of CONTRACT.md, 64 hex digits. The dtype is spelled as safetensors does
/// ("F32").
[[nodiscard]] std::string weights_hash(const tensor::StateDict& parameters);

}  // namespace dlt::checkpoint
