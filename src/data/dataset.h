// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tensor/shape.h"

namespace dlt::data {

/// How targets are read: class labels (i32, one a sample) or numbers (f32).
enum class TargetKind : std::uint8_t { labels, values };

struct DatasetOptions {
  std::string file;     // HDF5
  std::string inputs;   // "/train/images"
  std::string targets;  // "" if there are none (prediction)
  double scale = 1.0;   // input = stored * scale + offset
  double offset = 0.0;
  TargetKind target_kind = TargetKind::values;
  std::int64_t num_classes = 0;  // labels must lie in [0, num_classes); 0: any non-negative
  std::optional<tensor::Shape> input_shape;  // what the model wants of one sample; the file's rows
                                             // must have it, or the same number of elements where
                                             // one of the two is flat or differs by sizes of 1
  std::optional<tensor::Shape>
      target_shape;  // values: what the loss wants; [n] and [n, 1] fit each other
  std::int64_t cache_bytes = std::int64_t{1}
                             << 30;  // kept in memory, in the file's type, if not larger
};

/// Rows of inputs and targets. read() may be called from several threads.
/// errors  Error(Exit::missing) no such file; Error(Exit::data) for every defect of the file,
/// naming file,
///         data set and, where there is one, row:
///         "datasets/x.h5: '/train/labels' row 17: label 12 is out of range, expected 0 to 9"
class Dataset {
 public:
  virtual ~Dataset() = default;
  [[nodiscard]] virtual std::int64_t num_rows() const = 0;
  /// Of one sample, as stored (without the leading row count).
  [[nodiscard]] virtual tensor::Shape input_shape() const = 0;
  [[nodiscard]] virtual tensor::Shape target_shape() const = 0;
  /// Copies the given rows, converted, to inputs (f32) and targets (i32 labels or f32 values; may
  /// be null). Checks what it reads: NaN or infinity, labels out of range.
  virtual void read(std::span<const std::int64_t> rows, float* inputs, void* targets) const = 0;
  /// Hash of path-independent facts (names, shapes, types, and the bytes where they are cached).
  [[nodiscard]] virtual std::uint64_t fingerprint() const = 0;
  /// Whether rows come from memory: reading them is cheaper than handing them to another thread.
  [[nodiscard]] virtual bool in_memory() const = 0;
  /// Memory that the cached rows take.
  [[nodiscard]] virtual std::int64_t cached_bytes() const { return 0; }
};

/// Opens and checks an HDF5 data set. Cached data is checked whole (NaN, label range) right here.
[[nodiscard]] std::unique_ptr<Dataset> open_hdf5(const DatasetOptions& options);

/// Random rows of fixed shapes, for `dltrain bench`.
[[nodiscard]] std::unique_ptr<Dataset> make_random_dataset(
    std::int64_t num_rows, tensor::Shape input_shape, tensor::Shape target_shape, TargetKind kind,
    std::int64_t num_classes, std::uint64_t seed);

}  // namespace dlt::data
