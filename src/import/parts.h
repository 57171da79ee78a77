// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "import/import.h"
#include "tensor/shape.h"

namespace dlt::data {
class Hdf5Writer;
}

namespace dlt::import_ {

/// Rows in memory, on their way into the file.
struct Rows {
  DType dtype = DType::f32;
  std::int64_t num_rows = 0;
  tensor::Shape row_shape;
  std::vector<std::byte> bytes;  // native byte order, row-major
  [[nodiscard]] std::int64_t row_bytes() const;
};

/// Row numbers of the two parts, ascending.
struct Split {
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> test;
};
/// errors  Exit::usage the fraction is not in [0, 1), or leaves one part without rows
[[nodiscard]] Split split_rows(std::int64_t num_rows, const SplitOptions& options);

[[nodiscard]] Rows take_rows(const Rows& from, const std::vector<std::int64_t>& rows);

/// Writes rows under a name, and says so in the report.
void write_rows(data::Hdf5Writer& writer, const std::string& name, const Rows& rows,
                int deflate_level, ImportReport& report);

/// Writes `name` of the training part, and of the test part where there is one.
struct PartOptions {
  std::string name;  // "images": /train/images and /test/images
  int deflate_level = 0;
};
void write_split(data::Hdf5Writer& writer, const PartOptions& options, const Rows& rows,
                 const Split& split, ImportReport& report);

/// errors  Exit::usage there is none, or it is one of the sources
void check_output(const std::string& output, const std::vector<std::string>& sources);

template <typename T>
[[nodiscard]] std::vector<std::byte> to_bytes(const std::vector<T>& values) {
  const auto* const begin = reinterpret_cast<const std::byte*>(values.data());
  return {begin, begin + values.size() * sizeof(T)};
}

}  // namespace dlt::import_
