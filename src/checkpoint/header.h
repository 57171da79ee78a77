// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/safetensors.h"

namespace dlt::checkpoint {

/// What the header of a safetensors file says of one tensor. Nothing is checked against the file
/// yet; the shape holds at most tensor::Shape::kMaxRank sizes.
struct HeaderEntry {
  std::string dtype;
  std::vector<std::uint64_t> shape;
  std::uint64_t begin = 0, end = 0;  // in the bytes behind the header
};

struct Header {
  std::map<std::string, HeaderEntry> tensors;
  Metadata metadata;
};

inline constexpr const char* kMetadataKey = "__metadata__";

/// Empty if the name may be a tensor's, else what is wrong with it.
[[nodiscard]] std::string name_problem(std::string_view name);

/// Reads the header's JSON without building a tree, so that hostile text costs no more memory than
/// it is long, a few times over.
/// errors  Error(Exit::data), prefixed by source: not JSON, an unexpected type or key, a duplicate
///         or path-like name, a missing field
[[nodiscard]] Header parse_header(const std::string& source, std::string_view json);

}  // namespace dlt::checkpoint
