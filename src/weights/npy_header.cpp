// SPDX-License-Identifier: Apache-2.0
#include "weights/npy_header.h"

#include <optional>
#include <vector>

#include "base/error.h"
#include "base/text.h"
#include "data/npy_header.h"

namespace dlt::weights {
namespace {

/// "=" is the byte order of the machine that wrote the file.
std::optional<DType> dtype_of(std::string descr) {
  if (descr.starts_with('=')) descr.front() = '<';
  return data::npy_dtype(descr);
}

tensor::Shape shape_of(const std::string& source, const std::vector<std::int64_t>& sizes) {
  try {
    return tensor::Shape(sizes);
  } catch (const Error& error) {
    throw Error(Exit::data, cat(source, ": npy header: shape: ", error.what()));
  }
}

}  // namespace

NpyHeader read_npy_header(const std::string& source, std::string_view start) {
  const std::size_t width = data::npy_length_bytes(source, start);
  const std::size_t before = data::kNpyStart_bytes + width;
  if (start.size() < before) throw Error(Exit::data, cat(source, ": npy header: cut short"));
  std::size_t length = 0;
  for (std::size_t i = width; i-- > 0;) {
    length = length * 256 + static_cast<unsigned char>(start[data::kNpyStart_bytes + i]);
  }
  if (length > start.size() - before) {
    throw Error(Exit::data, cat(source, ": an npy header of ", length, " bytes, expected at most ",
                                start.size() - before));
  }
  const data::NpyDictionary found = data::read_npy_dictionary(source, start.substr(before, length),
                                                              static_cast<std::int64_t>(before));
  const std::optional<DType> dtype = dtype_of(found.descr);
  if (!dtype) {
    throw Error(Exit::data, cat(source, ": npy header: numbers of type '", printable(found.descr),
                                "', expected little-endian integers or floats of 8 to 64 bits"));
  }
  return {.type = {shape_of(source, found.shape), *dtype},
          .fortran_order = found.fortran_order,
          .num_bytes = before + length};
}

std::string npy_header(const tensor::TensorType& type) {
  const std::optional<std::string> descr = data::npy_descr(type.dtype);
  if (!descr) {
    throw Error(Exit::config, cat("npz: NumPy has no numbers of type ", name(type.dtype)),
                "--format safetensors has them");
  }
  std::string dims;
  for (const std::int64_t size : type.shape.dims())
    dims += cat(size, type.shape.rank() == 1 ? "," : ", ");
  if (type.shape.rank() > 1) dims.resize(dims.size() - 2);
  std::string text =
      cat("{'descr': '", *descr, "', 'fortran_order': False, 'shape': (", dims, "), }");
  constexpr std::size_t kBefore = 10;
  text.append(63 - (kBefore + text.size()) % 64, ' ');
  text += '\n';
  std::string out = cat(data::kNpyMagic, std::string_view("\x01\x00", 2));
  out += static_cast<char>(text.size() & 0xff);
  out += static_cast<char>(text.size() >> 8);
  return out + text;
}

}  // namespace dlt::weights
