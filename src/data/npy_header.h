// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/dtype.h"

namespace dlt::data {

inline constexpr std::string_view kNpyMagic = "\x93NUMPY";
/// Magic number and version; the length of the dictionary follows, in 2 or 4 little-endian bytes.
inline constexpr std::size_t kNpyStart_bytes = 8;

/// How many bytes hold the length. start: the file's first kNpyStart_bytes, or fewer if it is
/// shorter.
/// errors  Error(Exit::data), prefixed by source: not .npy, an unknown version
[[nodiscard]] std::size_t npy_length_bytes(const std::string& source, std::string_view start);

/// What the header of an .npy file says. Nothing of it is checked but its form.
struct NpyDictionary {
  std::string descr;
  bool fortran_order = false;
  std::vector<std::int64_t> shape;
};

/// Reads a Python dictionary of three known keys:
/// {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
/// Its text begins at first_byte of the file.
/// errors  Error(Exit::data), prefixed by source, with the byte at which it is damaged
/// source  numpy/lib/format.py
[[nodiscard]] NpyDictionary read_npy_dictionary(const std::string& source, std::string_view text,
                                                std::int64_t first_byte);

/// The type of "<f4", "|b1"; none for big-endian numbers and what is no number.
[[nodiscard]] std::optional<DType> npy_dtype(std::string_view descr);
/// The other way; none for bf16, which NumPy lacks.
[[nodiscard]] std::optional<std::string> npy_descr(DType dtype);

}  // namespace dlt::data
