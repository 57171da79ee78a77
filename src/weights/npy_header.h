// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "tensor/shape.h"

namespace dlt::weights {

/// The longest header that is read: magic, version, length and text.
inline constexpr std::size_t kMaxNpyHeader_bytes = 64 << 10;

/// What stands before the numbers of an .npy file.
struct NpyHeader {
  tensor::TensorType type;
  bool fortran_order = false;
  std::size_t num_bytes = 0;  // of the header itself
};

/// Reads the start of an .npy file; `start` is its first kMaxNpyHeader_bytes, or all of it.
/// errors  Error(Exit::data), prefixed by source: not .npy, cut short, a header that is damaged or
///         longer than that, big-endian numbers or none, more than eight axes, too large a shape
[[nodiscard]] NpyHeader read_npy_header(const std::string& source, std::string_view start);

/// The header of version 1.0 as NumPy writes it, a multiple of 64 bytes.
/// errors  Error(Exit::config) for bf16, which NumPy lacks
[[nodiscard]] std::string npy_header(const tensor::TensorType& type);

}  // namespace dlt::weights
