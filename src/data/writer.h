// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "base/dtype.h"
#include "tensor/shape.h"

namespace dlt::data {

struct ColumnOptions {
  std::string name;  // "/train/x"; groups on the way are made
  DType dtype = DType::f32;
  std::int64_t num_rows = 0;
  tensor::Shape row_shape;  // rank 0: one number a row, stored as [num_rows]
  int deflate_level = 0;  // 0: contiguous and uncompressed, which opens fastest; 1 to 9: chunks of
                          // about 256 KiB, shuffled and deflated
};

/// Writes an HDF5 file of plain data sets under a temporary name and gives it its own name with
/// commit(): readers see the old file or the whole new one. The bytes depend on the contents only.
/// errors  Error(Exit::io) naming the file and the reason; Error(Exit::usage) a name that is taken
class Hdf5Writer {
 public:
  explicit Hdf5Writer(const std::string& path);
  /// Removes the temporary file where commit() was not reached.
  ~Hdf5Writer();
  Hdf5Writer(const Hdf5Writer&) = delete;
  Hdf5Writer& operator=(const Hdf5Writer&) = delete;
  /// Makes a data set; returns its number for write_rows().
  int add(const ColumnOptions& options);
  /// Rows [first, first + count), row-major, in the dtype of the column.
  void write_rows(int column, std::int64_t first, std::int64_t count, const void* rows);
  /// add() and all rows at once.
  void write(const ColumnOptions& options, const void* rows);
  /// A text that belongs to the whole file: an attribute of "/".
  void attribute(const std::string& name, const std::string& text);
  /// Syncs the file and the folder, then renames. The writer is of no use afterwards.
  void commit();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace dlt::data
