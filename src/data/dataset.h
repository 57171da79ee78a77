// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

#include "tensor/shape.h"

namespace dlt::data {

/// How inputs are read: numbers (f32) or token ids (i32).
enum class InputKind : std::uint8_t { values, tokens };

/// How targets are read: class labels (i32) or numbers (f32).
enum class TargetKind : std::uint8_t { labels, values };

/// Order of an image's (or sequence's) sizes in the file; nchw is turned to nhwc while reading.
enum class Layout : std::uint8_t { nhwc, nchw };

/// Overlapping samples of one long array: sample i is its rows [i * stride, i * stride + length).
/// What does not fill a whole sample at the end is left out.
struct Window {
  std::int64_t length = 1;
  std::int64_t stride = 1;
};

struct DatasetOptions {
  std::string file;     // HDF5
  std::string inputs;   // "/train/images"
  std::string targets;  // "" if there are none (prediction)
  InputKind input_kind = InputKind::values;
  std::int64_t num_tokens = 0;  // tokens must lie in [0, num_tokens); 0: any non-negative
  double scale = 1.0;           // input = stored * scale + offset; not of tokens
  double offset = 0.0;
  Layout layout = Layout::nhwc;  // of stored inputs: nchw has a sample's second size last
  std::optional<Window> window;  // over inputs, and over targets where they are named
  // With a window: targets are the inputs one row later, or where target_shape is that of one row:
  // the one row after the window.
  bool targets_are_next = false;
  TargetKind target_kind = TargetKind::values;
  std::int64_t num_classes = 0;  // labels must lie in [0, num_classes); 0: any non-negative
  bool allows_ignored = false;   // the label -1 is legal too
  std::optional<tensor::Shape> input_shape;  // what the model wants of one sample; the file's rows
                                             // must have it, or the same number of elements where
                                             // one of the two is flat or differs by sizes of 1
  std::optional<tensor::Shape>
      target_shape;  // what the loss wants of one sample; [n] and [n, 1] fit each other. Not
                     // given: labels are one a sample, values as they are stored
  std::int64_t cache_bytes = std::int64_t{1}
                             << 30;  // kept in memory, in the file's type, if not larger
  bool check_when_opened = true;     // of what is cached; false: each row as it is read
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
  /// Of one sample as read() gives it (without the leading row count).
  [[nodiscard]] virtual tensor::Shape input_shape() const = 0;
  [[nodiscard]] virtual tensor::Shape target_shape() const = 0;
  /// Copies the given rows, converted, to inputs (f32 values or i32 tokens) and targets (i32 labels
  /// or f32 values; may be null). Checks what it reads: NaN or infinity, tokens and labels out of
  /// range. Every element takes 4 bytes. errors  BadSample for a row's numbers
  virtual void read(std::span<const std::int64_t> rows, void* inputs, void* targets) const = 0;
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
struct RandomDatasetOptions {
  std::int64_t num_rows = 1;
  tensor::Shape input_shape, target_shape;
  std::int64_t num_tokens = 0;  // above 0: inputs are tokens below it, else numbers of [0, 1)
  TargetKind target_kind = TargetKind::values;
  std::int64_t num_classes = 0;  // of labels
  std::uint64_t seed = 0;
};
[[nodiscard]] std::unique_ptr<Dataset> make_random_dataset(const RandomDatasetOptions& options);

}  // namespace dlt::data
